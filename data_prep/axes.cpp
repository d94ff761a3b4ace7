#include "data_prep/axes.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort::data_prep {
namespace {

std::vector<std::string> known_axes(bool is_stack) {
  const std::string stack = is_stack ? "N" : "";
  return {stack + "HW", stack + "CHW", stack + "HWC", stack + "DHW", stack + "CDHW", stack + "DHWC"};
}

/// `shape` has as many dimensions as `name`.
Axes reading(std::span<const std::int64_t> shape, const std::string& name) {
  const auto size = [&](char axis) {
    const std::size_t at = name.find(axis);
    return at == std::string::npos ? 1 : shape[at];
  };
  return {name, size('C'), size('H'), size('W'), size('D')};
}

constexpr std::int64_t kFewChannels = 4;  // colour with alpha

bool is_clear(const Axes& axes) {
  constexpr std::int64_t kSidePerChannel = 4;
  const std::int64_t side = std::min(axes.height, axes.width);
  return kSidePerChannel * axes.channels <= side || (axes.channels <= kFewChannels && side > kFewChannels);
}

std::string described(const Axes& axes) {
  return fmt::format("--axes {} ({} channel{} of {} x {})", axes.name, axes.channels,
                     axes.channels == 1 ? "" : "s", axes.height, axes.width);
}

[[noreturn]] void refuse(std::span<const std::int64_t> shape, const std::string& readings,
                         const std::string& where) {
  throw UsageError(
      {fmt::format("an array of the shape [{}] can be read in more than one way", fmt::join(shape, ", ")),
       where, "say which: " + readings});
}

/// The reading that the shape tells. Precondition: two or three dimensions besides N.
Axes clear_axes(std::span<const std::int64_t> shape, bool is_stack, const std::string& where) {
  const std::vector<std::string> names = known_axes(is_stack);
  if (shape.size() == names[0].size()) {
    const Axes plain = reading(shape, names[0]);
    if (!is_stack || plain.width > kFewChannels) return plain;
    refuse(shape, described(plain) + "; an image of [H, W, C] is no stack: give it a first dimension of 1",
           where);
  }
  const Axes first = reading(shape, names[1]), last = reading(shape, names[2]);
  if (is_clear(first)) return first;
  if (is_clear(last)) return last;
  refuse(shape, described(last) + " or " + described(first), where);
}

}  // namespace

void add_axes_to(CLI::App& command, std::string& axes, const std::string& what, bool is_stack) {
  command
      .add_option(
          "--axes", axes,
          fmt::format("dimensions of {}: {}; without it the shape tells, and is refused where it does not",
                      what, join(known_axes(is_stack), ", ")))
      ->type_name("AXES");
}

Axes axes_of(std::span<const std::int64_t> shape, const std::string& wanted, bool is_stack,
             const std::string& where) {
  const std::vector<std::string> names = known_axes(is_stack);
  const std::string use = fmt::format("use {}", join(names, ", "));
  if (!wanted.empty() && std::find(names.begin(), names.end(), wanted) == names.end())
    throw UsageError({fmt::format("'{}' are no axes of images", wanted), "--axes", use});
  const bool fits = wanted.empty() ? shape.size() == names[0].size() || shape.size() == names[1].size()
                                   : shape.size() == wanted.size();
  if (!fits) {
    throw UsageError({fmt::format("the array has {} dimensions: [{}]", shape.size(), fmt::join(shape, ", ")),
                      where, "name them with --axes; " + use});
  }
  return wanted.empty() ? clear_axes(shape, is_stack, where) : reading(shape, wanted);
}

}  // namespace cohort::data_prep
