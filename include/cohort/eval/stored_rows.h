#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"

namespace cohort::eval {

/// Numbers of the images of a split, a row for each image, of more images than memory holds: a rank keeps the
/// rows that it has in a file without a name in the folder for temporary files (TMPDIR), where the others
/// take no room, and all ranks together read them back. Memory of a rank: what is read at once.
class StoredRows {
 public:
  /// [rows, width] of `type`, f32 or i32. `ranks` has to outlive it.
  StoredRows(std::int64_t rows, std::int64_t width, comm::Communicator& ranks,
             at::ScalarType type = at::kFloat);
  StoredRows(StoredRows&&) noexcept;
  StoredRows& operator=(StoredRows&&) noexcept;
  StoredRows(const StoredRows&) = delete;
  StoredRows& operator=(const StoredRows&) = delete;
  ~StoredRows();

  [[nodiscard]] std::int64_t rows() const noexcept;
  [[nodiscard]] std::int64_t width() const noexcept;
  /// Not collective. `values` [n, width] of the rows `rows` [n] i64, each of which one rank writes, once.
  /// Throws DataError.
  void write(const at::Tensor& rows, const at::Tensor& values);
  /// Collective. Rows `first` … `first` + `count` - 1 on every rank, [count, width]; 0 where nobody wrote
  /// one. Throws DataError, on every rank.
  [[nodiscard]] at::Tensor block(std::int64_t first, std::int64_t count) const;
  /// Collective. The rows `rows` [n] i64, the same on every rank, on every rank, [n, width]. Throws
  /// DataError, on every rank.
  [[nodiscard]] at::Tensor gather(const at::Tensor& rows) const;
  /// Collective. Calls use(first, rows [n, width]) for blocks of 8192 rows, each on one rank. Throws what
  /// `use` throws, on every rank.
  void share_out(const std::function<void(std::int64_t first, const at::Tensor& rows)>& use) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The labels of rows `first` … `first` + `count` - 1, [count], -1: none. May throw.
using LabelsOf = std::function<std::vector<std::int32_t>(std::int64_t first, std::int64_t count)>;

/// Features of images, and what they are known by.
struct LabelledRows {
  const StoredRows& features;  ///< [N, D] f32
  LabelsOf labels;             ///< the same on every rank
};

}  // namespace cohort::eval
