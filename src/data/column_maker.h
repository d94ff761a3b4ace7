#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "cohort/data/batch.h"
#include "cohort/data/view_geometry.h"

namespace cohort::data {

/// Reads rows of a field, one at a time, and makes a column of them.
class ColumnMaker {
 public:
  /// `rows`: of the batch. Throws UsageError: no such field. `dataset` has to outlive it.
  ColumnMaker(const Dataset& dataset, std::string field, std::int64_t rows);

  /// Image number `i` of the batch. From any thread, once for each. Throws DataError.
  void read(std::int64_t i, std::int64_t row);
  [[nodiscard]] const std::string& field() const { return name_; }
  [[nodiscard]] Column column(bool pinned) const;

 private:
  const Dataset& dataset_;
  std::string name_;
  std::vector<std::vector<std::byte>> rows_;
};

/// Whether views of the image move the values of `field`: masks, boxes and points of it.
bool moves_with_views(const Field& field) noexcept;

/// Reads rows of such a field, one at a time, and makes a column of them for every view.
class MovedColumns {
 public:
  /// `views`: their shapes. `columns`: what batches have. `dataset` has to outlive it.
  MovedColumns(const Dataset& dataset, const Field& field, const std::vector<ViewShape>& views,
               std::int64_t rows, const BatchColumns& columns);

  /// Image number `i` of the batch, whose views were cut as `views` say. From any thread, once for each.
  /// Throws DataError.
  void read(std::int64_t i, std::int64_t row, std::span<const ViewGeometry> views);
  /// "mask/0", "mask/1" …
  void add_to(std::map<std::string, Column>& columns) const;

 private:
  template <class Label>
  void move_mask_to(std::int64_t i, std::span<const std::byte> stored, std::span<const ViewGeometry> views,
                    Label outside);

  const Dataset& dataset_;
  const Field& field_;
  double least_part_;
  bool pinned_;
  std::vector<at::Tensor> masks_;                          // V × [B, h, w]
  std::vector<std::vector<std::vector<std::byte>>> rows_;  // of each view and image: boxes or points
};

}  // namespace cohort::data
