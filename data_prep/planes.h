#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/data/description.h"

namespace cohort::data_prep {

/// --planes: what becomes of the planes (z) of an image.
void add_planes_to(CLI::App& command, std::string& planes);

/// Numbers of the planes that are images, of `count`; -1: all of them are one. Throws UsageError naming
/// `where`.
std::vector<std::int64_t> planes_of(std::int64_t count, const std::string& planes, const std::string& where);

/// Several planes as one: their maxima, or means.
class Projection {
 public:
  Projection(bool is_mean, const data::ImageLayout& layout);
  /// Another plane, [C, H, W] of the layout. Where one plane has no finite value the result has none.
  void add(const std::vector<std::byte>& plane);
  /// Means of integers are rounded half up.
  void write(std::vector<std::byte>& out) const;

 private:
  bool is_mean_;
  data::ImageLayout layout_;
  std::vector<double> sums_;
  int planes_ = 0;
};

}  // namespace cohort::data_prep
