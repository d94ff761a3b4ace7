#include "data_prep/folder_fields.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>
#include <system_error>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "data_prep/token_fields.h"

namespace cohort::data_prep {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> endings_of(data::FieldKind kind) {
  if (kind == data::FieldKind::boxes || kind == data::FieldKind::points) return {".json"};
  if (kind == data::FieldKind::text) return {".txt"};
  return {".png", ".tif", ".tiff", ".npy", ".jpg", ".jpeg"};
}

std::string with_ending(const std::string& id, const std::string& ending) {
  return fs::path(id).replace_extension(ending).generic_string();
}

std::string folder_of(const std::string& id) {
  return fs::path(id).parent_path().generic_string();
}

/// Names in a folder; none where there is no such folder. Throws DataError.
std::unordered_set<std::string> names_in(const fs::path& folder) {
  std::unordered_set<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    names.insert(entry->path().filename().string());
  if (!error || error == std::errc::no_such_file_or_directory) return names;
  throw DataError({fmt::format("the folder cannot be read: {}", error.message()), folder.string(),
                   "change its permissions"});
}

/// The number of the folder of each image, in order of their first appearance.
std::vector<std::uint32_t> folders_of(const Texts& ids) {
  std::unordered_map<std::string, std::uint32_t> known;
  std::vector<std::uint32_t> numbers;
  numbers.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto next = static_cast<std::uint32_t>(known.size());
    numbers.push_back(known.try_emplace(folder_of(ids[i]), next).first->second);
  }
  return numbers;
}

/// The number of the ending that the file beside each image has, a character each. Where there is no file,
/// the first one: reading it says that it is missing.
std::string endings_beside(const fs::path& folder, const Texts& ids,
                           const std::vector<std::string>& endings) {
  const std::vector<std::uint32_t> folders = folders_of(ids);
  std::vector<std::size_t> order(ids.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return folders[a] < folders[b]; });
  std::string numbers(ids.size(), '\0');
  std::unordered_set<std::string> names;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::string id = ids[order[i]];
    if (i == 0 || folders[order[i]] != folders[order[i - 1]]) names = names_in(folder / folder_of(id));
    const auto is_there = [&](const std::string& ending) {
      return names.contains(fs::path(with_ending(id, ending)).filename().string());
    };
    const auto found = std::find_if(endings.begin(), endings.end(), is_there);
    if (found != endings.end()) numbers[order[i]] = static_cast<char>(found - endings.begin());
  }
  return numbers;
}

/// A text of FieldOptions: "FOLDER" or "FOLDER=NAME".
struct Named {
  data::FieldKind kind;
  fs::path folder;
  std::string name;
};

std::vector<Named> named_folders(const FieldOptions& options) {
  std::vector<Named> all;
  for (std::size_t number = 0; number < options.sources.size(); ++number) {
    const auto kind = static_cast<data::FieldKind>(number);
    for (const std::string& text : options.of(kind)) {
      auto [folder, name] = folder_and_name(text);
      all.push_back({kind, std::move(folder), std::move(name)});
    }
  }
  return all;
}

using Ids = std::shared_ptr<const Texts>;

FieldCells cells_of(const Named& named, const Ids& ids, std::string numbers) {
  FieldCells cells;
  cells.columns = {named.name};
  cells.images = std::ssize(*ids);
  cells.of = [ids, endings = endings_of(named.kind), numbers = std::move(numbers)](std::int64_t index) {
    const auto at = static_cast<std::size_t>(index);
    return std::vector<std::string>{
        with_ending((*ids)[at], endings.at(static_cast<std::size_t>(numbers[at])))};
  };
  cells.place = [ids](std::int64_t index) { return (*ids)[static_cast<std::size_t>(index)]; };
  cells.root = named.folder;
  cells.are_files = true;
  return cells;
}

}  // namespace

std::pair<fs::path, std::string> folder_and_name(const std::string& text) {
  auto [folder, name] = renamed(text);
  if (text.find('=') == std::string::npos) name = (fs::path(folder) / "").parent_path().filename().string();
  return {std::move(folder), std::move(name)};
}

std::vector<FieldSource> folder_fields(const FieldOptions& options, const ConvertOptions& common,
                                       const Texts& ids, comm::Communicator& ranks) {
  std::vector<FieldSource> fields;
  const auto shared = std::make_shared<const Texts>(ids);
  for (const Named& named : named_folders(options)) {
    std::string numbers;
    comm::together(ranks, [&] {
      if (ranks.rank() != 0) return;
      if (!fs::is_directory(named.folder))
        throw DataError({"there is no such folder", named.folder.string(), "check the path"});
      numbers = endings_beside(named.folder, ids, endings_of(named.kind));
    });
    numbers = ranks.broadcast_text(std::move(numbers));
    comm::together(ranks, [&] {
      fields.push_back(field_of_cells(named.kind, named.name, common.classes_of(named.name, 1), options,
                                      cells_of(named, shared, std::move(numbers))));
    });
  }
  comm::together(ranks, [&] { add_token_fields(fields, options); });
  return fields;
}

}  // namespace cohort::data_prep
