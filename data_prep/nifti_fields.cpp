#include "data_prep/nifti_fields.h"

#include <array>
#include <cmath>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"

#include "data_prep/image_file.h"

namespace cohort::data_prep {
namespace {

/// "scan.nii.gz" for "scan.nii", and back.
std::string packed_otherwise(const std::string& path) {
  constexpr std::string_view kPacked = ".gz";
  return path.ends_with(kPacked) ? path.substr(0, path.size() - kPacked.size()) : path + std::string(kPacked);
}

std::int32_t label_of(float value, const std::string& where) {
  constexpr float kMost = 1 << 24;  // whole numbers beyond it are not exact
  if (value == std::floor(value) && std::abs(value) <= kMost) return static_cast<std::int32_t>(value);
  fail_decoding(fmt::format("the mask holds {}, which is no number of a class or of an instance", value),
                where);
}

/// Keeps the file that was read last open.
class NiftiMasks {
 public:
  NiftiMasks(std::filesystem::path folder, int axis, std::vector<std::string> paths,
             std::vector<NiftiSlice> slices)
      : folder_(std::move(folder)), axis_(axis), paths_(std::move(paths)), slices_(std::move(slices)) {}

  [[nodiscard]] std::filesystem::path file(std::int64_t index) const {
    const std::string& path = paths_[slices_[static_cast<std::size_t>(index)].file];
    const std::string other = packed_otherwise(path);
    const bool is_other =
        !std::filesystem::exists(folder_ / path) && std::filesystem::exists(folder_ / other);
    return folder_ / (is_other ? other : path);
  }

  [[nodiscard]] Mask read(std::int64_t index) {
    const std::filesystem::path path = file(index);
    if (!std::filesystem::is_regular_file(path))
      throw DataError({"the file of a mask is missing", path.string(), "restore it or leave the image out"});
    if (!open_ || path != open_path_) open_.emplace(path);
    open_path_ = path;
    NiftiSlice wanted = slices_[static_cast<std::size_t>(index)];
    if (open_->volumes() == 1) wanted.volume = 0;  // of all time points
    if (wanted.volume >= open_->volumes() || wanted.index >= open_->shape()[static_cast<std::size_t>(axis_)])
      fail_decoding("the mask has fewer slices or volumes than its image", path.string());
    return mask_of(read_slice(*open_, axis_, wanted), path.string());
  }

 private:
  [[nodiscard]] Mask mask_of(const Image& image, const std::string& where) const {
    const data::ImageLayout& layout = image.layout;
    Mask mask{
        layout.height, layout.width, open_->has_bytes() ? data::ValueType::u8 : data::ValueType::i32, {}};
    mask.depth = layout.depth;
    for (std::size_t at = 0; at < image.pixels.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, image.pixels.data() + at, sizeof(value));
      mask.values.push_back(label_of(value, where));
    }
    return mask;
  }

  std::filesystem::path folder_;
  int axis_;
  std::vector<std::string> paths_;
  std::vector<NiftiSlice> slices_;
  std::optional<NiftiFile> open_;
  std::filesystem::path open_path_;
};

/// How voxels of a stored volume lie in that of the file, along x, y and z: there = scale * here + offset.
struct Resampling {
  std::array<double, 3> scale, offset;
};

Resampling resampling_of(const Extent& from, const data::Preparation& preparation) {
  if (preparation.height == 0) return {{1, 1, 1}, {0, 0, 0}};
  const Scaling to = scaling_of(from, preparation);
  const auto along = [](std::int64_t before, std::int64_t after, std::int64_t corner) {
    const double scale = static_cast<double>(before) / static_cast<double>(after);
    return std::pair(scale, scale * (0.5 - static_cast<double>(corner)) - 0.5);  // middles on middles
  };
  const auto [x, x0] = along(from.width, to.width, to.left);
  const auto [y, y0] = along(from.height, to.height, to.top);
  const auto [z, z0] = along(from.depth, to.depth, to.front);
  return {{x, y, z}, {x0, y0, z0}};
}

/// Sides of what slices across `axis` are made of: NiftiFile::slice().
Extent extent_of(const NiftiFile& file, int axis) {
  const auto& shape = file.shape();
  const std::size_t columns = axis == 0 ? 1 : 0, rows = axis == 2 ? 1 : 2;
  return {shape[rows], shape[columns], shape[static_cast<std::size_t>(axis)]};
}

std::vector<float> spacing_of(const NiftiFile& file, int axis, const data::Preparation& preparation) {
  const auto& spacing = file.spacing();
  const Resampling by = resampling_of(extent_of(file, axis), preparation);
  const std::size_t columns = axis == 0 ? 1 : 0, rows = axis == 2 ? 1 : 2;
  return {static_cast<float>(spacing[static_cast<std::size_t>(axis)] * by.scale[2]),
          static_cast<float>(spacing[rows] * by.scale[1]),
          static_cast<float>(spacing[columns] * by.scale[0])};
}

std::vector<float> affine_of(const NiftiFile& file, int axis, const data::Preparation& preparation) {
  const Resampling by = resampling_of(extent_of(file, axis), preparation);
  std::vector<float> values;
  for (std::array<double, 4> row : file.affine(axis)) {
    for (std::size_t from = 0; from < 3; ++from) {
      row[3] += row[from] * by.offset[from];
      row[from] *= by.scale[from];
    }
    for (const double value : row) values.push_back(static_cast<float>(value));
  }
  return values;
}

}  // namespace

Image read_slice(const NiftiFile& file, int axis, const NiftiSlice& slice) {
  if (slice.index == kAllSlices) return file.volume(axis, slice.volume);
  return file.slice(axis, slice.index, slice.volume);
}

FieldSource nifti_masks(data::Field field, const MaskValues& values, const std::filesystem::path& folder,
                        int axis, const std::vector<std::string>& paths,
                        const std::vector<NiftiSlice>& slices) {
  const auto masks = std::make_shared<NiftiMasks>(folder, axis, paths, slices);
  return field_of_masks(std::move(field),
                        {[masks](std::int64_t index) { return masks->read(index); },
                         [masks](std::int64_t index) { return masks->file(index); }, values});
}

std::vector<FieldSource> nifti_places(const std::vector<std::filesystem::path>& files, int axis) {
  using Values = std::vector<float> (*)(const NiftiFile&, int, const data::Preparation&);
  const auto source = [&](const char* name, std::vector<std::string> names, Values values) {
    data::Field field{
        name, data::FieldKind::numbers, data::ValueType::f32, {std::ssize(names)}, data::Codec::raw,
        "",   std::move(names)};
    return FieldSource{
        std::move(field),
        [files, axis, values](const data::Field& /*field*/, std::int64_t index, const ImageChange& change) {
          const NiftiFile file(files[static_cast<std::size_t>(index)]);
          const std::vector<float> numbers = values(file, axis, change.preparation);
          const auto bytes = std::as_bytes(std::span(numbers));
          return std::vector<std::byte>(bytes.begin(), bytes.end());
        }};
  };
  return {
      source("spacing", {"z", "y", "x"}, spacing_of),
      source("affine", {"xx", "xy", "xz", "x0", "yx", "yy", "yz", "y0", "zx", "zy", "zz", "z0"}, affine_of)};
}

}  // namespace cohort::data_prep
