#pragma once
#include <cstdint>
#include <span>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/config/field.h"

namespace cohort::nn {

/// Over which images of a context the token's statistics go.
enum class Scope {
  group,   ///< the images of the group: no communication
  global,  ///< all images of the context in the step, on all ranks: a differentiable all-reduce
};
std::span<const config::EnumName<Scope>> enum_names(Scope);

/// What a forward pass knows of its images beside the pixels. B images, K context keys.
struct Conditions {
  at::Tensor context{};  ///< [B, K] i64, vocabulary index per key
  at::Tensor group{};   ///< [B] i64, number of the group; images of one group share statistics in group scope
  at::Tensor sample{};  ///< [B] i64: key of dropout and stochastic depth
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::int64_t pass = 0;  ///< of a method that runs a model several times a step: the running statistics of
                          ///< batch normalisation move once for each number, in their order
  at::Tensor channels{};  ///< [c] i64, which of the model's channels the images have; undefined: all
  bool training = false;  ///< dropout and stochastic depth on
  Scope scope = Scope::group;           ///< evaluation always uses group scope
  comm::Communicator* ranks = nullptr;  ///< global scope sums over these; null: this rank alone
};

}  // namespace cohort::nn
