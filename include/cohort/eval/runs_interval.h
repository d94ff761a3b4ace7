#pragma once
#include <cstdint>
#include <span>

namespace cohort::eval {

/// Of values of several runs. The half width is 1.96 s / √n with s² = Σ(x - mean)² / (n - 1): the interval of
/// a normal distribution, as tables of the field have it (LoVT, arXiv 2112.02889). Deviation and half width
/// are not numbers with one run, the mean not with none.
struct RunsInterval {
  std::int64_t runs = 0;
  double mean = 0.0, deviation = 0.0, half_width = 0.0;
};

RunsInterval runs_interval(std::span<const double> values);

}  // namespace cohort::eval
