#include "data_prep/skip.h"

#include <charconv>
#include <memory>

#include <fmt/format.h>

#include "cohort/core/count_progress.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"

#include "data_prep/table.h"

namespace cohort::data_prep {
namespace {

/// A message on one line, without tabs.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\t') c = ' ';
  }
  return text;
}

/// Throws DataError for a field that cannot be read, or whose values are wrong.
void check_source_field(const Source& source, const ImageChange& change, std::size_t number,
                        const data::Field& field, std::int64_t index) {
  const std::vector<std::byte> values = source.fields[number].values(field, index, change);
  const std::string problem = data::problem_of_values(field, values);
  if (!problem.empty())
    throw DataError({fmt::format("field '{}' {}", field.name, problem),
                     source.place ? source.place(index) : source.where, ""});
}

/// What all images have.
struct Wanted {
  data::ImageLayout layout;
  std::vector<data::Field> fields;
};

/// In what an image differs from the first one; empty: in nothing.
std::string difference(const Wanted& found, const Wanted& wanted) {
  if (found.layout != wanted.layout)
    return fmt::format("its layout ({}) is not that of the first image ({})", layout_text(found.layout),
                       layout_text(wanted.layout));
  for (std::size_t i = 0; i < found.fields.size(); ++i) {
    if (found.fields[i] != wanted.fields[i])
      return fmt::format("its field '{}' has another type or shape than that of the first image",
                         found.fields[i].name);
  }
  return {};
}

/// Why an image cannot be used; empty: it can. What the first one that is read has becomes `wanted`.
std::string problem_of(const Source& source, const ConvertOptions& options, std::int64_t index,
                       std::optional<Wanted>& wanted) {
  const auto text = [](const Error& error) {
    return one_line(fmt::format("{}: {}", error.text().what, error.text().where));
  };
  try {
    const Image image = source.image(index);
    const ImageChange change = change_of(options, image.layout);
    const Wanted found{prepared(source, options, index, image).layout, shaped_fields(source, change, index)};
    for (std::size_t i = 0; i < found.fields.size(); ++i)
      check_source_field(source, change, i, found.fields[i], index);
    if (!wanted) wanted = found;
    return difference(found, *wanted);
  } catch (const DataError& error) {
    return text(error);
  } catch (const UsageError& error) {  // a shape that no field can have
    return text(error);
  }
}

/// What every rank compares with: it reads from the beginning until one image can be read. Throws DataError
/// with the reason of the first one: it may be that of all, such as an option that fits none of them.
std::optional<Wanted> first_image(const Source& source, const ConvertOptions& options) {
  std::optional<Wanted> wanted;
  std::string reason;
  for (std::int64_t i = 0; i < std::ssize(source.ids) && !wanted; ++i) {
    const std::string problem = problem_of(source, options, i, wanted);
    if (i == 0) reason = problem;
  }
  if (wanted) return wanted;
  throw DataError({fmt::format("not one of the images can be read, the first one because of: {}", reason),
                   source.where, "check the path and the options"});
}

/// "index TAB reason" of this rank's damaged images, a line each.
std::string problems_of_rank(const Source& source, const ConvertOptions& options, int rank, int size) {
  std::optional<Wanted> wanted = first_image(source, options);
  std::string lines;
  const auto images = std::ssize(source.ids);
  CountProgress progress("looking for damaged images", images, size);
  for (std::int64_t i = rank; i < images; i += size) {
    const std::string problem = problem_of(source, options, i, wanted);
    if (!problem.empty()) lines += fmt::format("{}\t{}\n", i, problem);
    if (rank == 0) progress.show(i / size + 1, (images - rank + size - 1) / size);
  }
  return lines;
}

void keep(Source& source, std::vector<std::int64_t> rest) {
  const auto all = std::make_shared<const std::vector<std::int64_t>>(std::move(rest));
  source.ids = kept_texts(std::move(source.ids), all);
  source.splits = kept_texts(std::move(source.splits), all);
  for (Column& column : source.labels) column.values = kept_texts(std::move(column.values), all);
  for (Column& column : source.contexts) column.values = kept_texts(std::move(column.values), all);
  source.groups.values = kept_texts(std::move(source.groups.values), all);
  const auto renumber = [&](auto& function) {
    if (!function) return;
    function = [before = std::move(function), all](std::int64_t index, const auto&... others) {
      return before((*all)[static_cast<std::size_t>(index)], others...);
    };
  };
  renumber(source.image);
  renumber(source.file);
  renumber(source.path);
  renumber(source.place);
  for (FieldSource& field : source.fields) {
    renumber(field.path);
    renumber(field.shaped);
    field.values = [before = std::move(field.values), all](const data::Field& wanted, std::int64_t index,
                                                           const ImageChange& change) {
      return before(wanted, (*all)[static_cast<std::size_t>(index)], change);
    };
  }
}

std::map<std::int64_t, std::string> parse_problems(const std::vector<std::string>& texts) {
  std::map<std::int64_t, std::string> problems;
  for (const std::string& text : texts) {
    for (const std::string& line : split_text(text, '\n')) {
      std::int64_t index = 0;
      const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), index);
      if (error == std::errc()) problems.emplace(index, std::string(end + 1, line.data() + line.size()));
    }
  }
  return problems;
}

}  // namespace

std::vector<Skipped> skip_damaged(Source& source, const ConvertOptions& options, comm::Communicator& ranks) {
  std::string lines;
  comm::together(ranks, [&] { lines = problems_of_rank(source, options, ranks.rank(), ranks.size()); });
  const auto problems = parse_problems(ranks.gather_texts(lines));
  std::vector<Skipped> skipped;
  if (problems.empty()) return skipped;
  std::vector<std::int64_t> kept;
  for (std::int64_t i = 0; i < std::ssize(source.ids); ++i) {
    const auto found = problems.find(i);
    if (found == problems.end())
      kept.push_back(i);
    else
      skipped.push_back({source.ids[static_cast<std::size_t>(i)], found->second});
  }
  keep(source, std::move(kept));
  return skipped;
}

std::string skipped_text(const std::vector<Skipped>& skipped) {
  std::string text = fmt::format("{} image{} left out:\n", format_count(std::ssize(skipped)),
                                 skipped.size() == 1 ? " was" : "s were");
  constexpr std::size_t kShown = 10;
  for (const Skipped& image : std::span(skipped).first(std::min(skipped.size(), kShown)))
    text += fmt::format("  {}: {}\n", printable(image.id), printable(image.reason));
  if (skipped.size() > kShown)
    text += fmt::format("  … and {} more\n",
                        format_count(std::ssize(skipped) - static_cast<std::int64_t>(kShown)));
  return text;
}

void write_skipped(const std::filesystem::path& file, const std::vector<Skipped>& skipped) {
  std::string text = "id,reason\n";
  for (const Skipped& image : skipped)
    text += fmt::format("{},{}\n", quoted_cell(image.id), quoted_cell(image.reason));
  write_file_atomically(file, text);
}

}  // namespace cohort::data_prep
