#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

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

/// The arrays of a NumPy .npz file (numpy.lib.format, versions 1 to 3), of the types above, little-endian, C
/// order.
class Npz {
 public:
  explicit Npz(const std::filesystem::path& file) : zip_(Zip::open(file)), file_(file) {}
  /// Throws DataError: no such array ("did you mean"), another type or order.
  [[nodiscard]] Array array(const std::string& name) const;
  /// The checksum that the archive holds of the array. Throws DataError when there is no such array.
  [[nodiscard]] std::uint32_t crc(const std::string& name) const;

 private:
  [[nodiscard]] std::string entry(const std::string& name) const;
  Zip zip_;
  std::filesystem::path file_;
};

/// A one-dimensional array of integers, booleans or texts, as UTF-8 texts. Throws DataError for other arrays.
std::vector<std::string> texts(const Array& array);

}  // namespace cohort::data_prep
