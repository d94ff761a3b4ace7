#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cohort/core/error.h"
#include "cohort/data/view_geometry.h"

namespace cohort::data {

struct ViewShape {
  std::int64_t channels = 0, height = 0, width = 0;
  std::int64_t depth = 1;  ///< above 1: of a volume
  [[nodiscard]] std::int64_t values() const noexcept { return channels * depth * height * width; }
  /// [C, h, w], of a volume [C, d, h, w].
  [[nodiscard]] std::vector<std::int64_t> sizes() const {
    if (depth > 1) return {channels, depth, height, width};
    return {channels, height, width};
  }
  friend bool operator==(const ViewShape&, const ViewShape&) = default;
};

/// What decides how the views of an image are made.
struct ViewKey {
  std::int64_t row = 0;               ///< of the dataset, with its copies: Batch::sample
  std::span<const std::byte> mask{};  ///< the image's ViewMaker::guide(), as stored

  ViewKey(std::int64_t number, std::span<const std::byte> guide = {})  // NOLINT: a row is a key
      : row(number), mask(guide) {}
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
  /// `image`: [C, H, W], or [C, D, H, W], as stored. Writes view v as ViewShape::sizes() f32, normalised, to
  /// views[v].
  virtual void make(std::span<const std::byte> image, ViewKey key,
                    std::span<const std::span<float>> views) const = 0;

  /// The field of kind mask by which views are placed; its row comes as ViewKey::mask. Empty: none.
  [[nodiscard]] virtual std::string guide() const { return ""; }

  /// Bytes in which draw() writes what is random about the views of an image, a multiple of 8: for
  /// geometry(), and for a device that makes them (augment/device_views.h). 0: a maker that draws nothing;
  /// all of augment/ do.
  [[nodiscard]] virtual std::int64_t recipe_bytes() const { return 0; }
  /// What make() would draw of `key`. `recipe`: recipe_bytes(), aligned to 8.
  virtual void draw(ViewKey /*key*/, std::span<std::byte> /*recipe*/) const {}
  /// Where the view number `view` of shapes() is cut, by what draw() wrote; targets.h moves masks,
  /// boxes and points by it.
  [[nodiscard]] virtual ViewGeometry geometry(std::span<const std::byte> /*recipe*/,
                                              std::size_t /*view*/) const {
    COHORT_CHECK(false, "views without a geometry");
    return {};
  }
};

}  // namespace cohort::data
