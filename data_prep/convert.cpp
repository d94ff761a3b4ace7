#include "data_prep/convert.h"

#include <algorithm>
#include <cstring>
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
#include "data_prep/image_file.h"
#include "data_prep/plan_splits.h"
#include "data_prep/recheck.h"
#include "data_prep/remarks.h"
#include "data_prep/skip.h"

namespace cohort::data_prep {
namespace {

constexpr const char* kDescriptionFile = "dataset.json";
constexpr const char* kSkippedFile = "skipped.csv";

std::string dataset_name(const ConvertOptions& options) {
  if (!options.name.empty()) return options.name;
  const std::filesystem::path folder = options.out.has_filename() ? options.out : options.out.parent_path();
  return folder.filename().string();
}

void check_columns(const Source& source, const ConvertOptions& options) {
  if (source.ids.empty())
    throw DataError({"there are no images", source.where, "check the path and the options"});
  if (options.makes_splits_of_all() && !source.splits.empty()) {
    throw UsageError({"the images already have splits", "--hold-out-contexts, --hold-out-images, --folds",
                      "leave out either these options or the splits of the source"});
  }
  if (options.hold_out.contexts > 0 && source.contexts.empty()) {
    throw UsageError({"there are no contexts to hold out", "--hold-out-contexts", "name a context key"});
  }
}

/// Whoever reads a source gives each image a value of each column.
void check_sizes(const Source& source) {
  const std::size_t images = source.ids.size();
  const auto check = [&](const std::string& what, const Categories& values) {
    COHORT_CHECK(values.size() == images, "{} values of {} for {} images", values.size(), what, images);
  };
  if (!source.splits.empty()) check("the splits", source.splits);
  for (const auto* columns : {&source.labels, &source.contexts}) {
    for (const Column& column : *columns) check(column.name, column.values);
  }
}

/// The index of each image's text in `vocabulary`, -1 for the empty one. Throws as indices().
data::PackedIndices indices_of(Categories::Coded coded, const std::vector<std::string>& vocabulary,
                               const std::string& what, const std::string& option) {
  const std::vector<std::int32_t> index_of = indices(coded.names, vocabulary, what, option);
  for (std::int64_t i = 0; i < coded.codes.size(); ++i)
    coded.codes.set(i, index_of[static_cast<std::size_t>(coded.codes[i])]);
  return std::move(coded.codes);
}

std::vector<data::PackedIndices> add_contexts(const Source& source, data::Description& description) {
  std::vector<data::PackedIndices> columns;
  for (const Column& column : source.contexts) {
    Categories::Coded coded = column.values.coded();
    const auto none = std::find(coded.names.begin(), coded.names.end(), "");
    if (none != coded.names.end()) {
      const std::int64_t image = coded.first_of[static_cast<std::size_t>(none - coded.names.begin())];
      throw DataError({fmt::format("image '{}' has no value for context key '{}'",
                                   source.ids[static_cast<std::size_t>(image)], column.name),
                       source.where, "every image needs a context; give unknown ones a name of their own"});
    }
    description.contexts.push_back({column.name, distinct(coded.names)});
    columns.push_back(
        indices_of(std::move(coded), description.contexts.back().values, column.name, source.where));
  }
  return columns;
}

std::vector<data::PackedIndices> add_labels(const Source& source, const ConvertOptions& options,
                                            data::Description& description) {
  std::vector<data::PackedIndices> columns;
  for (std::size_t label = 0; label < source.labels.size(); ++label) {
    const Column& column = source.labels[label];
    Categories::Coded coded = column.values.coded();
    std::vector<std::string> classes = options.classes_of(column.name, label);
    if (classes.empty()) classes = column.vocabulary;
    if (classes.empty()) classes = distinct(coded.names);
    columns.push_back(
        indices_of(std::move(coded), classes, fmt::format("label '{}'", column.name), "--classes"));
    description.labels.push_back({column.name, std::move(classes)});
  }
  return columns;
}

void warn_of_doubts(const data::Description& description) {
  const auto warn = [](const std::string& what, const std::vector<std::string>& names) {
    for (const std::string& doubt : doubts_about(what, names)) log_warning(printable(doubt));
  };
  for (const auto& label : description.labels) warn(fmt::format("label '{}'", label.name), label.classes);
  for (const auto& context : description.contexts)
    warn(fmt::format("context key '{}'", context.name), context.values);
  std::vector<std::string> splits;
  for (const data::Split& split : description.splits) splits.push_back(split.name);
  warn("the list of splits", splits);
}

/// The split whose mean and deviation normalise all images.
std::string statistics_split(const Source& source, const ConvertOptions& options,
                             const data::Description& description) {
  const std::vector<data::Split>& splits = description.splits;
  if (!options.statistics_split.empty()) return description.split(options.statistics_split).name;
  if (splits.size() == 1 || is_training_name(splits.front().name)) return splits.front().name;
  const auto known = std::find_if(splits.begin(), splits.end(),
                                  [&](const data::Split& split) { return split.name == source.statistics; });
  if (known != splits.end()) return known->name;
  log_warning(
      fmt::format("no split is called train: mean and deviation are those of '{}', the first one; "
                  "--statistics-split names another",
                  printable(splits.front().name)));
  return splits.front().name;
}

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

[[noreturn]] void refuse_layout(const data::ImageLayout& found, const data::ImageLayout& wanted,
                                const std::string& id) {
  std::string fix = "all images need the same number of channels and pixel type";
  if (found.height != wanted.height || found.width != wanted.width)
    fix = "give all images one size with --resize";
  if (found.depth != wanted.depth) fix = "give all volumes one size with --resize DEPTHxHEIGHTxWIDTH";
  if (found.channels != wanted.channels) fix = "mix of gray and colour: add --gray";
  throw DataError({fmt::format("image '{}' has another layout ({}) than the first one ({})", id,
                               layout_text(found), layout_text(wanted)),
                   id, fix});
}

/// JPEG files are JPEG images already, unless something is to be done to them.
bool keeps_jpeg_files(const Source& source, const ConvertOptions& options) {
  return source.file != nullptr && options.image_codec() == data::Codec::jpeg && options.jpeg_quality == 0 &&
         options.preparation() == data::Preparation{};
}

/// A JPEG file that need not be turned. Sets its remarks.
std::optional<std::vector<std::byte>> jpeg_file(const std::string& content, Remarks& remarks) {
  const std::optional<Remarks> upright = upright_jpeg(content);
  if (!upright) return std::nullopt;
  remarks = *upright;
  const auto bytes = std::as_bytes(std::span(content));
  return std::vector<std::byte>(bytes.begin(), bytes.end());
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
    add(fmt::format("field {} {} {} {}\n{}\n{}\n{}", field.name, data::field_kind_name(field.kind),
                    data::value_type_name(field.type), data::codec_name(field.codec), field.of,
                    join(field.names, "\n"), checksum_text(source.fields[i].content)));
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
    if (field.path) sum = 31 * sum + fingerprint_of(std::ssize(source.ids), field.path, ranks);
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

/// Only then the size of the image before is worth reading it.
bool tells_of_pixels(data::FieldKind kind) {
  return kind == data::FieldKind::mask || kind == data::FieldKind::boxes || kind == data::FieldKind::points;
}

/// Fields are then read behind their image, which is decoded once, and remarks are of one row.
bool needs_rows_whole(const Source& source, const ConvertOptions& options) {
  const bool resizes = options.preparation().height > 0;
  return std::any_of(source.fields.begin(), source.fields.end(), [&](const FieldSource& field) {
    return field.remarks || (resizes && tells_of_pixels(field.field.kind));
  });
}

/// The layout of the image that was read last, before it was prepared: fields are mostly asked for behind it.
struct LastSize {
  std::int64_t index = -1;
  data::ImageLayout layout;

  void know(const Source& source, const ConvertOptions& options, std::int64_t wanted) {
    if (index == wanted || options.preparation().height == 0) return;
    layout = source.image(wanted).layout;
    index = wanted;
  }
};

/// Into `out`, [C, H, W] of `layout`.
Remarks store(const Source& source, const ConvertOptions& options, const data::ImageLayout& layout,
              std::int64_t index, const Image& image, std::span<std::byte> out) {
  const Image stored = prepared(source, options, index, image);
  if (stored.layout != layout)
    refuse_layout(stored.layout, layout, source.ids[static_cast<std::size_t>(index)]);
  std::memcpy(out.data(), stored.pixels.data(), out.size());
  return stored.remarks;
}

}  // namespace

std::vector<std::string> usual_channel_names(std::int64_t channels) {
  if (channels == 1) return {"gray"};
  if (channels == 3) return {"red", "green", "blue"};
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < channels; ++i) names.push_back(fmt::format("channel_{}", i));
  return names;
}

data::PixelSource pixel_source(const Source& source, const ConvertOptions& options,
                               const data::Description& description, Remarks& remarks) {
  const data::ImageLayout layout = description.images;
  const auto last = std::make_shared<LastSize>();
  data::PixelSource images([=, &source, &options, &remarks](std::int64_t index, std::span<std::byte> out) {
    const Image image = source.image(index);
    *last = {index, image.layout};
    remarks = store(source, options, layout, index, image, out);
  });
  images.field = [=, &source, &options, &remarks, fields = description.fields](std::size_t field,
                                                                               std::int64_t index) {
    const FieldSource& values = source.fields[field];
    if (tells_of_pixels(fields[field].kind)) last->know(source, options, index);
    const std::vector<std::byte> bytes =
        values.values(fields[field], index, change_of(options, last->layout));
    if (values.remarks) {
      remarks.cut_text |= values.remarks->cut_text;
      remarks.no_token |= values.remarks->no_token;
    }
    return bytes;
  };
  images.reads_by_row = needs_rows_whole(source, options);
  if (keeps_jpeg_files(source, options))
    images.encoded = [&](std::int64_t index) { return jpeg_file(source.file(index), remarks); };
  images.place = source.place;
  return images;
}

ImageChange change_of(const ConvertOptions& options, const data::ImageLayout& before) {
  ImageChange change{0, 0, options.preparation()};
  if (change.preparation.height == 0) return change;
  change.height = before.height, change.width = before.width, change.depth = before.depth;
  return change;
}

std::vector<data::Field> shaped_fields(const Source& source, const ImageChange& change, std::int64_t index) {
  std::vector<data::Field> fields;
  for (const FieldSource& each : source.fields) {
    fields.push_back(each.shaped ? each.shaped(index, change) : each.field);
    const std::string problem = data::problem_of(fields.back());
    if (!problem.empty())
      throw UsageError({fmt::format("field '{}' {}", each.field.name, problem), source.where,
                        "choose another kind of field or --field-codec"});
  }
  return fields;
}

Remarks store_prepared(const Source& source, const ConvertOptions& options, const data::ImageLayout& layout,
                       std::int64_t index, std::span<std::byte> out) {
  return store(source, options, layout, index, source.image(index), out);
}

Image prepared(const Source& source, const ConvertOptions& options, std::int64_t index, const Image& image) {
  if (!is_finite(image)) {
    throw DataError({fmt::format("image '{}' has values that are not finite",
                                 source.ids[static_cast<std::size_t>(index)]),
                     source.where, "repair it, or leave it out with --on-error skip"});
  }
  return prepared(image, options.preparation());
}

std::string layout_text(const data::ImageLayout& layout) {
  const std::string depth = layout.is_volume() ? fmt::format("{} x ", layout.depth) : "";
  return fmt::format("{} channel{}, {}{} x {}, {}", layout.channels, layout.channels == 1 ? "" : "s", depth,
                     layout.height, layout.width, data::pixel_type_name(layout.type));
}

Plan make_plan(const Source& source, const ConvertOptions& options) {
  check_columns(source, options);
  check_sizes(source);
  Plan plan;
  plan.description.name = dataset_name(options);
  plan.description.license = options.license;
  std::vector<data::PackedIndices> contexts = add_contexts(source, plan.description);
  plan.rows = {source.ids.packed(), add_labels(source, options, plan.description), std::move(contexts)};
  for (const FieldSource& field : source.fields) plan.description.fields.push_back(field.field);
  add_splits(source, options, plan);
  plan.description.statistics = statistics_split(source, options, plan.description);
  data::PixelSource images([](std::int64_t, std::span<std::byte>) {});
  images.place = source.place;
  data::check_dataset(plan.description, plan.rows, images);
  warn_of_doubts(plan.description);
  return plan;
}

void read_columns(
    Source& source, const ColumnOptions& columns,
    const std::function<Categories(const std::string& column, const std::string& option)>& read) {
  const auto read_all = [&](const std::vector<std::string>& texts, const std::string& option) {
    std::vector<Column> found;
    for (const std::string& text : texts) {
      const auto [column, name] = renamed(text);
      found.push_back({name, read(column, option)});
    }
    return found;
  };
  source.labels = read_all(columns.labels, "--label");
  source.contexts = read_all(columns.contexts, "--context");
  if (!columns.split.empty()) source.splits = read(columns.split, "--split");
}

void read_groups(
    Source& source, const ConvertOptions& options,
    const std::function<Categories(const std::string& column, const std::string& option)>& read) {
  const std::string& name = options.division.group_by;
  const bool is_context = std::any_of(source.contexts.begin(), source.contexts.end(),
                                      [&](const Column& context) { return context.name == name; });
  if (!name.empty() && !is_context) source.groups = {name, read(name, "--group-by")};
}

namespace {

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
