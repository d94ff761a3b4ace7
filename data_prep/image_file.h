#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "data_prep/image.h"

namespace cohort::data_prep {

/// PNG, JPEG, TIFF (also BigTIFF) or npy by content, not by name; u8 or u16, TIFF and npy also f32. Gray or
/// RGB, TIFF and npy with any number of channels. Upright, as EXIF, XMP or TIFF's tag 274 say. Palettes and
/// less than 8 bits are expanded, alpha is left out: docs/data.md. Throws DataError naming `where`: another
/// format, damaged, or a variant not supported. `axes`: of npy (axes.h), empty: its shape tells, or is
/// refused with UsageError.
Image decode_image(std::string_view content, const std::string& where, const std::string& axes = "");

/// The same from a file, one of OME-TIFF (.ome.tif) with its pages as channels. Throws DataError naming it
/// when it is missing, or has several images.
Image read_image(const std::filesystem::path& file, const std::string& axes = "");

/// Whether the name ends like that of an image: png, jpg, jpeg, tif, tiff, in any case.
bool has_image_name(const std::filesystem::path& file);

// One a format; `where` as above.
enum class PngSamples { as_seen, as_stored };  ///< as_stored: indices of palettes, 1, 2 and 4 bits unscaled
Image decode_png(std::string_view content, const std::string& where,
                 PngSamples samples = PngSamples::as_seen);
Image decode_jpeg(std::string_view content, const std::string& where);
Image decode_tiff(std::string_view content, const std::string& where);
/// What is to be said of a JPEG file if it can be kept as it is: its pixels lie as they are to be seen.
/// Nothing for others, and for what is no JPEG.
std::optional<Remarks> upright_jpeg(std::string_view content);
/// An array [H, W], [C, H, W] or [H, W, C] of NumPy's format, or what `axes` names, volumes too.
Image decode_npy(std::string_view content, const std::string& where, const std::string& axes);

/// Whether a file of so many bytes can hold such an image: no format packs 16,384 bytes into one. A header
/// that claims more is not worth its memory.
bool is_plausible(const data::ImageLayout& layout, std::size_t file_bytes) noexcept;

[[noreturn]] void fail_decoding(const std::string& reason, const std::string& where);

}  // namespace cohort::data_prep
