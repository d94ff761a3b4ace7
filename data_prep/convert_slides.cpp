// cohort-data convert slides: tiles of whole slides where there is tissue.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data_prep/convert.h"
#include "data_prep/facts.h"
#include "data_prep/slides.h"

namespace cohort::data_prep {
namespace {

struct SlidesOptions {
  std::vector<std::filesystem::path> files;
  std::int64_t tile = 256, stride = 0, level = 0;
  double microns = 0;  ///< a pixel; 0: of a level
  double tissue = 0.5;
  FactOptions facts{.by = "slide"};
  ConvertOptions common;
};

/// How the pixels of a slide's tiles are made.
struct Grid {
  std::size_t level = 0;  ///< that is read
  double scale = 1;       ///< pixels of level 0 a pixel of a tile
  std::int64_t read = 0;  ///< side of what is read of the level, in its pixels
};

/// The highest level that is no coarser than wanted, which is scaled down from there.
Grid grid_by_microns(const Slide& slide, const SlidesOptions& options, const std::string& where) {
  const std::optional<double> finest = slide.microns_per_pixel();
  if (!finest)
    throw DataError({"the slide does not say how large its pixels are", where,
                     "choose a level with --level instead of --microns-per-pixel"});
  constexpr double kTolerance = 1.001;
  if (*finest > options.microns * kTolerance) {
    throw DataError({fmt::format("the slide has {:.4g} microns a pixel, which is coarser than {:.4g}",
                                 *finest, options.microns),
                     where, "leave it out, or choose larger --microns-per-pixel"});
  }
  Grid grid{0, options.microns / *finest};
  for (std::size_t level = 0; level < slide.levels().size(); ++level) {
    if (slide.levels()[level].downsample <= grid.scale * kTolerance) grid.level = level;
  }
  grid.read =
      std::llround(static_cast<double>(options.tile) * grid.scale / slide.levels()[grid.level].downsample);
  return grid;
}

Grid grid_of(const Slide& slide, const SlidesOptions& options, const std::string& where) {
  if (options.microns > 0) return grid_by_microns(slide, options, where);
  const auto level = static_cast<std::size_t>(options.level);
  if (level < slide.levels().size()) return {level, slide.levels()[level].downsample, options.tile};
  throw UsageError({fmt::format("the slide has {} level{}, from 0 on", slide.levels().size(),
                                slide.levels().size() == 1 ? "" : "s"),
                    where, "choose one of them with --level, or --microns-per-pixel"});
}

struct Tile {
  std::size_t slide;
  std::int64_t x, y;
};

/// Positions of the tiles of a slide that have enough tissue: [[x, y], …].
nlohmann::json tiles_of(const Slide& slide, const SlidesOptions& options, const std::string& where) {
  const Grid grid = grid_of(slide, options, where);
  const double side = static_cast<double>(options.tile) * grid.scale,
               step = static_cast<double>(options.stride > 0 ? options.stride : options.tile) * grid.scale;
  const Slide::Level& whole = slide.levels().front();
  std::optional<TissueMask> mask;
  if (options.tissue > 0) mask = tissue_mask(slide);
  constexpr double kHalf = 0.5;  // of a pixel, which rounding may cost
  nlohmann::json tiles = nlohmann::json::array();
  for (std::int64_t row = 0;
       static_cast<double>(row) * step + side <= static_cast<double>(whole.height) + kHalf; ++row) {
    const double y = static_cast<double>(row) * step;
    for (std::int64_t column = 0;
         static_cast<double>(column) * step + side <= static_cast<double>(whole.width) + kHalf; ++column) {
      const double x = static_cast<double>(column) * step;
      if (!mask || mask->share(x, y, side) >= options.tissue)
        tiles.push_back({static_cast<std::int64_t>(x), static_cast<std::int64_t>(y)});
    }
  }
  return tiles;
}

class Slides {
 public:
  /// Collective: each slide's tissue is looked for by one rank.
  Slides(const SlidesOptions& options, comm::Communicator& ranks)
      : options_(options), properties_(wanted_properties()) {
    source.where = options.files.front().string();
    const bool is_first = ranks.rank() == 0;
    share_texts(
        std::ssize(options.files), ranks, [&](std::int64_t i) { return look(static_cast<std::size_t>(i)); },
        [&](std::int64_t i, const std::string& found) {
          add(static_cast<std::size_t>(i), nlohmann::json::parse(found), is_first);
        });
    source.archives = options.files;
    source.content = checksum_of(fmt::format("tile {} level {} microns {} tissue {}", options.tile,
                                             options.level, options.microns, options.tissue));
    source.place = [this](std::int64_t i) { return file_of(tiles_[static_cast<std::size_t>(i)]).string(); };
    source.image = [this](std::int64_t i) { return read(tiles_[static_cast<std::size_t>(i)]); };
    comm::together(ranks, [&] {
      if (source.ids.empty()) {
        throw DataError({"there is no tile with enough tissue", source.where,
                         "choose less --tissue (0: all tiles), smaller --tile or another level"});
      }
      read_facts(
          source, options.facts, options.common,
          [this](const std::string& name, const std::string&) { return fact(name); }, ranks);
    });
  }
  Slides(const Slides&) = delete;
  Slides& operator=(const Slides&) = delete;

  Source source;

 private:
  [[nodiscard]] const std::filesystem::path& file_of(const Tile& tile) const {
    return options_.files[tile.slide];
  }

  [[nodiscard]] std::vector<std::string> wanted_properties() const {
    std::set<std::string> names{options_.facts.columns.split, options_.facts.by,
                                options_.common.division.group_by};
    for (const auto* columns : {&options_.facts.columns.labels, &options_.facts.columns.contexts}) {
      for (const std::string& text : *columns) names.insert(renamed(text).first);
    }
    return {names.begin(), names.end()};
  }

  /// What is known of a slide, or why it cannot be read.
  [[nodiscard]] std::string look(std::size_t index) const {
    const std::filesystem::path& file = options_.files[index];
    nlohmann::json known;
    try {
      if (!std::filesystem::exists(file))
        throw DataError({"there is no such file", file.string(), "check the path"});
      const Slide slide(file);
      known["tiles"] = tiles_of(slide, options_, file.string());
      for (const std::string& name : properties_) known["properties"][name] = slide.property(name);
    } catch (const DataError&) {
      if (!options_.common.skips_damaged()) throw;
    }
    return known.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

  /// `has_facts`: facts are kept here.
  void add(std::size_t slide, const nlohmann::json& known, bool has_facts) {
    const std::string name = options_.files[slide].stem().string();
    if (known.is_null()) return source.left_out.add("slides that cannot be read", name);
    if (known["tiles"].empty()) return source.left_out.add("slides without a tile with enough tissue", name);
    if (has_facts) known_.emplace(slide, known["properties"]);
    for (const nlohmann::json& tile : known["tiles"]) {
      tiles_.push_back({slide, tile[0].get<std::int64_t>(), tile[1].get<std::int64_t>()});
      source.ids.push_back(fmt::format("{}_x{}_y{}", name, tiles_.back().x, tiles_.back().y));
    }
  }

  [[nodiscard]] Categories fact(const std::string& name) const {
    const bool is_property = std::any_of(known_.begin(), known_.end(), [&](const auto& slide) {
      return !slide.second.value(name, std::string()).empty();
    });
    if (!is_property)
      check_fact(name, {"slide", "x", "y", "openslide.vendor"}, "--context, --label, --split, --by");
    return {std::ssize(tiles_),
            [this, name](std::int64_t i) { return fact_of(tiles_[static_cast<std::size_t>(i)], name); }};
  }

  [[nodiscard]] std::string fact_of(const Tile& tile, const std::string& name) const {
    if (name == "slide") return file_of(tile).stem().string();
    if (name == "x") return std::to_string(tile.x);
    if (name == "y") return std::to_string(tile.y);
    return known_.at(tile.slide).value(name, "");
  }

  [[nodiscard]] Image read(const Tile& tile) {
    if (!open_ || tile.slide != open_slide_) {
      open_.emplace(file_of(tile));
      grid_ = grid_of(*open_, options_, file_of(tile).string());
    }
    open_slide_ = tile.slide;
    const Image image = open_->region(grid_.level, tile.x, tile.y, grid_.read, grid_.read);
    return grid_.read == options_.tile ? image : resize(image, options_.tile, options_.tile);
  }

  const SlidesOptions& options_;
  std::vector<std::string> properties_;
  std::map<std::size_t, nlohmann::json> known_;  // properties, by slide
  std::vector<Tile> tiles_;
  std::optional<Slide> open_;
  std::size_t open_slide_ = 0;
  Grid grid_;
};

ExitCode convert_tiles(const SlidesOptions& options, comm::Communicator& ranks) {
  Slides slides(options, ranks);
  return convert(slides.source, options.common, ranks);
}

}  // namespace

void add_convert_slides(CLI::App& convert, Action& action) {
  auto options = std::make_shared<SlidesOptions>();
  CLI::App& command = add_command(convert, {"slides",
                                            "Tiles of whole slides, where there is tissue",
                                            {"mpirun -n 8 cohort-data convert slides slides/*.svs "
                                             "--microns-per-pixel 0.5 --tile 224 --context slide "
                                             "--table slides.csv --label tumour --out data/tiles"},
                                            endings_on_ranks(),
                                            "Facts are slide (the file's name without ending), x and y "
                                            "(where a tile begins, in pixels of level 0, "
                                            "also in its id), and OpenSlide's properties, such as "
                                            "openslide.vendor. Tissue has more colour than Otsu's "
                                            "threshold of saturation."});
  command.add_option("files", options->files, "the slides, in any format of OpenSlide")
      ->required()
      ->type_name("FILE");
  command.add_option("--tile", options->tile, "side of the square tiles, in pixels")
      ->check(CLI::Range(8, 16384))
      ->capture_default_str();
  command
      .add_option("--stride", options->stride,
                  "from one tile to the next, in pixels of a tile (default: --tile)")
      ->check(CLI::PositiveNumber);
  CLI::Option* level =
      command.add_option("--level", options->level, "level that tiles are of; 0 is the finest")
          ->check(CLI::NonNegativeNumber)
          ->capture_default_str();
  command
      .add_option("--microns-per-pixel", options->microns,
                  "size of a tile's pixels; they are made of the next finer level by the mean of areas")
      ->check(CLI::PositiveNumber)
      ->excludes(level);
  command.add_option("--tissue", options->tissue, "part of a tile that has to be tissue; 0: all tiles")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  options->facts.add_to(command, "fact");
  finish_convert<SlidesOptions>(command, action, options, convert_tiles);
}

}  // namespace cohort::data_prep
