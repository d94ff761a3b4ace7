#include "cohort/config/recipes.h"

#include <algorithm>
#include <dlfcn.h>
#include <fstream>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort::config {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEnding = ".yaml";

/// Of the library or program that this code is part of.
fs::path library_folder() {
  Dl_info found{};
  return dladdr(&kEnding, &found) == 0 ? fs::path() : fs::path(found.dli_fname).parent_path();
}

std::string first_comment(const fs::path& file) {
  std::string line;
  std::ifstream stream(file);
  if (!std::getline(stream, line) || !line.starts_with("# ")) return "";
  return line.substr(2);
}

std::string how_to_fix(const std::string& wanted, const std::vector<Recipe>& known) {
  std::vector<std::string> names, alike;
  for (const Recipe& recipe : known) {
    names.push_back(recipe.name);
    if (recipe.file.stem() == wanted) alike.push_back("'" + recipe.name + "'");
  }
  const std::string near =
      alike.empty() ? did_you_mean(wanted, names) : fmt::format("did you mean {}?", join(alike, " or "));
  return fmt::format("check the path; recipes, which cohort configs lists: {}", near);
}

}  // namespace

fs::path recipe_folder() {
  const fs::path share = fs::path("share") / "cohort" / "configs";
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path(),
                 library = library_folder();
  // Libraries lie in lib, or in lib/x86_64-linux-gnu.
  for (const fs::path& prefix :
       {program.parent_path(), library.parent_path(), library.parent_path().parent_path()}) {
    if (fs::is_directory(prefix / share, error)) return prefix / share;
  }
  return program.parent_path() / share;
}

std::vector<Recipe> recipes(const fs::path& folder) {
  std::vector<Recipe> found;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error); entry != fs::recursive_directory_iterator();
       entry.increment(error)) {
    const fs::path& file = entry->path();
    if (file.extension() != kEnding) continue;
    const fs::path name = file.lexically_relative(folder);
    found.push_back({(name.parent_path() / name.stem()).string(), file, first_comment(file)});
  }
  std::sort(found.begin(), found.end(), [](const Recipe& a, const Recipe& b) { return a.name < b.name; });
  return found;
}

fs::path find_config(const fs::path& name, const fs::path& folder) {
  std::error_code error;
  if (fs::exists(name, error)) return name;
  std::string wanted = name.lexically_normal().string();
  if (wanted.ends_with(kEnding)) wanted.erase(wanted.size() - std::string_view(kEnding).size());
  const std::vector<Recipe> known = recipes(folder);
  const auto found =
      std::find_if(known.begin(), known.end(), [&](const Recipe& recipe) { return recipe.name == wanted; });
  if (found != known.end()) return found->file;
  if (wanted.find('=') != std::string::npos) {
    throw UsageError(
        {"which configuration?", "command line",
         fmt::format("name a YAML file or a recipe before {}; cohort configs lists recipes", wanted)});
  }
  throw UsageError({fmt::format("there is no file '{}', and no recipe of that name", name.string()),
                    "command line", how_to_fix(wanted, known)});
}

}  // namespace cohort::config
