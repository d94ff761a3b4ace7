#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/augment/multi_crop.h"
#include "cohort/data/description.h"
#include "cohort/data/view_maker.h"

#include "augment/operations.h"

namespace cohort::augment {

/// A preset that comes with Cohort: its table, and sizes where the configuration has none.
struct BuiltIn {
  std::string_view name;
  std::int64_t global_size, local_size;
  Policy table;
};

std::span<const BuiltIn> built_in_presets();
/// Null: there is none of this name.
const BuiltIn* built_in(std::string_view name);

/// Views of one kind, global or local.
struct ViewKind {
  std::int64_t count = 0;
  Sides size;
  std::vector<NamedOperation> operations;
};

/// The views of an image: all that is not random.
struct Table {
  ViewKind global, local;
  [[nodiscard]] std::int64_t views() const noexcept { return global.count + local.count; }
  [[nodiscard]] const ViewKind& kind_of(std::int64_t view) const noexcept {
    return view < global.count ? global : local;
  }
  /// Of what is made of images with these channels.
  [[nodiscard]] std::vector<data::ViewShape> shapes(std::int64_t channels) const;
  /// What the operations do to view number `draws.view` of an image of `sizes.image`; the rest of `sizes` is
  /// filled in.
  void draw(ViewDraws draws, ViewSizes sizes, std::vector<Step>& steps) const;
};

/// Throws UsageError: operations that the images cannot have.
Table table_of(const ViewConfig& config, std::int64_t global_views, const data::ImageLayout& images);

/// Of the image, which channel stands at each place of the views' channels.
std::vector<std::int64_t> channel_order(const ViewDraws& draws, std::int64_t channels, bool shuffles);

/// "96 x 96", of volumes "32 x 96 x 96".
std::string text_of(Sides size);

}  // namespace cohort::augment
