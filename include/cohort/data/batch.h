#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/core/workers.h"
#include "cohort/data/context_sampler.h"
#include "cohort/data/dataset.h"
#include "cohort/data/view_maker.h"

namespace cohort::data {

/// A field of the images of a batch, [B, …] of the field's type (u16 as i32). Rows that differ in length lie
/// one after the other: image i has values[offsets[i]:offsets[i + 1]].
struct Column {
  at::Tensor values;   ///< [B, …]; of rows that differ [sum, …]
  at::Tensor offsets;  ///< [B + 1] i64; undefined: rows do not differ
};

/// What one rank works on in one step. B images, V views, K context keys.
struct Batch {
  /// V × [B, C, h, w] f32, of volumes [B, C, d, h, w], normalised; large views first.
  std::vector<at::Tensor> views;
  /// Where a device makes the views: pixels as stored [B, bytes] u8 and ViewMaker::draw() [B, bytes] u8.
  /// Undefined where `views` came with the batch.
  at::Tensor stored, recipes;
  at::Tensor context;  ///< [B, K] i64, vocabulary index for every context key of the model
  at::Tensor group;    ///< [B] i64, number of the group within the global batch
  at::Tensor label;    ///< [B] i64, -1 where a row has none; undefined without a label column
  at::Tensor sample;   ///< [B] i64, on the host: the key of every random number of an image. Its dataset row,
                       ///< and the dataset's rows more for each pass of Group::copies
  /// Fields by name, those of BatchColumns::fields. Masks, boxes and points of the image lie in its views,
  /// "mask/0" for the first: a mask of any size covers the image; where it shows nothing of the image it is
  /// 255 (u8) or -1 (i32), boxes and points that a view does not show are left out. All others are as stored.
  std::map<std::string, Column> columns;
  /// V × [B, 2, 3] f64, with BatchColumns::geometry: (x, y) in a view, in pixels from its upper left corner,
  /// is the place geometry · (x, y, 1) of the stored image (view_geometry.h). Of volumes V × [B, 3, 4], of
  /// places (x, y, z).
  std::vector<at::Tensor> geometry;
  /// Whom a tensor is for: the model; what makes views on a device; who draws random numbers, on the host.
  enum class Use { model, views, key };
  /// Calls `visit(tensor, use)` with every tensor that is there: the one list of them.
  template <class Visit>
  void for_each_tensor(const Visit& visit) {
    visit_tensors(*this, visit);
  }
  template <class Visit>
  void for_each_tensor(const Visit& visit) const {
    visit_tensors(*this, visit);
  }

  /// Seconds that threads spent reading (with checksums and decoding) and making views, added up over
  /// threads.
  double read_seconds = 0.0, view_seconds = 0.0;

 private:
  template <class Self, class Visit>
  static void visit_tensors(Self& batch, const Visit& visit) {
    for (auto& view : batch.views) visit(view, Use::model);
    const auto visit_if_there = [&](auto& tensor, Use use) {
      if (tensor.defined()) visit(tensor, use);
    };
    for (auto* column : {&batch.context, &batch.group, &batch.label}) visit_if_there(*column, Use::model);
    for (auto& [name, column] : batch.columns) {
      visit_if_there(column.values, Use::model);
      visit_if_there(column.offsets, Use::model);
    }
    for (auto& of_view : batch.geometry) visit(of_view, Use::model);
    for (auto* bytes : {&batch.stored, &batch.recipes}) visit_if_there(*bytes, Use::views);
    visit_if_there(batch.sample, Use::key);
  }
};

struct BatchColumns {
  std::vector<std::string> context_keys;  ///< columns of Batch::context
  std::string label;                      ///< empty: none
  bool pinned = false;       ///< views and fields in page-locked memory, for fast copies to a CUDA device
  bool views_later = false;  ///< Batch::stored and recipes instead of views
  std::vector<std::string> fields{};  ///< Batch::columns; empty: none
  double least_part = 0.0;            ///< of a box that a view has to show of it; else it is left out
  bool geometry = false;              ///< Batch::geometry
};

/// Reads the rows of `groups` as one batch, in their order. Images are read in the order of rows and shared
/// by `workers`; the result does not depend on how many those are. Context and label columns were read
/// before. Throws DataError naming a damaged row, the first one of the dataset if there are several.
Batch make_batch(const Dataset& dataset, std::span<const Group> groups, const BatchColumns& columns,
                 const ViewMaker& views, Workers& workers);

/// The images of group number `begin` to `end` of the batch, in its order, as views of it, but for offsets of
/// columns, which begin at 0 again.
/// Groups are those of make_batch, all of the same size.
Batch groups_of(const Batch& batch, std::int64_t groups, std::int64_t begin, std::int64_t end);

}  // namespace cohort::data
