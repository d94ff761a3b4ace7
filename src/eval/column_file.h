#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/eval/table.h"

#include "support/hdf5.h"

namespace cohort::eval {

/// An HDF5 file of columns that appears whole or not at all. Its structure is made in memory; values follow
/// by plain writes, since one that fails inside HDF5 1.10, on a full disk, makes the process crash at its
/// end.
class ColumnFile {
 public:
  /// Makes the folder. Throws DataError, as all of it does.
  explicit ColumnFile(std::filesystem::path file);
  ColumnFile(const ColumnFile&) = delete;
  ColumnFile& operator=(const ColumnFile&) = delete;
  ~ColumnFile();  ///< removes what was not committed

  [[nodiscard]] hid_t root() const noexcept { return made_.get(); }
  [[nodiscard]] hdf5::Group group(const std::string& name) const;
  /// [N, …] of f32, i32 or i64: the parts one after the other. Their memory is kept, not copied, where they
  /// are contiguous and on the CPU.
  void add_values(hid_t parent, const std::string& name, const std::vector<at::Tensor>& parts);
  /// UTF-8 of one fixed length, padded with zeros: contiguous, and every reader knows it. What `text` refers
  /// to has to outlive the file.
  void add_texts(hid_t parent, const std::string& name, std::int64_t rows,
                 std::function<std::string_view(std::int64_t row)> text);
  void add_attributes(const TableAttributes& attributes);
  /// Once: writes, syncs and renames.
  void commit();

 private:
  using Put = std::function<void(std::span<const std::byte> bytes)>;
  struct Later {
    std::uint64_t offset;
    std::function<void(const Put& put)> write;
  };
  void add(hid_t parent, const std::string& name, hid_t type, std::span<const std::int64_t> shape,
           std::function<void(const Put& put)> write);

  std::filesystem::path file_, beside_;
  std::string where_;
  hdf5::NewFile made_;
  std::vector<Later> later_;
};

}  // namespace cohort::eval
