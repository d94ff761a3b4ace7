#include "cohort/nn/encoders.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "encoder_families.h"

namespace cohort::nn {
namespace {

const EncoderFamily& family_of(const std::string& name) {
  for (const EncoderFamily& family : encoder_families()) {
    const std::vector<std::string> names = family.names();
    if (std::find(names.begin(), names.end(), name) != names.end()) return family;
  }
  throw UsageError(
      {fmt::format("unknown model '{}'", name), "model.name", did_you_mean(name, encoder_names())});
}

}  // namespace

std::span<const EncoderFamily> encoder_families() {
  static const std::array kFamilies{vit_family(), resnet_family()};
  return kFamilies;
}

std::vector<std::string> encoder_names() {
  std::vector<std::string> all;
  for (const EncoderFamily& family : encoder_families()) {
    const std::vector<std::string> names = family.names();
    all.insert(all.end(), names.begin(), names.end());
  }
  return all;
}

void refuse_unused(const std::string& name, const std::string& kind, std::span<const UnusedOption> options) {
  std::vector<std::string> keys;
  for (const UnusedOption& option : options) {
    if (option.is_set) keys.push_back(option.key);
  }
  if (keys.empty()) return;
  throw UsageError({fmt::format("{} {} {} alone, and the model is a {}", join(keys, ", "),
                                keys.size() == 1 ? "is for" : "are for", kind, name),
                    "model.name",
                    fmt::format("leave {} out, or choose one of those", keys.size() == 1 ? "it" : "them")});
}

void check_encoder(const ModelConfig& config, const EncoderInput& input) {
  family_of(config.name).check(config, input);
}

std::shared_ptr<Encoder> make_encoder(const ModelConfig& config, const EncoderInput& input) {
  const EncoderFamily& family = family_of(config.name);
  family.check(config, input);
  return family.make(config, input);
}

}  // namespace cohort::nn
