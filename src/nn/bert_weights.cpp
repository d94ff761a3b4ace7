#include <algorithm>
#include <string_view>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/nn/bert.h"

namespace cohort::nn {
namespace {

// As the model has it, of a name in a published file.
std::string own_name(std::string name) {
  constexpr std::string_view kPrefix = "bert.", kNorm = ".LayerNorm.";
  if (name.starts_with(kPrefix)) name.erase(0, kPrefix.size());
  if (name.ends_with(std::string(kNorm) + "gamma")) name.replace(name.rfind('.') + 1, 5, "weight");
  if (name.ends_with(std::string(kNorm) + "beta")) name.replace(name.rfind('.') + 1, 4, "bias");
  return name;
}

}  // namespace

std::map<std::string, at::Tensor> fitted_bert(const Bert& model, const NamedTensors& file,
                                              const std::string& where) {
  std::map<std::string, at::Tensor> known, fitted;
  for (const auto& [name, values] : file) known.insert_or_assign(own_name(name), values);
  std::vector<std::string> missing, misshaped;
  for (const auto& [name, wanted] : named_values(model)) {
    const auto found = known.find(name);
    if (found == known.end()) {
      missing.push_back(name);
    } else if (found->second.sizes() != wanted.sizes()) {
      misshaped.push_back(fmt::format("{} [{}], the model needs [{}]", name,
                                      fmt::join(found->second.sizes(), ", "),
                                      fmt::join(wanted.sizes(), ", ")));
    } else {
      fitted.emplace(name, found->second);
    }
  }
  std::vector<std::string> what;
  if (!missing.empty()) what.push_back("missing: " + list_of(missing));
  if (!misshaped.empty()) what.push_back("of another shape: " + list_of(misshaped));
  if (what.empty()) return fitted;
  throw DataError(
      {fmt::format("the weights do not fit the text tower; {}", join(what, "; ")), where,
       "check text.* of the method's options, and the vocabulary of the dataset's tokens, against "
       "what the weights were made for"});
}

}  // namespace cohort::nn
