#include "site.h"

#include <array>
#include <cctype>
#include <cstdlib>

#include <fmt/format.h>

#include "cohort/config/load.h"
#include "cohort/core/error.h"

namespace cohort::jobs {
namespace {

namespace fs = std::filesystem;

bool is_assignment(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || std::isdigit(static_cast<unsigned char>(text[0])) != 0)
    return false;
  for (const char letter : text.substr(0, equals)) {
    if (std::isalnum(static_cast<unsigned char>(letter)) == 0 && letter != '_') return false;
  }
  return true;
}

}  // namespace

std::span<const config::EnumName<Launcher>> enum_names(Launcher) {
  static constexpr std::array<config::EnumName<Launcher>, 2> names{
      {{Launcher::srun, "srun"}, {Launcher::mpirun, "mpirun"}}};
  return names;
}

fs::path site_file(const std::string& given) {
  if (!given.empty()) return given;
  if (const char* file = std::getenv("COHORT_SITE"); file != nullptr && *file != '\0') return file;
  const char* home = std::getenv("HOME");
  const fs::path own = fs::path(home == nullptr ? "" : home) / ".config" / "cohort" / "site.yaml";
  return fs::exists(own) ? own : fs::path();
}

SiteConfig load_site(const fs::path& file) {
  SiteConfig site;
  if (file.empty()) return site;
  config::Fields fields(site);
  config::load(file, fields);
  for (const std::string& variable : site.environment) {
    if (is_assignment(variable)) continue;
    throw UsageError({fmt::format("environment: '{}' is not NAME=VALUE", variable), file.string(),
                      "for example environment: [NCCL_DEBUG=WARN]"});
  }
  for (const std::string& option : site.sbatch) {
    if (option.starts_with("-")) continue;
    throw UsageError({fmt::format("sbatch: '{}' is no option of sbatch", option), file.string(),
                      "for example sbatch: [--constraint=a100]"});
  }
  return site;
}

}  // namespace cohort::jobs
