// cohort-data inspect: what a dataset holds.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/core/checksum.h"
#include "cohort/core/printable.h"
#include "cohort/core/terminal.h"
#include "cohort/core/text.h"
#include "cohort/data/column_reader.h"
#include "cohort/data/description.h"
#include "cohort/data/image_codec.h"

#include "data_prep/contact_sheet.h"
#include "data_prep/counts.h"
#include "data_prep/export_fields.h"
#include "data_prep/options.h"

namespace cohort::data_prep {
namespace {

/// The columns of a split, some rows at a time.
void visit_split(const std::filesystem::path& folder, const data::Description& description, std::size_t split,
                 const std::function<void(const CountedRow&)>& visit) {
  constexpr std::int64_t kRows = 4096;
  data::ColumnReader reader(folder, description, description.splits[split].name);
  std::vector<std::int32_t> label(description.labels.size()), context(description.contexts.size());
  std::vector<std::vector<std::int32_t>> labels(label.size()), contexts(context.size());
  const std::int64_t rows = description.splits[split].rows();
  for (std::int64_t first = 0; first < rows; first += kRows) {
    const std::int64_t count = std::min(kRows, rows - first);
    for (std::size_t i = 0; i < labels.size(); ++i)
      labels[i] = reader.labels(description.labels[i].name, first, count);
    for (std::size_t i = 0; i < contexts.size(); ++i)
      contexts[i] = reader.contexts(description.contexts[i].name, first, count);
    for (std::size_t row = 0; row < static_cast<std::size_t>(count); ++row) {
      for (std::size_t i = 0; i < labels.size(); ++i) label[i] = labels[i][row];
      for (std::size_t i = 0; i < contexts.size(); ++i) context[i] = contexts[i][row];
      visit({split, label, context});
    }
  }
}

void print_shards(const data::Description& description) {
  for (const data::Split& split : description.splits) {
    std::uint64_t bytes = 0;
    for (const data::ShardEntry& shard : split.shards) bytes += shard.bytes;
    fmt::print("split    {}: {} images in {} shards, {}\n", printable_name(split.name),
               format_count(split.rows()), split.shards.size(), format_bytes(bytes));
  }
}

/// The first ones of many.
std::string shown_names(const std::vector<std::string>& names, bool all) {
  constexpr std::size_t kShown = 12;
  const std::size_t count = all ? names.size() : std::min(names.size(), kShown);
  std::vector<std::string> shown;
  for (const std::string& name : std::span(names).first(count)) shown.push_back(printable_name(name));
  const std::string list = join(shown, ", ");
  return count == names.size() ? list
                               : fmt::format("{} … ({} in all)", list, format_count(std::ssize(names)));
}

/// "; of report by wordpiece-uncased, 231 tokens, vocabulary 9cd1…, at most 512".
std::string tokenization_text(const data::Field& field) {
  if (!field.tokenization) return "";
  const auto& [tokenizer, vocabulary, size, most] = *field.tokenization;
  return fmt::format("; of {} by {}, {} tokens, vocabulary {}, at most {}", printable_name(field.of),
                     printable(tokenizer), format_count(size), checksum_text(vocabulary), most);
}

/// "lungs: mask u8 [64, 64], zstd; other, lung".
std::string field_text(const data::Field& field, bool all) {
  std::vector<std::string> shape;
  for (const std::int64_t size : field.shape) shape.push_back(size < 0 ? "n" : fmt::format("{}", size));
  return fmt::format("{}: {} {} [{}], {}{}{}{}", printable_name(field.name),
                     data::field_kind_name(field.kind), data::value_type_name(field.type), join(shape, ", "),
                     data::codec_name(field.codec), field.names.empty() ? "" : "; ",
                     shown_names(field.names, all), tokenization_text(field));
}

/// Texts and tokens of the first image.
void print_texts(const std::filesystem::path& folder, const data::Description& description) {
  constexpr std::size_t kShown = 160;
  const auto is_text = [](const data::Field& field) {
    return field.kind == data::FieldKind::text || field.kind == data::FieldKind::tokens;
  };
  const auto split = std::find_if(description.splits.begin(), description.splits.end(),
                                  [](const data::Split& some) { return some.rows() > 0; });
  if (split == description.splits.end() ||
      std::none_of(description.fields.begin(), description.fields.end(), is_text))
    return;
  const data::Dataset dataset = data::Dataset::open(folder, split->name);
  fmt::print("first    {} of split {}\n", printable_name(dataset.id(0)), printable_name(split->name));
  std::vector<std::byte> values;
  for (const data::Field& field : description.fields) {
    if (!is_text(field)) continue;
    dataset.read_field(0, field.name, values);
    fmt::print("         {}: {}\n", printable_name(field.name),
               printable_name(field_cells(field, values).front(), kShown));
  }
}

void print_dataset(const std::filesystem::path& folder, bool all) {
  const data::Description description = data::Description::read(folder);
  const data::ImageLayout& images = description.images;
  fmt::print("dataset  {} (format version {})\n", printable(description.name), description.version());
  fmt::print("licence  {}\n", description.license.empty() ? "not given" : printable(description.license));
  fmt::print("images   {} {}, {}\n", fmt::join(images.sizes(), " x "), data::pixel_type_name(images.type),
             data::codec_name(description.codec));
  for (std::size_t c = 0; c < description.channels.size(); ++c) {
    fmt::print("channel  {}: mean {:.2f}, deviation {:.2f}\n", printable_name(description.channels[c]),
               description.mean[c], description.deviation[c]);
  }
  fmt::print("         mean and deviation of split {}\n", printable_name(description.statistics));
  for (const auto& label : description.labels)
    fmt::print("label    {}: {}\n", printable_name(label.name), shown_names(label.classes, all));
  for (const auto& key : description.contexts)
    fmt::print("context  {}: {} values\n", printable_name(key.name), format_count(std::ssize(key.values)));
  for (const data::Field& field : description.fields) fmt::print("field    {}\n", field_text(field, all));
  print_texts(folder, description);
  print_shards(description);
  const auto rows = [&](const std::function<void(const CountedRow&)>& visit) {
    for (std::size_t split = 0; split < description.splits.size(); ++split)
      visit_split(folder, description, split, visit);
  };
  fmt::print("\n{}", count_table(description, rows, all, terminal_columns()));
}

}  // namespace

void add_inspect(CLI::App& program, Action& action) {
  auto folder = std::make_shared<std::filesystem::path>();
  auto sheets = std::make_shared<ContactSheetOptions>();
  auto all = std::make_shared<bool>(false);
  CLI::App& command = add_command(
      program,
      {"inspect",
       "Show what a dataset holds",
       {"cohort-data inspect data/elpv", "mpirun -n 4 cohort-data inspect data/elpv --contact-sheets sheets"},
       endings_on_ranks()});
  command.add_option("dataset", *folder, "the folder")->required()->type_name("DIR");
  add_all_contexts(command, *all);
  CLI::Option* out = command.add_option(
      "--contact-sheets", sheets->out,
      "folder for a PNG file of each context, or of the dataset: a line of images for each class");
  out->type_name("DIR");
  command.add_option("--images", sheets->images, "of each class on a sheet, at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000))
      ->needs(out);
  command.add_option("--context", sheets->context, "context key of the sheets (default: the first)")
      ->needs(out);
  command.add_option("--channels", sheets->channels, "one channel to show, or three as red, green and blue")
      ->delimiter(',')
      ->needs(out);
  command.callback([folder, sheets, all, &action] {
    action = [folder, sheets, all](comm::Communicator& ranks) {
      comm::together(ranks, [&] {
        if (ranks.rank() == 0) print_dataset(*folder, *all);
      });
      if (!sheets->out.empty()) write_contact_sheets(*folder, *sheets, ranks);
      return ExitCode::done;
    };
  });
}

}  // namespace cohort::data_prep
