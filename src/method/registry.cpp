#include "cohort/method/registry.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort::method {

// Each is defined in a file of its own, src/method/<name>.cpp.
Entry supervised();
Entry dino();
Entry mae();
Entry simclr();
Entry byol();
Entry barlow_twins();
Entry matrix_ssl();
Entry spectral_contrastive();
Entry simsiam();
Entry convirt();
Entry clip_star();
Entry lovt();

namespace {

std::vector<Entry>& table() {
  static std::vector<Entry> entries{
      supervised(),           dino(),    mae(),     simclr(),    byol(), barlow_twins(), matrix_ssl(),
      spectral_contrastive(), simsiam(), convirt(), clip_star(), lovt(),
  };
  return entries;
}

}  // namespace

std::span<const Entry> registry() {
  return table();
}

const Entry& find(std::string_view name) {
  const auto found =
      std::find_if(table().begin(), table().end(), [&](const Entry& e) { return e.name == name; });
  if (found != table().end()) return *found;
  std::vector<std::string> names;
  for (const Entry& entry : table()) names.emplace_back(entry.name);
  throw UsageError({fmt::format("there is no method '{}'", name), "method", did_you_mean(name, names)});
}

void add(const Entry& entry) {
  table().push_back(entry);
}

}  // namespace cohort::method
