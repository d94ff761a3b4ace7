#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cohort/core/file.h"

#include "data_prep/zip.h"

namespace cohort::data_prep {

/// An array of a .npz file, row-major.
struct Array {
  std::string name, where;  ///< where: "file.npz: X", for messages
  std::string type;         ///< "u1", "u2", "f4", "i4", "i8", "b1", or "U21"
  std::vector<std::int64_t> shape;
  std::string bytes;
};

/// The content of a .npy file (numpy.lib.format, versions 1 to 3), little-endian, C order. Throws DataError.
Array parse_npy(const std::string& content, const std::string& name, const std::string& where);

/// An array of a .npz file whose values stay there, if they are stored as they are (np.savez); packed ones
/// (np.savez_compressed) are held. From any thread.
class LargeArray {
 public:
  LargeArray(Array array, std::shared_ptr<const FileDescriptor> file, std::uint64_t start)
      : array_(std::move(array)), file_(std::move(file)), start_(start) {}
  /// Without its bytes.
  [[nodiscard]] const Array& facts() const noexcept { return array_; }
  /// Throws DataError when the file was changed.
  void read(std::uint64_t at, std::span<std::byte> out) const;

 private:
  Array array_;
  std::shared_ptr<const FileDescriptor> file_;  // null: the array has its bytes
  std::uint64_t start_;                         // of the values in the file
};

/// The arrays of a NumPy .npz file (numpy.lib.format, versions 1 to 3), of the types above, little-endian, C
/// order.
class Npz {
 public:
  /// `is_checked`: checksums of arrays that stay in the file are compared, which reads them whole: by one of
  /// several ranks.
  explicit Npz(const std::filesystem::path& file, bool is_checked = true)
      : zip_(Zip::open(file)), file_(file), is_checked_(is_checked) {}
  /// Throws DataError: no such array ("did you mean"), another type or order.
  [[nodiscard]] Array array(const std::string& name) const;
  /// The same, for one with a row for each image.
  [[nodiscard]] LargeArray large_array(const std::string& name) const;
  /// The checksum that the archive holds of the array. Throws DataError when there is no such array.
  [[nodiscard]] std::uint32_t crc(const std::string& name) const;

 private:
  [[nodiscard]] std::string entry(const std::string& name) const;
  Zip zip_;
  std::filesystem::path file_;
  bool is_checked_;
};

/// Throws DataError unless the array has one dimension and holds integers, booleans or texts.
void check_texts(const Array& array);
/// Number `index` of such an array, as UTF-8.
std::string text_of(const LargeArray& array, std::int64_t index);

}  // namespace cohort::data_prep
