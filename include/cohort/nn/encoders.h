#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/nn/context.h"
#include "cohort/nn/encoder.h"
#include "cohort/nn/model_config.h"

namespace cohort::nn {

/// What an encoder is made for.
struct EncoderInput {
  std::int64_t channels, height, width;    ///< of images
  std::int64_t classes = 0;                ///< of the head; 0: none
  ContextConfig context{};                 ///< no keys: plain
  std::vector<std::int64_t> vocabulary{};  ///< values of each context key
};

/// A family of encoders, of which model.name chooses one.
struct EncoderFamily {
  std::string_view kind;     ///< "residual networks"
  std::string_view section;  ///< of `model`, which has its options; empty: the options without a section.
                             ///< One named batch_norm is a NormScope, which no weights depend on
  bool takes_contexts = false;
  std::vector<std::string> (*names)();  ///< "resnet18", "resnet34" …
  /// Throws UsageError when the configuration, or its input, is none for this family. Options of other
  /// families were refused before. Null: any will do.
  void (*check)(const ModelConfig& config, const EncoderInput& input) = nullptr;
  /// Checked before; without memory for the weights (discard_values).
  std::shared_ptr<Encoder> (*make)(const ModelConfig& config, const EncoderInput& input);
};

/// All there are, in the order of docs/encoders.md.
std::span<const EncoderFamily> encoder_families();

/// The one of this encoder. Throws UsageError: there is none.
const EncoderFamily& encoder_family(const std::string& name);

/// Throws UsageError: no encoder of this name, or one that the input is not for (sizes, context keys, options
/// of another family).
void check_encoder(const ModelConfig& config, const EncoderInput& input);

/// The encoder of a configuration, without memory for its weights (discard_values). Throws UsageError as
/// check_encoder().
std::shared_ptr<Encoder> make_encoder(const ModelConfig& config, const EncoderInput& input);

}  // namespace cohort::nn
