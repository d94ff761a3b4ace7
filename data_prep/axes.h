#pragma once
#include <cstdint>
#include <span>
#include <string>

#include <CLI/CLI.hpp>

namespace cohort::data_prep {

/// How an array is read as an image, or as a stack of images.
struct Axes {
  std::string
      name;  ///< "HW", "CHW" or "HWC", of volumes "DHW", "CDHW" or "DHWC"; of a stack with an N before
  std::int64_t channels = 1, height = 0, width = 0, depth = 1;
  [[nodiscard]] bool channels_last() const { return name.ends_with('C'); }
};

/// --axes; `what` has them.
void add_axes_to(CLI::App& command, std::string& axes, const std::string& what, bool is_stack);

/// Of an array of `shape` [H, W], or three with channels, a stack with N before them; volumes have to be
/// named. Without `wanted` the
/// shape has to tell: one reading with few channels beside height and width (at most a quarter of both, or at
/// most four channels and more than four rows and columns); gray images of a stack are wider than four.
/// Throws UsageError with both readings where it does not, and for other numbers of dimensions.
Axes axes_of(std::span<const std::int64_t> shape, const std::string& wanted, bool is_stack,
             const std::string& where);

}  // namespace cohort::data_prep
