#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace cohort::config {

/// A configuration that comes with Cohort.
struct Recipe {
  std::string name;            ///< "small/dino"
  std::filesystem::path file;  ///< <folder>/small/dino.yaml
  std::string about;           ///< its first line, a comment: one sentence; empty: it has none
};

/// Where recipes lie: share/cohort/configs beside the folder of the running program, in a build, an
/// installation and a bundle alike; for a program of others that of the installation whose library it uses.
std::filesystem::path recipe_folder();

/// All of `folder` and the folders in it, by name. None when there is no such folder.
std::vector<Recipe> recipes(const std::filesystem::path& folder = recipe_folder());

/// The file that a command line means: `name` itself where there is one, else the recipe of that name, with
/// or without its ending. Throws UsageError ("did you mean").
std::filesystem::path find_config(const std::filesystem::path& name,
                                  const std::filesystem::path& folder = recipe_folder());

}  // namespace cohort::config
