#pragma once
#include <optional>
#include <string_view>

namespace cohort::data_prep {

// How the rows and columns of an image lie, 1 … 8 as EXIF 2.32 and TIFF 6.0 number it (tag 274): 1 as it is
// seen, 3 upside down, 6 and 8 on its side, 2, 4, 5, 7 mirrored. 0 stands for metadata that cannot be read,
// or for another number. Nothing: they do not say.

/// Of EXIF data: a TIFF header and its first directory, of either byte order, with or without "Exif\0\0"
/// before it.
std::optional<int> exif_orientation(std::string_view exif);

/// Of an XMP packet.
std::optional<int> xmp_orientation(std::string_view packet);

/// Of a file with either, both or none; EXIF comes first.
int orientation_of(std::string_view exif, std::string_view xmp);

}  // namespace cohort::data_prep
