#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/core/file.h"
#include "cohort/eval/table.h"

#include "support/hdf5.h"

namespace cohort::eval {

/// What says, beside FILE.partial, which parts of it are there: FeatureWriter's.
inline std::filesystem::path marks_beside(const std::filesystem::path& partial) {
  return partial.string() + ".passes";
}

/// An HDF5 file of columns that appears whole or not at all. Its structure is made in memory; values follow
/// by plain writes, since one that fails inside HDF5 1.10, on a full disk, makes the process crash at its
/// end.
class ColumnFile {
 public:
  /// Where the next values of a column go.
  struct Place {
    std::uint64_t offset = 0;
  };

  /// Makes the folder. Throws DataError, as all of it does.
  explicit ColumnFile(std::filesystem::path file);
  ColumnFile(const ColumnFile&) = delete;
  ColumnFile& operator=(const ColumnFile&) = delete;
  ~ColumnFile();  ///< removes what was not committed

  [[nodiscard]] hid_t root() const noexcept { return made_.get(); }
  [[nodiscard]] hdf5::Group group(const std::string& name) const;
  /// UTF-8 of one fixed length, padded with zeros: contiguous, and every reader knows it. What `text` refers
  /// to has to outlive write().
  void add_texts(hid_t parent, const std::string& name, std::int64_t rows,
                 std::function<std::string_view(std::int64_t row)> text);
  /// Room for `rows` texts of `width` bytes.
  Place reserve_texts(hid_t parent, const std::string& name, std::int64_t rows, std::size_t width);
  /// Room for `rows` rows of f32, i32 or i64, which are of the type and the shape of those of `like` [n, …].
  Place reserve_values(hid_t parent, const std::string& name, const at::Tensor& like, std::int64_t rows);
  void add_attributes(const TableAttributes& attributes);

  /// Once, when all columns are known: puts the structure and the texts that were added on the disk.
  void write();
  /// Behind write(): the next values of a column.
  void append(Place& place, std::span<const std::byte> bytes);
  void append(Place& place, const at::Tensor& values);
  /// Once, behind write(): syncs and renames.
  void commit();
  /// In the place of commit(): syncs what there is and leaves it beside, as FILE.partial.
  void leave();

 private:
  struct Later {
    Place place;
    std::int64_t rows;
    std::size_t width;
    std::function<std::string_view(std::int64_t row)> text;
  };
  Place reserve(hid_t parent, const std::string& name, hid_t type, std::span<const std::int64_t> shape);

  std::filesystem::path file_, beside_;
  std::string where_;
  hdf5::NewFile made_;
  std::vector<Later> later_;
  FileDescriptor written_;
  bool stays_ = false;
};

}  // namespace cohort::eval
