#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cohort/nn/dino_head.h"
#include "cohort/nn/encoder.h"

namespace cohort::nn {

/// Student or teacher of DINO: a backbone and a projection head as one model. Units are those of the
/// backbone; the head stands in the root unit, beside the backbone's last norm. Parameters are called
/// backbone.… and head.….
class DinoNetwork final : public UnitModel {
 public:
  /// The head's values are uninitialised: initialise() or discard_values() comes next.
  DinoNetwork(std::shared_ptr<Encoder> backbone, const DinoHeadShape& head);

  [[nodiscard]] const std::shared_ptr<Encoder>& backbone() const noexcept { return backbone_; }
  /// Only after a forward pass of the backbone, which brings the head's parameters with it.
  [[nodiscard]] DinoHead& head() noexcept { return *head_; }

 private:
  std::shared_ptr<Encoder> backbone_;
  std::shared_ptr<DinoHead> head_;
};

}  // namespace cohort::nn
