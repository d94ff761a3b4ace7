#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cohort/core/error.h"
#include "cohort/data/view_geometry.h"

namespace cohort::data {

struct ViewShape {
  std::int64_t channels = 0, height = 0, width = 0;
  [[nodiscard]] std::int64_t values() const noexcept { return channels * height * width; }
  friend bool operator==(const ViewShape&, const ViewShape&) = default;
};

/// Makes the views of one image. Const functions are called by many threads at once.
class ViewMaker {
 public:
  ViewMaker() = default;
  ViewMaker(const ViewMaker&) = delete;
  ViewMaker& operator=(const ViewMaker&) = delete;
  virtual ~ViewMaker() = default;

  /// Of each view; large ones first. The same for every image.
  [[nodiscard]] virtual std::vector<ViewShape> shapes() const = 0;
  /// `image`: [C, H, W] as stored, of dataset row `row`. Writes view v as [channels, height, width] f32,
  /// normalised, to views[v].
  virtual void make(std::span<const std::byte> image, std::int64_t row,
                    std::span<const std::span<float>> views) const = 0;

  /// Bytes in which draw() writes what is random about the views of an image, a multiple of 8: for
  /// geometry(), and for a device that makes them (augment/device_views.h). 0: a maker that draws nothing;
  /// all of augment/ do.
  [[nodiscard]] virtual std::int64_t recipe_bytes() const { return 0; }
  /// Of dataset row `row`: what make() would draw. `recipe`: recipe_bytes(), aligned to 8.
  virtual void draw(std::int64_t /*row*/, std::span<std::byte> /*recipe*/) const {}
  /// Where the view number `view` of shapes() is cut, by what draw() wrote; targets.h moves masks,
  /// boxes and points by it.
  [[nodiscard]] virtual ViewGeometry geometry(std::span<const std::byte> /*recipe*/,
                                              std::size_t /*view*/) const {
    COHORT_CHECK(false, "views without a geometry");
    return {};
  }
};

}  // namespace cohort::data
