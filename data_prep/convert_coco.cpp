// cohort-data convert coco: images with the boxes, and the masks, of COCO's JSON files.
#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/file.h"

#include "data_prep/boxes.h"
#include "data_prep/coco.h"
#include "data_prep/convert.h"
#include "data_prep/facts.h"
#include "data_prep/image_file.h"

namespace cohort::data_prep {
namespace {

struct CocoOptions {
  std::vector<std::string> files;             // "FILE" or "FILE=SPLIT"
  std::vector<std::filesystem::path> images;  // none: beside the files; one, or one for each file
  std::string masks;                          // class, instance; empty: none
  bool prefix_ids = false;
  FieldOptions fields;
  FactOptions facts{.by = "file_name"};
  ConvertOptions common;
};

/// The file and its split: "a=b.json" may be a file as well.
std::pair<std::filesystem::path, std::string> file_and_split(const std::string& text) {
  if (std::filesystem::exists(text) || text.find('=') == std::string::npos)
    return {text, std::filesystem::path(text).stem().string()};
  return renamed(text);
}

void check_categories(const CocoFile& file, const CocoFile& first) {
  if (file.categories == first.categories && file.type_of == first.type_of) return;
  throw DataError({fmt::format("the categories are not those of {}", first.path.string()), file.path.string(),
                   "give all files the same list: a class is a place in it"});
}

/// The images of all files.
class CocoImages {
 public:
  /// Collective.
  CocoImages(const CocoOptions& options, comm::Communicator& ranks) : options_(options) {
    facts_ = wanted_facts(options_.facts, options_.common);
    comm::together(ranks, [&] { check_folders(); });
    for (const std::string& text : options.files) add_file(text, ranks);
    comm::together(ranks, [&] {
      add_images();
      read_facts(
          source, options.facts, options.common,
          [this](const std::string& name, const std::string& option) { return fact(name, option); }, ranks);
      const bool has_splits = files_.size() > 1 || options.files.front() != files_.front().path;
      if (source.splits.empty() && has_splits) source.splits = splits_of_files();
      add_fields();
      if (ranks.rank() != 0) return;
      check_ids();
      if (!options.common.skips_damaged()) check_files();
    });
    source.path = [this](std::int64_t i) { return path(i); };
    source.image = [this](std::int64_t i) {
      return read_annotated_image(path(i), image(i).height, image(i).width);
    };
    source.file = [this](std::int64_t i) { return read_file(path(i)); };
    source.place = [this](std::int64_t i) { return path(i).string(); };
  }
  CocoImages(const CocoImages&) = delete;
  CocoImages& operator=(const CocoImages&) = delete;

  Source source;

 private:
  struct Row {
    std::size_t file, image;
  };

  void check_folders() const {
    if (options_.images.size() > 1 && options_.images.size() != options_.files.size())
      throw UsageError(
          {fmt::format("{} folders are named for {} files", options_.images.size(), options_.files.size()),
           "--images", "name one for all files, or one for each in their order"});
  }

  /// Collective. One rank parses the file.
  void add_file(const std::string& text, comm::Communicator& ranks) {
    const bool is_first = ranks.rank() == 0;
    CocoFile read;
    std::string packed;
    comm::together(ranks, [&] {
      auto [file, split] = file_and_split(text);
      splits_.push_back(std::move(split));
      source.archives.push_back(file);
      if (!is_first) return;
      read = read_coco(file, facts_);
      if (ranks.size() > 1) packed = packed_coco(read);
    });
    packed = ranks.broadcast_text(std::move(packed));
    comm::together(ranks, [&] {
      files_.push_back(is_first ? std::move(read) : unpacked_coco(packed));
      check_categories(files_.back(), files_.front());
    });
  }

  void add_images() {
    for (std::size_t file = 0; file < files_.size(); ++file) {
      for (const std::int32_t number : files_[file].crowds)
        source.left_out.add("crowds (iscrowd), which are no boxes", fmt::format("annotations[{}]", number));
      for (std::size_t i = 0; i < files_[file].images.size(); ++i) rows_.push_back({file, i});
    }
    source.ids = {std::ssize(rows_), [this](std::int64_t i) {
                    return (options_.prefix_ids ? splits_[row(i).file] + "/" : "") + image(i).file;
                  }};
    source.where = files_.front().path.string();
  }

  /// Throws DataError for two images with one id.
  void check_ids() const {
    const std::optional<std::string> twice = data::repeated_text(source.ids.packed());
    if (!twice) return;
    std::vector<Row> rows;
    for (std::size_t i = 0; i < rows_.size() && rows.size() < 2; ++i) {
      if (source.ids[i] == *twice) rows.push_back(rows_[i]);
    }
    const auto place = [&](const Row& row) {
      return fmt::format("{}, images[{}]", files_[row.file].path.string(), row.image);
    };
    throw DataError({fmt::format("two images are called '{}'", *twice),
                     place(rows.front()) + " and " + place(rows.back()),
                     rows.front().file == rows.back().file || options_.prefix_ids
                         ? "remove one of them, or rename it"
                         : "tell them apart by the names of their splits: --prefix-ids"});
  }

  [[nodiscard]] const Row& row(std::int64_t index) const { return rows_[static_cast<std::size_t>(index)]; }
  [[nodiscard]] const CocoImage& image(std::int64_t index) const {
    return files_[row(index).file].images[row(index).image];
  }
  [[nodiscard]] std::filesystem::path path(std::int64_t index) const {
    const std::size_t file = row(index).file;
    const std::vector<std::filesystem::path>& folders = options_.images;
    if (folders.empty()) return files_[file].path.parent_path() / image(index).file;
    return folders[folders.size() == 1 ? 0 : file] / image(index).file;
  }
  [[nodiscard]] std::vector<CocoObject> objects(std::int64_t index, bool with_regions) const {
    return read_coco_objects(files_[row(index).file], row(index).image, with_regions);
  }

  void check_files() const {
    for (std::int64_t i = 0; i < std::ssize(rows_); ++i) {
      if (std::filesystem::exists(path(i))) continue;
      throw DataError({fmt::format("the image file is missing: {}", path(i).string()),
                       files_[row(i).file].path.string(),
                       "set --images to the folder that file_name starts from"});
    }
  }

  [[nodiscard]] Categories splits_of_files() const {
    return {std::ssize(rows_), [this](std::int64_t i) { return splits_[row(i).file]; }};
  }

  [[nodiscard]] Categories fact(const std::string& name, const std::string& option) const {
    std::set<std::string> known;
    for (const CocoFile& file : files_) known.insert(file.keys.begin(), file.keys.end());
    check_fact(name, {known.begin(), known.end()}, option);
    const auto place =
        static_cast<std::size_t>(std::find(facts_.begin(), facts_.end(), name) - facts_.begin());
    return {std::ssize(rows_),
            [this, place](std::int64_t i) { return files_[row(i).file].facts[place][row(i).image]; }};
  }

  void add_fields() {
    const std::vector<std::string>& classes = files_.front().categories;
    source.fields.push_back({{"boxes",
                              data::FieldKind::boxes,
                              data::ValueType::f32,
                              {-1, 5},
                              options_.fields.codec_of("boxes"),
                              "",
                              classes},
                             [this](const data::Field&, std::int64_t index, const ImageChange& change) {
                               return box_values(boxes(index), change);
                             }});
    if (options_.masks.empty()) return;
    constexpr std::size_t kMostOfBytes = 255;  // which is not known
    std::vector<std::string> names;
    if (!has_instances()) {
      names = classes;
      names.insert(names.begin(), "background");
    }
    const bool fits = !has_instances() && names.size() <= kMostOfBytes;
    data::Field mask{"mask",
                     data::FieldKind::mask,
                     fits ? data::ValueType::u8 : data::ValueType::i32,
                     {},
                     options_.fields.codec_of("mask"),
                     "",
                     std::move(names)};
    source.fields.push_back({mask,
                             [this](const data::Field& field, std::int64_t index, const ImageChange& change) {
                               return mask_values(drawn(field, index, change), field, change,
                                                  path(index).string());
                             },
                             [this, mask](std::int64_t index, const ImageChange& change) {
                               return shaped(mask, index, change);
                             }});
  }
  [[nodiscard]] bool has_instances() const { return options_.masks == "instance"; }

  [[nodiscard]] data::Field shaped(data::Field mask, std::int64_t index, const ImageChange& change) const {
    const data::Preparation& after = change.preparation;
    if (after.height > 0)
      mask.shape = {after.height, after.width};
    else
      mask.shape = {image(index).height, image(index).width};
    return mask;
  }

  [[nodiscard]] std::vector<float> boxes(std::int64_t index) const {
    std::vector<float> values;
    for (const CocoObject& object : objects(index, false)) {
      if (object.is_crowd) continue;
      const auto [x, y, width, height] = object.box;
      const Corners box =
          inside_image({x, y, x + width, y + height}, image(index).height, image(index).width, object.where);
      add_box(values, box, object.type);
    }
    return values;
  }

  /// The objects of an image as pixels, later ones above.
  [[nodiscard]] Mask drawn(const data::Field& field, std::int64_t index, const ImageChange& change) const {
    const CocoImage& size = image(index);
    // What the file claims is worth memory only where an image of that size was read.
    const bool is_claim_true = change.height > 0 ? change.height == size.height && change.width == size.width
                                                 : field.shape == std::vector{size.height, size.width};
    if (!is_claim_true)
      throw DataError({fmt::format("the annotations tell of {} x {} pixels, which the image does not have",
                                   size.height, size.width),
                       path(index).string(), "give all images one size with --resize, or correct the file"});
    Mask mask{size.height, size.width, field.type, {}};
    mask.values.resize(static_cast<std::size_t>(size.height * size.width));
    std::int32_t number = 0;
    for (const CocoObject& object : objects(index, true)) {
      if (!object.is_crowd) ++number;
      const std::int32_t instance = object.is_crowd ? -1 : number;
      for (const RunLengths& region : object.regions)
        paint(region, has_instances() ? instance : static_cast<std::int32_t>(object.type) + 1, mask);
    }
    return mask;
  }

  const CocoOptions& options_;
  std::vector<CocoFile> files_;
  std::vector<std::string> splits_;  // one a file
  std::vector<Row> rows_;
  std::vector<std::string> facts_;  // that are kept of images
};

ExitCode convert_coco(const CocoOptions& options, comm::Communicator& ranks) {
  CocoImages images(options, ranks);
  return convert(images.source, options.common, ranks);
}

}  // namespace

void add_convert_coco(CLI::App& convert, Action& action) {
  auto options = std::make_shared<CocoOptions>();
  CLI::App& command = add_command(
      convert,
      {"coco",
       "Images with boxes and masks of COCO's JSON files",
       {"mpirun -n 8 cohort-data convert coco instances_train2017.json=train instances_val2017.json=val "
        "--images train2017 --images val2017 --masks class --resize 512 --fit pad --out data/coco",
        "cohort-data convert coco cells/annotations.json --context plate --out data/cells"},
       endings_on_ranks(),
       "Facts are the keys of the entries of `images` (file_name, id, license …). The field `boxes` has the "
       "categories in the order of the file as classes. Groups of objects (iscrowd) are no boxes; in masks "
       "of "
       "instances their pixels are not known."});
  command
      .add_option("files", options->files,
                  "COCO's JSON files; several are splits, called like the files if not named")
      ->required()
      ->type_name("FILE or FILE=SPLIT");
  command
      .add_option("--images", options->images,
                  "folder that file_name starts from, one for all files or one for each (default: that of "
                  "the file)")
      ->allow_extra_args(false)
      ->type_name("DIR");
  command
      .add_option(
          "--masks", options->masks,
          "field `mask`, drawn of the segmentations: the class of each pixel, 0 the background, or the "
          "number of the box that it belongs to, from 1")
      ->check(CLI::IsMember({"class", "instance"}));
  command.add_flag(
      "--prefix-ids", options->prefix_ids,
      "put the name of its split before the id of each image, where files have images of one name");
  options->fields.add_codecs_to(command);
  options->facts.add_to(command, "fact");
  finish_convert<CocoOptions>(command, action, options, convert_coco);
}

}  // namespace cohort::data_prep
