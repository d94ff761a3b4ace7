#include "cohort/nn/encoders.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cohort/config/field.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "encoder_families.h"

namespace cohort::nn {
namespace {

/// Recipes that many encoders share set these: passed over by those that have no such thing.
constexpr std::array<std::string_view, 9> kShared{"name",  "weights",   "patch_size", "width",    "depth",
                                                  "heads", "mlp_ratio", "drop_path",  "positions"};

bool is_shared(const std::string& key) {
  return std::find(kShared.begin(), kShared.end(), key) != kShared.end();
}

/// The options of `family` that `config` sets.
std::vector<std::string> options_set(ModelConfig config, const EncoderFamily& family) {
  ModelConfig plain;
  config::Fields set(config), unset(plain);
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < set.list().size(); ++i) {
    const config::Field& field = set.list()[i];
    const std::size_t dot = field.key.find('.');
    const std::string section = dot == std::string::npos ? "" : field.key.substr(0, dot);
    if (section == family.section && !is_shared(field.key) && field.get() != unset.list()[i].get())
      keys.push_back("model." + field.key);
  }
  return keys;
}

void refuse_options_of_others(const ModelConfig& config, const EncoderInput& input,
                              const EncoderFamily& own) {
  for (const EncoderFamily& family : encoder_families()) {
    if (family.kind == own.kind) continue;
    std::vector<std::string> keys = options_set(config, family);
    if (family.takes_contexts && !own.takes_contexts && !input.context.keys.empty())
      keys.insert(keys.begin(), "context.keys");
    if (keys.empty()) continue;
    const bool is_one = keys.size() == 1;
    throw UsageError(
        {fmt::format("{} {} {} alone, and the model is a {}", join(keys, ", "), is_one ? "is for" : "are for",
                     family.kind, config.name),
         join(keys, ", "),
         fmt::format("leave {} out, or choose one of those as model.name", is_one ? "it" : "them")});
  }
}

}  // namespace

std::span<const EncoderFamily> encoder_families() {
  static const std::array kFamilies{vit_family(), resnet_family(), cct_family(), csit_family(), pvt_family()};
  return kFamilies;
}

const EncoderFamily& encoder_family(const std::string& name) {
  for (const EncoderFamily& family : encoder_families()) {
    const std::vector<std::string> names = family.names();
    if (std::find(names.begin(), names.end(), name) != names.end()) return family;
  }
  throw UsageError(
      {fmt::format("unknown model '{}'", name), "model.name", did_you_mean(name, encoder_names())});
}

std::vector<std::string> encoder_names() {
  std::vector<std::string> all;
  for (const EncoderFamily& family : encoder_families()) {
    const std::vector<std::string> names = family.names();
    all.insert(all.end(), names.begin(), names.end());
  }
  return all;
}

void check_encoder(const ModelConfig& config, const EncoderInput& input) {
  const EncoderFamily& family = encoder_family(config.name);
  refuse_options_of_others(config, input, family);
  if (family.check != nullptr) family.check(config, input);
}

std::shared_ptr<Encoder> make_encoder(const ModelConfig& config, const EncoderInput& input) {
  check_encoder(config, input);
  return encoder_family(config.name).make(config, input);
}

}  // namespace cohort::nn
