// cohort-data convert zarr: OME-Zarr 0.4 and 0.5 (ngff.openmicroscopy.org): plates, images, series of
// bioformats2raw; and plain zarr arrays.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "data_prep/convert.h"
#include "data_prep/facts.h"
#include "data_prep/ome_images.h"
#include "data_prep/planes.h"
#include "data_prep/zarr.h"

namespace cohort::data_prep {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct ZarrOptions {
  std::vector<fs::path> stores;
  std::int64_t level = 0, tile = 0;
  std::string planes;
  FactOptions facts{.by = "file"};
  ConvertOptions common;
};

[[noreturn]] void refuse_store(const std::string& reason, const fs::path& where, const std::string& fix) {
  throw DataError({"the zarr store cannot be read: " + reason, where.string(), fix});
}

/// One image of a store: an array whose last axes are y and x.
struct OmeImage {
  fs::path array;
  std::vector<std::string> axes;
  std::map<std::string, std::string> facts;
  std::vector<std::string> channels{};
  std::vector<std::int64_t> shape{};
  std::int64_t value_bytes = 1;

  [[nodiscard]] std::size_t axis(const std::string& name) const {
    return static_cast<std::size_t>(std::find(axes.begin(), axes.end(), name) - axes.begin());
  }
  [[nodiscard]] std::int64_t size(const std::string& name) const {
    const std::size_t at = axis(name);
    return at == axes.size() ? 1 : shape[at];
  }
};

/// A path that metadata name, which has to stay in its store.
std::string inside(const json& path, const fs::path& store) {
  const auto text = path.get<std::string>();
  const std::string plain = fs::path(text).lexically_normal().generic_string();
  if (text.empty() || fs::path(text).is_absolute() || plain.starts_with(".."))
    refuse_store(fmt::format("'{}' is no path in it", text), store, "write it again");
  return text;
}

/// What stands in the attributes of a store, where OME-Zarr 0.5 and older versions have it.
json ome_of(const fs::path& group) {
  json attributes = zarr_attributes(group);
  if (!attributes.is_object()) return json::object();
  return attributes.contains("ome") ? attributes["ome"] : attributes;
}

std::vector<std::string> axes_of_image(const json& multiscale) {
  std::vector<std::string> axes;
  if (!multiscale.contains("axes")) return {"t", "c", "z", "y", "x"};  // OME-Zarr 0.1 and 0.2
  for (const json& axis : multiscale.at("axes"))
    axes.push_back(axis.is_string() ? axis.get<std::string>() : axis.at("name").get<std::string>());
  return axes;
}

std::vector<std::string> channels_of_image(const json& ome) {
  std::vector<std::string> names;
  if (!ome.contains("omero") || !ome["omero"].contains("channels")) return names;
  for (const json& channel : ome["omero"]["channels"]) names.push_back(channel.value("label", ""));
  return names;
}

/// The images of stores, in their order.
class StoreWalk {
 public:
  explicit StoreWalk(const ZarrOptions& options) : options_(options) {
    for (const fs::path& store : options.stores) add_store(store);
  }
  std::vector<OmeImage> images;

 private:
  using Known = std::map<std::string, std::string>;

  void add_store(const fs::path& given) {
    const fs::path store = given.has_filename() ? given : given.parent_path();
    if (!fs::is_directory(store))
      refuse_store("there is no such folder", store, "check the path; unpack archives");
    try {
      const Known known{{"file", store.filename().string()}};
      if (is_zarr_array(store)) return add_array(store, known);
      const json ome = ome_of(store);
      if (ome.contains("plate")) return add_plate(store, ome.at("plate"), known);
      if (ome.contains("multiscales")) return add_image(store, ome, known);
      if (ome.contains("bioformats2raw.layout")) return add_series(store, known);
    } catch (const json::exception& error) {
      refuse_store(fmt::format("its metadata are damaged: {}", error.what()), store, "write it again");
    }
    refuse_store("it is neither an array nor an image or plate of OME-Zarr", store,
                 "name the folder of an image in it, such as store.zarr/images/first");
  }

  void add_plate(const fs::path& store, const json& plate, Known known) {
    known["plate"] = plate.value("name", store.stem().string());
    for (const json& well : plate.at("wells")) {
      const std::string path = inside(well.at("path"), store);
      const std::vector<std::string> parts = split_text(path, '/');
      if (parts.size() != 2) refuse_store(fmt::format("'{}' is no well", path), store, "write it again");
      known["row"] = parts[0];
      known["column"] = parts[1];
      known["well"] = parts[0] + parts[1];
      add_well(store / path, known);
    }
  }

  void add_well(const fs::path& folder, Known known) {
    const json ome = ome_of(folder);
    for (const json& image : ome.at("well").at("images")) {
      known["field"] = inside(image.at("path"), folder);
      known["image"] =
          folder.parent_path().filename().string() + "/" + folder.filename().string() + "/" + known["field"];
      add_image(folder / known["field"], ome_of(folder / known["field"]), known);
    }
  }

  void add_series(const fs::path& store, Known known) {
    for (int number = 0; fs::is_directory(store / std::to_string(number)); ++number) {
      known["image"] = std::to_string(number);
      add_image(store / known["image"], ome_of(store / known["image"]), known);
    }
  }

  void add_image(const fs::path& folder, const json& ome, const Known& known) {
    const json& multiscale = ome.at("multiscales").at(0);
    const json& levels = multiscale.at("datasets");
    if (options_.level >= std::ssize(levels)) {
      throw UsageError(
          {fmt::format("the image has {} level{}, from 0 on", levels.size(), levels.size() == 1 ? "" : "s"),
           folder.string(), "choose one of them with --level"});
    }
    const std::string path = inside(levels[static_cast<std::size_t>(options_.level)].at("path"), folder);
    add({folder / path, axes_of_image(multiscale), known, channels_of_image(ome)});
  }

  void add_array(const fs::path& folder, const Known& known) {
    const ZarrMetadata metadata = ZarrArray(folder).metadata();
    std::vector<std::string> axes = metadata.dimensions;
    const json names = zarr_attributes(folder).value("_ARRAY_DIMENSIONS", json());  // of xarray
    if (names.is_array()) axes = names.get<std::vector<std::string>>();
    const std::vector<std::string> usual{"t", "c", "z", "y", "x"};
    if (axes.empty() && metadata.shape.size() == 2) axes = {"y", "x"};
    if (axes.empty() && metadata.shape.size() == 3) axes = {"c", "y", "x"};
    if (axes.empty() && metadata.shape.size() == 5) axes = usual;
    add({folder, axes, known});
  }

  void add(OmeImage image) {
    const ZarrArray array(image.array);
    image.shape = array.metadata().shape;
    image.value_bytes = array.metadata().value_bytes();
    const std::size_t count = image.axes.size();
    const bool is_image = count >= 2 && count == image.shape.size() && image.axes[count - 2] == "y" &&
                          image.axes[count - 1] == "x";
    const bool is_known = std::all_of(image.axes.begin(), image.axes.end(), [](const std::string& axis) {
      return axis.size() == 1 && std::string("tczyx").find(axis) != std::string::npos;
    });
    if (!is_image || !is_known) {
      refuse_store(
          fmt::format("its axes are [{}] of {} dimensions: some of t, c, z, and y, x at the end are read",
                      join(image.axes, ", "), image.shape.size()),
          image.array, "write it with such axes");
    }
    if (*std::min_element(image.shape.begin(), image.shape.end()) == 0)
      refuse_store("it is empty", image.array, "leave it out");
    images.push_back(std::move(image));
  }

  const ZarrOptions& options_;
};

/// An image of the dataset: where it begins in which array.
struct Piece {
  std::size_t image;
  std::int64_t time, plane, y, x;  ///< plane: -1: all of them
};

class Stores {
 public:
  /// `ranks`: facts are kept on the first of them. Not collective.
  Stores(const ZarrOptions& options, const comm::Communicator& ranks)
      : options_(options), images_(StoreWalk(options).images) {
    source.where = options.stores.front().string();
    for (std::size_t image = 0; image < images_.size(); ++image) add_times(image);
    if (source.ids.empty())
      throw DataError(
          {"there are no images", source.where, "tiles are larger than all of them: choose smaller --tile"});
    source.channels = images_.front().channels;
    source.content =
        checksum_of(fmt::format("level {} tile {} planes {}", options.level, options.tile, options.planes));
    source.path = [this](std::int64_t i) { return file(pieces_[static_cast<std::size_t>(i)]); };
    source.place = [this](std::int64_t i) {
      return images_[pieces_[static_cast<std::size_t>(i)].image].array.string();
    };
    source.image = [this](std::int64_t i) { return read(pieces_[static_cast<std::size_t>(i)]); };
    read_facts(
        source, options.facts, options.common,
        [this](const std::string& name, const std::string& option) { return fact(name, option); }, ranks);
  }
  Stores(const Stores&) = delete;
  Stores& operator=(const Stores&) = delete;

  Source source;

 private:
  /// What metadata claim is not worth any memory.
  void check_claims(const OmeImage& image) const {
    const auto size = [&](const char* axis) { return static_cast<double>(image.size(axis)); };
    const double tile = static_cast<double>(options_.tile), height = tile > 0 ? tile : size("y"),
                 width = tile > 0 ? tile : size("x");
    const double bytes = static_cast<double>(image.value_bytes) * size("c") * height * width;
    if (bytes > static_cast<double>(kMostChunkBytes))
      refuse_store(
          fmt::format("one of its images has {:.0f} bytes, more than 2 GiB", bytes), image.array,
          "cut it with --tile, choose a coarser --level, or leave it out: its metadata may be damaged");
    constexpr double kMostImages = 1e8;
    const double images = size("t") * (options_.planes == "each" ? size("z") : 1) *
                          std::floor(size("y") / height) * std::floor(size("x") / width);
    if (images > kMostImages)
      refuse_store(fmt::format("it has {:.0f} images, more than 100,000,000", images), image.array,
                   "choose larger --tile, or leave it out: its metadata may be damaged");
  }

  void add_times(std::size_t image) {
    check_claims(images_[image]);
    for (std::int64_t time = 0; time < images_[image].size("t"); ++time) {
      for (const std::int64_t plane :
           planes_of(images_[image].size("z"), options_.planes, images_[image].array.string()))
        add_tiles(image, time, plane);
    }
  }

  void add_tiles(std::size_t image, std::int64_t time, std::int64_t plane) {
    const std::int64_t height = images_[image].size("y"), width = images_[image].size("x");
    if (options_.tile == 0) return add({image, time, plane, 0, 0});
    for (std::int64_t y = 0; y + options_.tile <= height; y += options_.tile) {
      for (std::int64_t x = 0; x + options_.tile <= width; x += options_.tile)
        add({image, time, plane, y, x});
    }
  }

  void add(const Piece& piece) {
    const OmeImage& image = images_[piece.image];
    const auto of = [&](const char* name) {
      const auto found = image.facts.find(name);
      return found == image.facts.end() ? std::string() : found->second;
    };
    std::string id = of("file");
    if (!of("image").empty()) id += "/" + of("image");
    if (image.size("t") > 1) id += fmt::format("_t{:03}", piece.time);
    if (options_.planes == "each") id += fmt::format("_z{:03}", piece.plane);
    if (options_.tile > 0) id += fmt::format("_y{}_x{}", piece.y, piece.x);
    source.ids.push_back(std::move(id));
    pieces_.push_back(piece);
  }

  [[nodiscard]] Categories fact(const std::string& name, const std::string& option) const {
    check_fact(name, facts_of_images(), option);
    return {std::ssize(pieces_),
            [this, name](std::int64_t i) { return fact_of(pieces_[static_cast<std::size_t>(i)], name); }};
  }

  [[nodiscard]] std::string fact_of(const Piece& piece, const std::string& name) const {
    if (name == "time") return std::to_string(piece.time);
    if (name == "plane") return piece.plane < 0 ? options_.planes : std::to_string(piece.plane);
    const auto& facts = images_[piece.image].facts;
    const auto found = facts.find(name);
    return found == facts.end() ? "" : found->second;
  }

  /// Where `piece` begins; its planes from `plane` on.
  static std::vector<std::int64_t> start_of(const OmeImage& image, const Piece& piece, std::int64_t plane) {
    std::vector<std::int64_t> start;
    for (const std::string& axis : image.axes)
      start.push_back(axis == "t"   ? piece.time
                      : axis == "z" ? plane
                      : axis == "y" ? piece.y
                      : axis == "x" ? piece.x
                                    : 0);
    return start;
  }

  [[nodiscard]] fs::path file(const Piece& piece) {
    const OmeImage& image = images_[piece.image];
    return array(piece.image).file_at(start_of(image, piece, std::max<std::int64_t>(0, piece.plane)));
  }

  ZarrArray& array(std::size_t image) {
    if (!open_ || image != open_image_) open_.emplace(images_[image].array);
    open_image_ = image;
    return *open_;
  }

  [[nodiscard]] Image read(const Piece& piece) {
    const OmeImage& stored = images_[piece.image];
    ZarrArray& values = array(piece.image);
    const std::int64_t height = options_.tile > 0 ? options_.tile : stored.size("y"),
                       width = options_.tile > 0 ? options_.tile : stored.size("x");
    Image image{{values.metadata().type, stored.size("c"), height, width}, {}};
    image.pixels.resize(static_cast<std::size_t>(image.layout.bytes()));
    std::vector<std::int64_t> size;
    for (const std::string& axis : stored.axes)
      size.push_back(axis == "c" ? image.layout.channels : axis == "y" ? height : axis == "x" ? width : 1);
    if (piece.plane >= 0) {
      values.read(start_of(stored, piece, piece.plane), size, image.pixels);
      return image;
    }
    Projection projection(options_.planes == "mean", image.layout);
    for (std::int64_t plane = 0; plane < stored.size("z"); ++plane) {
      values.read(start_of(stored, piece, plane), size, image.pixels);
      projection.add(image.pixels);
    }
    projection.write(image.pixels);
    return image;
  }

  const ZarrOptions& options_;
  std::vector<OmeImage> images_;
  std::vector<Piece> pieces_;
  std::optional<ZarrArray> open_;
  std::size_t open_image_ = 0;
};

ExitCode convert_stores(const ZarrOptions& options, comm::Communicator& ranks) {
  std::optional<Stores> stores;
  comm::together(ranks, [&] { stores.emplace(options, ranks); });
  return convert(stores->source, options.common, ranks);
}

}  // namespace

void add_convert_zarr(CLI::App& convert, Action& action) {
  auto options = std::make_shared<ZarrOptions>();
  CLI::App& command = add_command(
      convert,
      {"zarr",
       "OME-Zarr (plates, images, whole or in tiles) and plain zarr arrays",
       {"mpirun -n 4 cohort-data convert zarr plates/*.zarr --context plate --context well --planes max "
        "--out "
        "data/plates",
        "cohort-data convert zarr tissue.zarr --level 1 --tile 256 --context file --out data/tissue"},
       endings_on_ranks(),
       "Facts are file (the name of the store), image (its path in the store), plate, row, column, well, "
       "field, time, plane. Time points are images of their own. Plain arrays are [y, x], [c, y, x] or [t, "
       "c, z, y, x] "
       "unless they name their dimensions."});
  command.add_option("stores", options->stores, "folders of zarr")->required()->type_name("STORE");
  command.add_option("--level", options->level, "level of resolution; 0 is the highest")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_planes_to(command, options->planes);
  command
      .add_option("--tile", options->tile,
                  "side of the square tiles that images are cut into; what does not fill a tile is left out "
                  "(default: whole images)")
      ->check(CLI::PositiveNumber);
  options->facts.add_to(command, "fact");
  finish_convert<ZarrOptions>(command, action, options, convert_stores);
}

}  // namespace cohort::data_prep
