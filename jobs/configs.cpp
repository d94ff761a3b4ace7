#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/config/recipes.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"

#include "commands.h"

namespace cohort::jobs {
namespace {

ExitCode list_recipes() {
  const std::vector<config::Recipe> recipes = config::recipes();
  if (recipes.empty()) {
    throw DataError({"there are no recipes", config::recipe_folder().string(),
                     "install Cohort with cmake --install, or give configurations by their path"});
  }
  std::size_t width = 0;
  for (const config::Recipe& recipe : recipes) width = std::max(width, recipe.name.size());
  for (const config::Recipe& recipe : recipes)
    fmt::print("{}  {}\n", left_aligned(recipe.name, width), recipe.about);
  return ExitCode::done;
}

ExitCode print_recipe(const std::string& name) {
  fmt::print("{}", read_file(config::find_config(name), kMostSettings));
  return ExitCode::done;
}

}  // namespace

void add_configs(CLI::App& app, Job& job) {
  const auto name = std::make_shared<std::string>();
  CLI::App* command = &add_command(
      app,
      {"configs",
       "List the recipes, configurations that every command takes by name, or print one",
       {"cohort configs", "cohort configs small/dino"},
       {ExitCode::done, {ExitCode::usage, "there is no such recipe"}, {ExitCode::data, "none are installed"}},
       "A recipe is named where a configuration is asked for: cohort train small/dino data.path=data/mine"});
  command->add_option("NAME", *name, "recipe to print: small/dino");
  command->callback([name, &job] {
    job.program = "cohort configs";
    job.alone = [name] { return name->empty() ? list_recipes() : print_recipe(*name); };
  });
}

}  // namespace cohort::jobs
