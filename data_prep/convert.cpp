#include "data_prep/convert.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/count_progress.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/core/terminal.h"
#include "cohort/core/text.h"
#include "cohort/data/image_codec.h"

#include "data/description_json.h"
#include "data_prep/counts.h"
#include "data_prep/fingerprint.h"
#include "data_prep/recheck.h"
#include "data_prep/remarks.h"
#include "data_prep/skip.h"

namespace cohort::data_prep {
namespace {

constexpr const char* kDescriptionFile = "dataset.json";
constexpr const char* kSkippedFile = "skipped.csv";

std::vector<std::string> channel_names(const Source& source, const ConvertOptions& options,
                                       std::int64_t channels) {
  const std::vector<std::string>& named = options.channels;
  if (named.empty())
    return std::ssize(source.channels) == channels ? source.channels : usual_channel_names(channels);
  if (std::ssize(named) == channels) return named;
  throw UsageError({fmt::format("{} channel{} named, the images have {}", named.size(),
                                named.size() == 1 ? " is" : "s are", channels),
                    "--channels", "name each of them, in their order"});
}

/// Of everything that decides what the files will be. `files`: of those that the images come from.
std::uint64_t fingerprint(const Plan& plan, const Source& source, std::uint64_t files,
                          const ConvertOptions& options) {
  const data::Description& description = plan.description;
  Checksum sum;
  const auto add = [&](const std::string& text) {
    sum.update(std::as_bytes(std::span(text)));
    sum.update(std::as_bytes(std::span("\n", 1)));
  };
  add(fmt::format("{}\n{}\n{}\n{}", description.name, description.license, layout_text(description.images),
                  options.shard_bytes()));
  if (!options.channels.empty()) add(join(options.channels, "\n"));
  if (const data::Fit fit = options.preparation().fit; fit != data::Fit::stretch)
    add(std::string(data::fit_name(fit)));
  if (description.codec != data::Codec::raw)
    add(fmt::format("{} {}{}", data::codec_name(description.codec), description.jpeg_quality,
                    keeps_jpeg_files(source, options) ? " files as they are" : ""));
  for (const auto& label : description.labels) add(label.name + "\n" + join(label.classes, "\n"));
  for (const auto& context : description.contexts) add(context.name + "\n" + join(context.values, "\n"));
  for (std::size_t i = 0; i < description.fields.size(); ++i) {
    const data::Field& field = description.fields[i];
    const auto& content = source.fields[i].content;
    add(fmt::format("field {} {} {} {}\n{}\n{}\n{}", field.name, data::field_kind_name(field.kind),
                    data::value_type_name(field.type), data::codec_name(field.codec), field.of,
                    join(field.names, "\n"), checksum_text(content ? content() : 0)));
    sum.update(std::as_bytes(std::span(field.shape)));
  }
  for (const auto& split : description.splits) add(split.name);
  if (description.statistics != description.splits.front().name) add("statistics " + description.statistics);
  for (std::int64_t i = 0; i < plan.rows.size(); ++i) {
    const data::Row row = plan.rows[i];
    add(row.id);
    sum.update(std::as_bytes(std::span(&row.split, 1)));
    sum.update(std::as_bytes(std::span(row.labels)));
    sum.update(std::as_bytes(std::span(row.contexts)));
  }
  add(checksum_text(source.content));
  if (!source.axes.empty()) add("axes " + source.axes);
  if (files != 0) add(checksum_text(files));
  return sum.value();
}

/// Collective. Of the files that the images come from; 0: they come from none.
std::uint64_t files_fingerprint(const Source& source, comm::Communicator& ranks) {
  std::uint64_t sum = 0;
  if (source.path) sum += fingerprint_of(std::ssize(source.ids), source.path, ranks);
  for (const FieldSource& field : source.fields) {
    const bool is_mask = field.field.kind == data::FieldKind::mask;
    if (field.path) sum = 31 * sum + fingerprint_of(std::ssize(source.ids), field.path, ranks, is_mask);
  }
  if (source.archives.empty()) return sum;
  const auto archive = [&](std::int64_t i) { return source.archives[static_cast<std::size_t>(i)]; };
  return sum + fingerprint_of(std::ssize(source.archives), archive, ranks);
}

/// Rank 0 decides for all. Removes what is to be overwritten, or made anew, and what killed conversions left.
bool already_there(const ConvertOptions& options, const data::Description& wanted) {
  const std::filesystem::path& folder = options.out;
  if (!std::filesystem::exists(folder / kDescriptionFile)) {
    if (options.recheck && std::filesystem::exists(folder)) data::remove_leftovers(folder, wanted);
    return false;
  }
  if (options.overwrite) {
    data::remove_dataset(folder);
    std::filesystem::remove(folder / kSkippedFile);
    return false;
  }
  if (data::Description::read(folder).source == wanted.source)
    return data::remove_leftovers(folder, wanted), true;
  throw DataError({"the folder already holds another dataset", folder.string(),
                   "options or images are others, or have changed: choose another folder, or replace it with "
                   "--overwrite"});
}

void write(const Plan& plan, const Source& source, const ConvertOptions& options, comm::Communicator& ranks) {
  const data::ImageLayout layout = plan.description.images;
  Remarks remarks;
  const data::PixelSource images = pixel_source(source, options, plan.description, remarks);
  std::optional<CountProgress> progress(std::in_place, "writing", std::ssize(source.ids), ranks.size());
  RemarkCounts counts;
  const auto row_done = [&](std::int64_t done, std::int64_t all) {
    counts.add(remarks);
    if (ranks.rank() == 0) progress->show(done, all);
  };
  const data::Description written = data::write_dataset(options.out, plan.description, plan.rows, images,
                                                        {{options.shard_bytes()}}, ranks, row_done);
  progress.reset();  // a terminal has its line back
  counts.log(ranks, images.encoded != nullptr);
  if (ranks.rank() != 0) return;
  std::size_t shards = 0;
  std::uint64_t bytes = 0;
  for (const auto& split : written.splits) {
    shards += split.shards.size();
    for (const auto& shard : split.shards) bytes += shard.bytes;
  }
  fmt::print("{}{} images ({}) in {} shards, {}: {}\n",
             count_table(written, plan.rows, options.all_contexts, terminal_columns()),
             format_count(plan.rows.size()), layout_text(layout), shards, format_bytes(bytes),
             printable(options.out.string()));
}

/// What the first image and the options say of all of them.
void check_fields(const data::Description& description, const std::string& where) {
  for (const data::Field& field : description.fields) {
    if (const std::string problem = problem_beside(field, description.images); !problem.empty())
      throw UsageError({fmt::format("field '{}' {}", field.name, problem), where,
                        "leave the field out, or give its masks as many dimensions"});
  }
}

void describe_images(const Source& source, const ConvertOptions& options, data::Description& description) {
  const Image first = source.image(0);
  description.images = prepared(source, options, 0, first).layout;
  description.fields = shaped_fields(source, change_of(options, first.layout), 0);
  check_fields(description, source.where);
  description.channels = channel_names(source, options, description.images.channels);
  description.check_names();
  const data::Preparation preparation = options.preparation();
  description.preparation =
      preparation == data::Preparation{} ? source.preparation : std::optional(preparation);
  description.codec = options.image_codec();
  if (description.codec == data::Codec::jpeg) {
    constexpr int kUsual = 95;
    description.jpeg_quality = options.jpeg_quality > 0 ? options.jpeg_quality : kUsual;
  }
  data::check_codec(description.codec, description.images);
}

/// Collective. That of rank 0, which has no mean and deviation yet, on all ranks. `where`: for messages.
void share(data::Description& description, const std::string& where, comm::Communicator& ranks) {
  const auto channels = static_cast<std::size_t>(description.images.channels);
  std::string text;
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    description.mean.assign(channels, 0), description.deviation.assign(channels, 1);
    text = data::description_text(description);
  });
  text = ranks.broadcast_text(std::move(text));
  comm::together(ranks, [&] {
    description = data::parse_description(text, where);
    description.mean.clear(), description.deviation.clear();
  });
}

/// Every image of `source` is usable, or ends the conversion.
ExitCode convert_all(const Source& source, const ConvertOptions& options, comm::Communicator& ranks) {
  const bool is_first = ranks.rank() == 0;  // it alone has the rows
  Plan plan;
  comm::together(ranks, [&] {
    if (is_first) plan = make_plan(source, options);
  });
  if (options.dry_run) {
    if (is_first)
      fmt::print("{}", count_table(plan.description, plan.rows, options.all_contexts, terminal_columns()));
    return ExitCode::done;
  }
  bool same = false;
  const std::uint64_t files = files_fingerprint(source, ranks);
  comm::together(ranks, [&] {
    if (!is_first) return;
    describe_images(source, options, plan.description);
    plan.description.source = fingerprint(plan, source, files, options);
    same = already_there(options, plan.description);
  });
  share(plan.description, source.where, ranks);
  if (ranks.max(std::int64_t{same}) == 1) {
    if (options.recheck) recheck(source, plan.rows, options, ranks);
    log_info(fmt::format(
        "{} already holds this dataset, made from the same images with the same options: nothing to do",
        options.out.string()));
    return ExitCode::done;
  }
  write(plan, source, options, ranks);
  return ExitCode::done;
}

}  // namespace

std::vector<std::string> usual_channel_names(std::int64_t channels) {
  if (channels == 1) return {"gray"};
  if (channels == 3) return {"red", "green", "blue"};
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < channels; ++i) names.push_back(fmt::format("channel_{}", i));
  return names;
}

ExitCode convert(const Source& source, const ConvertOptions& options, comm::Communicator& ranks) {
  const auto tell = [&](const LeftOut& left_out) {
    if (ranks.rank() == 0) fmt::print("{}", left_out.text());
  };
  if (!options.skips_damaged()) {
    const ExitCode code = convert_all(source, options, ranks);
    tell(source.left_out);
    return code;
  }
  Source rest = source;
  const std::vector<Skipped> skipped = skip_damaged(rest, options, ranks);
  if (ranks.rank() == 0 && !skipped.empty()) fmt::print("{}", skipped_text(skipped));
  const ExitCode code = convert_all(rest, options, ranks);
  tell(rest.left_out);
  comm::together(ranks, [&] {
    const bool lists = ranks.rank() == 0 && !skipped.empty() && !options.dry_run;
    if (lists) write_skipped(options.out / kSkippedFile, skipped);
  });
  return code;
}

}  // namespace cohort::data_prep
