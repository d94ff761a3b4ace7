#include "data_prep/planes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/data/pixel_type.h"

namespace cohort::data_prep {

void add_planes_to(CLI::App& command, std::string& planes) {
  command
      .add_option("--planes", planes,
                  "what becomes of the planes (z): max or mean of them, each is an image, or the number of "
                  "one (needed where there are several)")
      ->type_name("max|mean|each|NUMBER");
}

std::vector<std::int64_t> planes_of(std::int64_t count, const std::string& planes, const std::string& where) {
  std::vector<std::int64_t> all;
  for (std::int64_t plane = 0; plane < count; ++plane) all.push_back(plane);
  if (planes == "each" || (count == 1 && planes.empty())) return all;
  if (planes == "max" || planes == "mean") return {-1};
  const auto number = std::find_if(all.begin(), all.end(),
                                   [&](std::int64_t plane) { return std::to_string(plane) == planes; });
  if (number != all.end()) return {*number};
  throw UsageError({fmt::format("the image has {} planes (z)", count), where,
                    "choose with --planes: max or mean (a projection), each (an image for each), or a "
                    "number from 0 on"});
}

Projection::Projection(bool is_mean, const data::ImageLayout& layout)
    : is_mean_(is_mean),
      layout_(layout),
      sums_(static_cast<std::size_t>(layout.values()),
            is_mean ? 0 : -std::numeric_limits<double>::infinity()) {}

void Projection::add(const std::vector<std::byte>& plane) {
  constexpr double kNotFinite = std::numeric_limits<double>::quiet_NaN();  // no maximum takes its place
  ++planes_;
  data::visit_pixels(layout_.type, plane.data(), [&](const auto* values) {
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      const auto value = static_cast<double>(values[i]);
      const double most = std::isfinite(value) ? std::max(sums_[i], value) : kNotFinite;
      sums_[i] = is_mean_ ? sums_[i] + value : most;
    }
  });
}

void Projection::write(std::vector<std::byte>& out) const {
  data::visit_pixels(layout_.type, out.data(), [&](const auto* start) {
    using T = std::remove_cvref_t<decltype(*start)>;
    T* values = static_cast<T*>(static_cast<void*>(out.data()));
    for (std::size_t i = 0; i < sums_.size(); ++i) {
      const double value = is_mean_ ? sums_[i] / planes_ : sums_[i];
      values[i] = static_cast<T>(
          std::is_integral_v<T> ? static_cast<double>(static_cast<std::int64_t>(value + 0.5)) : value);
    }
  });
}

}  // namespace cohort::data_prep
