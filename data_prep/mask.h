#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cohort/data/field.h"

#include "data_prep/image.h"

namespace cohort::data_prep {

/// What happens to an image before it is stored, and so to what tells of its pixels.
struct ImageChange {
  std::int64_t height = 0, width = 0;  ///< of the image before; 0: it keeps its size
  data::Preparation preparation;
  std::int64_t depth = 1;  ///< of the volume before
};

/// Values of a mask, [H, W], of a volume [D, H, W].
struct Mask {
  std::int64_t height = 0, width = 0;
  data::ValueType type = data::ValueType::u8;  ///< as the file has them: u8, or i32 for all others
  std::vector<std::int32_t> values;
  std::int64_t depth = 1;
};

/// A PNG, TIFF or JPEG file of one channel of integers, a PNG or TIFF file of 8-bit RGB, whose colours are
/// instances (red + 256 green + 65,536 blue), or an array [H, W] or [D, H, W] of NumPy's (uint8, uint16,
/// int32, int64, bool). Throws DataError.
Mask read_mask(const std::filesystem::path& file);

/// Values of a file that are the classes 0, 1, … of a mask; all others are not known. Empty: they are the
/// classes as they are.
using MaskValues = std::vector<std::int32_t>;
/// The mask with classes, -1 where they are not known. Throws DataError naming `where`: values are not said,
/// the field has two classes (`names`), and the file has 0 and 255 alone, of which 255 would mean not known.
Mask mask_of_classes(Mask mask, const MaskValues& values, const data::Field& field, const std::string& where);

/// As the image was changed: each pixel is that of the mask which its middle lies in; -1 where there is none.
Mask moved(const Mask& mask, const data::Preparation& preparation);

/// Values of `field`, after `change`, of a mask as its file has it. Throws DataError naming `where`: another
/// size than its image has, or values that the type of the field does not hold.
std::vector<std::byte> mask_values(const Mask& mask, const data::Field& field, const ImageChange& change,
                                   const std::string& where);

}  // namespace cohort::data_prep
