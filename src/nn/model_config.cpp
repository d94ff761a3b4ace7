#include "cohort/nn/model_config.h"

#include <array>

namespace cohort::nn {

std::span<const config::EnumName<Family>> enum_names(Family) {
  static constexpr std::array<config::EnumName<Family>, 2> names{
      {{Family::vit, "vit"}, {Family::channelvit, "channelvit"}}};
  return names;
}

std::span<const config::EnumName<Pooling>> enum_names(Pooling) {
  static constexpr std::array<config::EnumName<Pooling>, 2> names{
      {{Pooling::cls, "cls"}, {Pooling::mean, "mean"}}};
  return names;
}

std::span<const config::EnumName<Stem>> enum_names(Stem) {
  static constexpr std::array<config::EnumName<Stem>, 2> names{
      {{Stem::imagenet, "imagenet"}, {Stem::small, "small"}}};
  return names;
}

std::span<const config::EnumName<CctPositions>> enum_names(CctPositions) {
  static constexpr std::array<config::EnumName<CctPositions>, 2> names{
      {{CctPositions::learned, "learned"}, {CctPositions::sinusoidal, "sinusoidal"}}};
  return names;
}

std::span<const config::EnumName<CsitPooling>> enum_names(CsitPooling) {
  static constexpr std::array<config::EnumName<CsitPooling>, 2> names{
      {{CsitPooling::tokens, "tokens"}, {CsitPooling::sequence, "sequence"}}};
  return names;
}

}  // namespace cohort::nn
