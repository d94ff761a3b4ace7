#include "data_prep/nifti.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#ifdef COHORT_NIFTI
#include <nifti2_io.h>
#endif

#include "data_prep/image_file.h"
#include "data_prep/readers.h"

namespace cohort::data_prep {

#ifdef COHORT_NIFTI
namespace {

[[noreturn]] void refuse_nifti(const std::string& reason, const std::filesystem::path& file) {
  fail_decoding("NIfTI: " + reason, file.string());
}

double value_at(const void* values, std::int64_t index, int type) {
  const auto as = [&](auto zero) {
    return static_cast<double>(static_cast<const decltype(zero)*>(values)[index]);
  };
  switch (type) {
    case DT_UINT8:
      return as(std::uint8_t{});
    case DT_INT8:
      return as(std::int8_t{});
    case DT_UINT16:
      return as(std::uint16_t{});
    case DT_INT16:
      return as(std::int16_t{});
    case DT_UINT32:
      return as(std::uint32_t{});
    case DT_INT32:
      return as(std::int32_t{});
    case DT_UINT64:
      return as(std::uint64_t{});
    case DT_INT64:
      return as(std::int64_t{});
    case DT_FLOAT32:
      return as(float{});
    default:
      return as(double{});
  }
}

bool is_number(int type) {
  switch (type) {
    case DT_UINT8:
    case DT_INT8:
    case DT_UINT16:
    case DT_INT16:
    case DT_UINT32:
    case DT_INT32:
    case DT_UINT64:
    case DT_INT64:
    case DT_FLOAT32:
    case DT_FLOAT64:
      return true;
    default:
      return false;
  }
}

}  // namespace

struct NiftiFile::Data {
  /// Where an axis of RAS is stored, and whether it runs the other way there.
  struct StoredAxis {
    int axis = 0;
    bool reversed = false;
  };
  struct FreeImage {
    void operator()(nifti_image* image) const { nifti_image_free(image); }
  };
  struct FreeValues {
    void operator()(void* values) const { std::free(values); }
  };

  explicit Data(std::filesystem::path path) : file(std::move(path)) {
    nifti_set_debug_level(0);  // what is wrong is said once, by us
    image.reset(nifti_image_read(file.c_str(), 0));
    if (!image) refuse_nifti("its header is damaged, or it is none", file);
    if (!is_number(image->datatype))
      refuse_nifti(fmt::format("values of type {} are no numbers", nifti_datatype_to_string(image->datatype)),
                   file);
    is_packed = nifti_is_gzfile(file.c_str()) != 0;
    check_size();
    if (image->sform_code > 0 || image->qform_code > 0) find_axes();
  }

  /// A header that claims more than its file can hold is not worth the memory.
  void check_size() const {
    constexpr double kMostRatio = 1032;  // of deflate
    double bytes = image->nbyper;
    for (std::int64_t i = 1; i <= std::min<std::int64_t>(image->dim[0], 7); ++i)
      bytes *= static_cast<double>(std::max<std::int64_t>(1, image->dim[i]));
    const auto there = static_cast<double>(std::filesystem::file_size(image->iname));
    if (bytes <= there * (is_packed ? kMostRatio : 1)) return;
    refuse_nifti(fmt::format("its header claims {:.0f} bytes of values, which its {:.0f} bytes cannot hold",
                             bytes, there),
                 file);
  }

  void find_axes() {
    std::array<int, 3> codes{};
    nifti_dmat44_to_orientation(image->sform_code > 0 ? image->sto_xyz : image->qto_xyz, &codes[0], &codes[1],
                                &codes[2]);
    for (int stored = 0; stored < 3; ++stored) {
      const int code = codes[static_cast<std::size_t>(stored)];  // 1 to 6: L2R, R2L, P2A, A2P, I2S, S2I
      if (code < NIFTI_L2R || code > NIFTI_S2I) refuse_nifti("its orientation is no rotation", file);
      axes[static_cast<std::size_t>((code - 1) / 2)] = {stored, code % 2 == 0};
    }
  }

  [[nodiscard]] std::int64_t extent(int axis) const {
    const StoredAxis& stored = axes[static_cast<std::size_t>(axis)];
    return std::max<std::int64_t>(1, image->dim[stored.axis + 1]);
  }

  /// Reads a slice, or, of a packed file, the volume that it is in, unless that was read last.
  void read(int axis, std::int64_t stored_index, std::int64_t volume) {
    const Part wanted{is_packed ? -1 : axis, is_packed ? -1 : stored_index, volume};
    if (values && wanted == held) return;
    std::array<std::int64_t, 8> dims{image->dim[0], -1, -1, -1, 0, 0, 0, 0};
    for (std::size_t i = 4; i < dims.size(); ++i) {
      const std::int64_t count = std::max<std::int64_t>(1, image->dim[i]);
      dims[i] = volume % count;
      volume /= count;
    }
    if (!is_packed)
      dims[static_cast<std::size_t>(axes[static_cast<std::size_t>(axis)].axis + 1)] = stored_index;
    void* read_values = nullptr;
    const std::int64_t bytes = nifti_read_collapsed_image(image.get(), dims.data(), &read_values);
    values.reset(read_values);
    if (bytes <= 0) {
      values.reset();
      refuse_nifti("its values are damaged or end too early", file);
    }
    held = wanted;
  }

  /// Distance in what was read of one value to the next along `axis`; 0 along one that was collapsed.
  [[nodiscard]] std::int64_t step(int axis, int collapsed) const {
    const int stored = axes[static_cast<std::size_t>(axis)].axis;
    std::int64_t distance = 1;
    for (int i = 0; i < stored; ++i) {
      if (is_packed || i != axes[static_cast<std::size_t>(collapsed)].axis)
        distance *= std::max<std::int64_t>(1, image->dim[i + 1]);
    }
    return distance;
  }

  [[nodiscard]] std::int64_t stored_index(int axis, std::int64_t index) const {
    return axes[static_cast<std::size_t>(axis)].reversed ? extent(axis) - 1 - index : index;
  }

  struct Part {
    int axis = 0;
    std::int64_t index = 0, volume = -1;
    bool operator==(const Part&) const = default;
  };

  std::filesystem::path file;
  std::unique_ptr<nifti_image, FreeImage> image;
  std::array<StoredAxis, 3> axes{{{0, false}, {1, false}, {2, false}}};
  bool is_packed = false;
  Part held{};
  std::unique_ptr<void, FreeValues> values;
};

namespace {

/// Of RAS, along which columns and rows of slices across an axis run.
struct SliceAxes {
  int columns, rows;
};

SliceAxes slice_axes(int axis) {
  return {axis == 0 ? 1 : 0, axis == 2 ? 1 : 2};
}

}  // namespace

NiftiFile::NiftiFile(const std::filesystem::path& file) : data_(std::make_unique<Data>(file)) {
  for (int axis = 0; axis < 3; ++axis) {
    const auto at = static_cast<std::size_t>(axis);
    shape_[at] = data_->extent(axis);
    spacing_[at] = data_->image->pixdim[data_->axes[at].axis + 1];
  }
}

std::int64_t NiftiFile::volumes() const noexcept {
  std::int64_t count = 1;
  for (int i = 4; i < 8; ++i) count *= std::max<std::int64_t>(1, data_->image->dim[i]);
  return count;
}

bool NiftiFile::has_bytes() const noexcept {
  const nifti_image& image = *data_->image;
  const bool is_rescaled = image.scl_slope != 0 && (image.scl_slope != 1 || image.scl_inter != 0);
  return image.datatype == DT_UINT8 && !is_rescaled;
}

std::array<std::array<double, 4>, 3> NiftiFile::affine(int axis) const {
  const SliceAxes axes = slice_axes(axis);
  const nifti_image& image = *data_->image;
  const nifti_dmat44& stored = image.sform_code > 0 ? image.sto_xyz : image.qto_xyz;
  std::array<std::array<double, 4>, 3> affine{};
  for (std::size_t to = 0; to < 3; ++to) {
    affine[to][3] = stored.m[to][3];
    const auto add = [&](std::size_t from, int seen, bool turns) {
      const auto [stored_axis, reversed] = data_->axes[static_cast<std::size_t>(seen)];
      const double step = stored.m[to][stored_axis];
      const bool backwards = reversed != turns;
      affine[to][from] = backwards ? -step : step;
      if (backwards) affine[to][3] += step * static_cast<double>(data_->extent(seen) - 1);
    };
    add(0, axes.columns, false);
    add(1, axes.rows, true);
    add(2, axis, false);
  }
  return affine;
}

Image NiftiFile::volume(int axis, std::int64_t volume) const {
  Image result;
  const std::int64_t depth = data_->extent(axis);
  for (std::int64_t index = 0; index < depth; ++index) {
    const Image slice = this->slice(axis, index, volume);
    result.layout = slice.layout;
    result.pixels.insert(result.pixels.end(), slice.pixels.begin(), slice.pixels.end());
  }
  result.layout.depth = depth;
  return result;
}

Image NiftiFile::slice(int axis, std::int64_t index, std::int64_t volume) const {
  const auto [columns, rows] = slice_axes(axis);
  const nifti_image& image = *data_->image;
  data_->read(axis, data_->stored_index(axis, index), volume);
  const std::int64_t height = data_->extent(rows), width = data_->extent(columns);
  const std::int64_t first =
      data_->is_packed ? data_->stored_index(axis, index) * data_->step(axis, axis) : 0;
  const double slope = image.scl_slope == 0 ? 1 : image.scl_slope,
               intercept = image.scl_slope == 0 ? 0 : image.scl_inter;
  std::vector<float> pixels;
  pixels.reserve(static_cast<std::size_t>(height * width));
  for (std::int64_t row = height - 1; row >= 0; --row) {
    const std::int64_t start = first + data_->stored_index(rows, row) * data_->step(rows, axis);
    for (std::int64_t column = 0; column < width; ++column) {
      const std::int64_t at = start + data_->stored_index(columns, column) * data_->step(columns, axis);
      pixels.push_back(
          static_cast<float>(slope * value_at(data_->values.get(), at, image.datatype) + intercept));
    }
  }
  Image result{{data::PixelType::f32, 1, height, width},
               std::vector<std::byte>(pixels.size() * sizeof(float))};
  std::memcpy(result.pixels.data(), pixels.data(), result.pixels.size());
  return result;
}
#else
struct NiftiFile::Data {};

NiftiFile::NiftiFile(const std::filesystem::path& file) {
  refuse_left_out("NIfTI files", "libnifti-dev", file.string());
}
std::int64_t NiftiFile::volumes() const noexcept {
  return 0;
}
Image NiftiFile::slice(int, std::int64_t, std::int64_t) const {
  return {};
}
Image NiftiFile::volume(int, std::int64_t) const {
  return {};
}
std::array<std::array<double, 4>, 3> NiftiFile::affine(int) const {
  return {};
}
bool NiftiFile::has_bytes() const noexcept {
  return false;
}
#endif

NiftiFile::~NiftiFile() = default;
NiftiFile::NiftiFile(NiftiFile&&) noexcept = default;
NiftiFile& NiftiFile::operator=(NiftiFile&&) noexcept = default;

}  // namespace cohort::data_prep
