// cohort-data convert hdf5: HDF5 files with a stack of images each, such as the patches of a slide that CLAM
// (Lu et al., Nature Biomedical Engineering 2021) writes with their pixels: /imgs and /coords.
#include <array>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/text.h"

#include "data_prep/axes.h"
#include "data_prep/convert.h"
#include "data_prep/facts.h"
#include "support/hdf5.h"

namespace cohort::data_prep {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckFile = "check the file, for example with h5ls";

struct Hdf5Options {
  std::vector<fs::path> files;
  fs::path table;
  std::string images = "imgs", coordinates = "coords", axes, context = "slide", key = "slide_id";
  ColumnOptions columns;
  ConvertOptions common;
};

/// Throws DataError when a dataset is packed with a filter that HDF5 looked for in vain.
void check_filters(const hdf5::Dataset& dataset, const std::string& where) {
  const hdf5::List list(hdf5::check_hdf5(H5Dget_create_plist(dataset.get()), "H5Dget_create_plist", where));
  for (int i = 0; i < H5Pget_nfilters(list.get()); ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    std::array<char, 64> name{};
    const H5Z_filter_t filter = H5Pget_filter2(list.get(), static_cast<unsigned>(i), &flags, &values, nullptr,
                                               name.size() - 1, name.data(), nullptr);
    if (filter < 0 || H5Zfilter_avail(filter) > 0) continue;
    throw DataError({fmt::format("the values are packed with a filter that HDF5 does not have here: {} {}",
                                 filter, name.data()),
                     where,
                     "repack the file where the filter is installed: h5repack -f GZIP=4; or set "
                     "HDF5_PLUGIN_PATH to the folder of the filter"});
  }
}

/// HDF5 names a folder of plugins rather than the filter that it did not find there.
void check_read(herr_t result, const hdf5::Dataset& dataset, const std::string& where) {
  try {
    hdf5::check_hdf5(result, "H5Dread", where, kCheckFile);
  } catch (const DataError&) {
    check_filters(dataset, where);
    throw;
  }
}

/// The images of one file, read one at a time, whatever their chunks and filters.
class ImageStack {
 public:
  ImageStack(const fs::path& path, const Hdf5Options& options) : path_(path) {
    const hdf5::Lock lock;
    hdf5::silence();
    file_ = hdf5::open_file(path);
    images_ = open(options.images);
    shape_ = hdf5::shape_of(images_, path.string());
    axes_ = axes_of(shape_, options.axes, true, fmt::format("{}: /{}", path.string(), options.images));
    layout_ = {type(), axes_.channels, axes_.height, axes_.width, axes_.depth};
  }

  [[nodiscard]] const Axes& axes() const { return axes_; }
  [[nodiscard]] std::int64_t count() const { return shape_.front(); }

  [[nodiscard]] Image image(std::int64_t index) const {
    const hdf5::Lock lock;
    Image image{layout_, std::vector<std::byte>(static_cast<std::size_t>(layout_.bytes()))};
    std::vector<hsize_t> start(shape_.size(), 0), size(shape_.begin(), shape_.end());
    start[0] = static_cast<hsize_t>(index);
    size[0] = 1;
    const hdf5::Space rows(hdf5::check_hdf5(H5Dget_space(images_.get()), "H5Dget_space", path_.string()));
    const hdf5::Space one = hdf5::make_space(std::array{layout_.values()}, path_.string());
    hdf5::check_hdf5(
        H5Sselect_hyperslab(rows.get(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr),
        "H5Sselect_hyperslab", path_.string());
    check_read(H5Dread(images_.get(), native(), one.get(), rows.get(), H5P_DEFAULT, image.pixels.data()),
               images_, fmt::format("{}: image {}", path_.string(), index));
    return axes_.channels_last() ? from_interleaved(layout_, image.pixels.data()) : image;
  }

  /// "_x3328_y21792" of each image; empty without coordinates.
  [[nodiscard]] std::vector<std::string> coordinates(const std::string& name) const {
    const hdf5::Lock lock;
    if (name.empty() || !hdf5::exists(file_.get(), name, path_.string())) return {};
    const hdf5::Dataset dataset = open(name);
    if (hdf5::shape_of(dataset, path_.string()) != std::vector<std::int64_t>{count(), 2}) {
      throw DataError({fmt::format("/{} does not have two coordinates for each of {} images", name, count()),
                       path_.string(), "leave it out with --coordinates ''"});
    }
    std::vector<std::int64_t> values(static_cast<std::size_t>(2 * count()));
    check_read(H5Dread(dataset.get(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
               dataset, fmt::format("{}: {}", path_.string(), name));
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < values.size(); i += 2)
      texts.push_back(fmt::format("_x{}_y{}", values[i], values[i + 1]));
    return texts;
  }

 private:
  [[nodiscard]] hdf5::Dataset open(const std::string& name) const {
    const std::string where = path_.string();
    if (hdf5::exists(file_.get(), name, where) && !hdf5::is_inside(file_.get(), name, where)) {
      throw DataError(
          {fmt::format("/{} is not stored in the file itself", name), where,
           "links and storage elsewhere are not followed: copy the dataset, for example with h5copy"});
    }
    return hdf5::open_dataset(file_.get(), name, where);
  }
  [[nodiscard]] data::PixelType type() const {
    const hdf5::Type type(hdf5::check_hdf5(H5Dget_type(images_.get()), "H5Dget_type", path_.string()));
    const std::size_t bytes = H5Tget_size(type.get());
    const H5T_class_t kind = H5Tget_class(type.get());
    if (kind == H5T_INTEGER && H5Tget_sign(type.get()) == H5T_SGN_NONE && bytes <= 2)
      return bytes == 1 ? data::PixelType::u8 : data::PixelType::u16;
    if (kind == H5T_FLOAT && bytes == 4) return data::PixelType::f32;
    throw DataError({"the images are not of type uint8, uint16 or float32", path_.string(),
                     "name another dataset with --images"});
  }
  [[nodiscard]] hid_t native() const {
    if (layout_.type == data::PixelType::u8) return H5T_NATIVE_UINT8;
    return layout_.type == data::PixelType::u16 ? H5T_NATIVE_UINT16 : H5T_NATIVE_FLOAT;
  }

  fs::path path_;
  Axes axes_;
  hdf5::File file_;
  hdf5::Dataset images_;
  std::vector<std::int64_t> shape_;
  data::ImageLayout layout_;
};

struct StackedImage {
  std::size_t file;
  std::int64_t index;
};

/// All images of all files. Keeps the file that was read last open.
class Stacks {
 public:
  explicit Stacks(const Hdf5Options& options) : options_(options) {
    source.where = options.files.front().string();
    source.contexts = {{options.context, {}}};
    check_names();
    for (std::size_t file = 0; file < options.files.size(); ++file) add(file);
    const std::string columns = fmt::format("{} {}", options.images, stack(0).axes().name);
    source.content = checksum(std::as_bytes(std::span(columns)));
    source.archives = options.files;
    source.place = [this](std::int64_t index) {
      const StackedImage& image = images_[static_cast<std::size_t>(index)];
      return fmt::format("{}: image {}", options_.files[image.file].string(), image.index);
    };
    source.image = [this](std::int64_t index) {
      const StackedImage& image = images_[static_cast<std::size_t>(index)];
      return stack(image.file).image(image.index);
    };
    if (!options.table.empty()) join_table();
  }
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  Source source;

 private:
  const ImageStack& stack(std::size_t file) {
    if (!open_ || file != open_file_) open_.emplace(options_.files[file], options_);
    open_file_ = file;
    return *open_;
  }

  /// The name of a file is that of its slide.
  void check_names() const {
    std::map<std::string, fs::path> file_of;
    for (const fs::path& file : options_.files) {
      const auto [other, is_new] = file_of.emplace(file.stem().string(), file);
      if (is_new) continue;
      throw DataError({fmt::format("two files have the slide '{}'", other->first),
                       fmt::format("{} and {}", other->second.string(), file.string()),
                       "rename one of them, or name it once"});
    }
  }

  void add(std::size_t file) {
    const fs::path& path = options_.files[file];
    if (!fs::is_regular_file(path))
      throw DataError({"there is no such file", path.string(), "check the path"});
    const ImageStack& images = stack(file);
    const std::string slide = path.stem().string();
    const std::vector<std::string> places = images.coordinates(options_.coordinates);
    for (std::int64_t i = 0; i < images.count(); ++i) {
      images_.push_back({file, i});
      source.ids.push_back(slide +
                           (places.empty() ? fmt::format("_{:06}", i) : places[static_cast<std::size_t>(i)]));
      source.contexts[0].values.push_back(slide);
    }
  }

  /// What a table says of each slide becomes what is known of its images.
  void join_table() {
    Column slides = std::move(source.contexts[0]);
    const JoinedTable table(options_.table, options_.key, slides.values, options_.columns, source.left_out);
    const auto read = [&](const std::string& name, const std::string& option) {
      return table.cells(name, option);
    };
    read_columns(source, options_.columns, read);
    source.contexts.push_back(std::move(slides));
    read_groups(source, options_.common, read);
  }

  const Hdf5Options& options_;
  std::vector<StackedImage> images_;
  std::optional<ImageStack> open_;
  std::size_t open_file_ = 0;
};

ExitCode convert_stacks(const Hdf5Options& options, comm::Communicator& ranks) {
  std::optional<Stacks> stacks;
  comm::together(ranks, [&] { stacks.emplace(options); });
  return convert(stacks->source, options.common, ranks);
}

}  // namespace

void add_convert_hdf5(CLI::App& convert, Action& action) {
  auto options = std::make_shared<Hdf5Options>();
  CLI::App& command =
      add_command(convert, {"hdf5",
                            "HDF5 files with many images each: patches of slides, as CLAM writes them",
                            {"mpirun -n 8 cohort-data convert hdf5 patches/*.h5 --table slides.csv --label "
                             "tumour --context hospital --out data/slides"},
                            endings_on_ranks(),
                            "Contexts of the table come before that of the files."});
  command.add_option("files", options->files, "the files; the name of each is a context")
      ->required()
      ->type_name("FILE");
  command.add_option("--images", options->images, "HDF5 dataset with the images of a file")
      ->capture_default_str()
      ->type_name("DATASET");
  add_axes_to(command, options->axes, "its images", true);
  command
      .add_option(
          "--coordinates", options->coordinates,
          "HDF5 dataset with two coordinates for each image, which become part of its id, if it is there")
      ->capture_default_str()
      ->type_name("DATASET");
  command.add_option("--file-context", options->context, "context key that says from which file an image is")
      ->capture_default_str();
  command.add_option("--table", options->table, "table with a line for each file")->type_name("FILE");
  command.add_option("--key", options->key, "its column with the names of the files, without .h5")
      ->capture_default_str();
  options->columns.add_to(command, "column");
  finish_convert<Hdf5Options>(command, action, options, convert_stacks);
}

}  // namespace cohort::data_prep
