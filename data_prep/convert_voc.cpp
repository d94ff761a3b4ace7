// cohort-data convert voc: a folder as Pascal VOC has it: JPEGImages, Annotations, ImageSets,
// SegmentationClass, SegmentationObject.
#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/file.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"

#include "data_prep/boxes.h"
#include "data_prep/convert.h"
#include "data_prep/facts.h"
#include "data_prep/image_file.h"
#include "data_prep/image_files.h"
#include "data_prep/table.h"
#include "data_prep/voc.h"
#include "data_prep/vocabulary.h"

namespace cohort::data_prep {
namespace {

struct VocOptions {
  std::filesystem::path root;
  std::string masks;  // class, instance; empty: none
  bool no_difficult = false;
  FieldOptions fields;
  FactOptions facts{.by = "name"};
  ConvertOptions common;
};

/// An annotation and its image.
struct VocImage {
  std::string name;   // "2007_000027": of both files, without endings
  std::string split;  // empty: no list has it
  std::string image;  // below JPEGImages
  std::int64_t height = 0, width = 0;
};

/// The names in the lists train.txt, val.txt and test.txt with their splits; none: there are no lists.
std::map<std::string, std::string> read_image_sets(const std::filesystem::path& folder) {
  std::map<std::string, std::string> split_of;
  for (const char* split : {"train", "val", "test"}) {
    const std::filesystem::path file = folder / (std::string(split) + ".txt");
    if (!std::filesystem::exists(file)) continue;
    for (const Line& line : read_lines(file)) {
      const auto [first, is_new] = split_of.emplace(line.cells.front(), split);
      if (is_new || first->second == split) continue;
      throw DataError(
          {fmt::format("'{}' stands in the lists {} and {}", line.cells.front(), first->second, split),
           fmt::format("{}:{}", file.string(), line.number), "take it out of one of them"});
    }
  }
  return split_of;
}

/// The images of the folder.
class VocFolder {
 public:
  /// Collective.
  VocFolder(const VocOptions& options, comm::Communicator& ranks) : options_(options) {
    source.where = options.root.string();
    source.content = checksum_of(options.no_difficult ? "without difficult objects" : "all objects");
    find_images(ranks);
    source.path = [this](std::int64_t i) { return path(i); };
    source.image = [this](std::int64_t i) {
      return read_annotated_image(path(i), image(i).height, image(i).width);
    };
    source.file = [this](std::int64_t i) { return read_file(path(i)); };
    source.place = [this](std::int64_t i) { return path(i).string(); };
    wanted_ = wanted_facts(options.facts, options.common);
    std::vector<VocImage> kept;
    std::set<std::string> classes;
    const bool is_first = ranks.rank() == 0;
    share_texts(
        std::ssize(images_), ranks, [this](std::int64_t i) { return header(i); },
        [&](std::int64_t i, const std::string& header) { take(i, header, is_first, kept, classes); });
    comm::together(ranks, [&] {
      keep(std::move(kept), classes);
      read_facts(
          source, options.facts, options.common,
          [this](const std::string& name, const std::string& option) { return fact(name, option); }, ranks);
      add_fields();
    });
  }
  VocFolder(const VocFolder&) = delete;
  VocFolder& operator=(const VocFolder&) = delete;

  Source source;

 private:
  [[nodiscard]] const VocImage& image(std::int64_t index) const {
    return images_[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] std::filesystem::path path(std::int64_t index) const {
    return options_.root / "JPEGImages" / image(index).image;
  }
  [[nodiscard]] std::filesystem::path annotation(std::int64_t index) const {
    return options_.root / "Annotations" / (image(index).name + ".xml");
  }

  /// The lists say which images there are, else the annotations.
  void find_images(comm::Communicator& ranks) {
    std::map<std::string, std::string> split_of;
    comm::together(ranks, [&] {
      const char* kind = options_.masks.empty() ? "Main" : "Segmentation";
      split_of = read_image_sets(options_.root / "ImageSets" / kind);
    });
    if (split_of.empty()) {
      const auto is_annotation = [](const std::filesystem::path& file) { return file.extension() == ".xml"; };
      for (const std::string& file :
           files_below(options_.root / "Annotations", "annotation (.xml)", is_annotation,
                       options_.common.skips_damaged(), source.left_out, ranks))
        split_of.emplace(std::filesystem::path(file).replace_extension().generic_string(), "");
    }
    for (const auto& [name, split] : split_of) images_.push_back({name, split, ""});
  }

  /// {"image", "height", "width", "classes", "difficult", "facts"}; null: its annotation cannot be read.
  [[nodiscard]] std::string header(std::int64_t index) const {
    try {
      const VocAnnotation read = read_annotation(index);
      std::map<std::string, std::string> facts = read.facts;
      facts["name"] = image(index).name;
      std::vector<std::string> classes;
      std::int64_t difficult = 0;
      for (const VocObject& object : read.objects) {
        difficult += is_left_out(object) ? 1 : 0;
        if (!is_left_out(object)) classes.push_back(object.name);
      }
      return nlohmann::json{{"image", file_of_image(index)}, {"height", read.height},  {"width", read.width},
                            {"classes", distinct(classes)},  {"difficult", difficult}, {"facts", facts}}
          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    } catch (const DataError&) {
      if (!options_.common.skips_damaged()) throw;
    }
    return "null";
  }

  [[nodiscard]] VocAnnotation read_annotation(std::int64_t index) const {
    const std::filesystem::path file = annotation(index);
    return parse_voc(read_file(file, kMostSettings), file.string());
  }
  [[nodiscard]] bool is_left_out(const VocObject& object) const {
    return options_.no_difficult && object.is_difficult;
  }

  /// Throws DataError: there is none.
  [[nodiscard]] std::string file_of_image(std::int64_t index) const {
    const std::filesystem::path folder = options_.root / "JPEGImages";
    const std::string name = image(index).name + ".x";  // names may have dots
    const std::string file = file_beside(folder, name, {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".npy"});
    if (std::filesystem::exists(folder / file)) return file;
    throw DataError({fmt::format("the image file is missing: {}", (folder / file).string()),
                     annotation(index).string(), "restore it, or remove its annotation"});
  }

  /// `has_facts`: facts are kept here.
  void take(std::int64_t index, const std::string& text, bool has_facts, std::vector<VocImage>& kept,
            std::set<std::string>& classes) {
    const nlohmann::json header = nlohmann::json::parse(text);
    VocImage image = images_[static_cast<std::size_t>(index)];
    if (header.is_null())
      return source.left_out.add("annotations that cannot be read, or have no image", image.name);
    for (std::int64_t n = 0; n < header["difficult"].get<std::int64_t>(); ++n)
      source.left_out.add("difficult objects", image.name);
    header["image"].get_to(image.image);
    header["height"].get_to(image.height);
    header["width"].get_to(image.width);
    for (const auto& name : header["classes"]) classes.insert(name.get<std::string>());
    if (has_facts) {
      for (const auto& [fact, value] : header["facts"].items()) known_.insert(fact);
      for (const std::string& fact : wanted_) found_[fact].push_back(header["facts"].value(fact, ""));
    }
    kept.push_back(std::move(image));
  }

  void keep(std::vector<VocImage> kept, const std::set<std::string>& classes) {
    if (kept.empty())
      throw DataError({"no annotation can be read", source.where, "check the path and the annotations"});
    images_ = std::move(kept);
    classes_ = options_.common.classes_of("boxes", 1);
    if (classes_.empty()) classes_ = distinct({classes.begin(), classes.end()});
    const std::int64_t count = std::ssize(images_);
    source.ids = {count, [this](std::int64_t i) { return image(i).image; }};
    if (!images_.front().split.empty())
      source.splits = {count, [this](std::int64_t i) { return image(i).split; }};
  }

  [[nodiscard]] Categories fact(const std::string& name, const std::string& option) const {
    check_fact(name, {known_.begin(), known_.end()}, option);
    return found_.at(name);
  }

  void add_fields() {
    FieldSource boxes{{"boxes",
                       data::FieldKind::boxes,
                       data::ValueType::f32,
                       {-1, 5},
                       options_.fields.codec_of("boxes"),
                       "",
                       classes_},
                      [this](const data::Field&, std::int64_t index, const ImageChange& change) {
                        return box_values(voc_boxes(index), change);
                      }};
    boxes.path = [this](std::int64_t index) { return annotation(index); };
    source.fields.push_back(std::move(boxes));
    if (options_.masks.empty()) return;
    FieldCells cells;
    cells.columns = {"mask"};
    cells.images = std::ssize(images_);
    cells.of = [this](std::int64_t index) { return std::vector<std::string>{image(index).name + ".png"}; };
    cells.place = source.place;
    cells.root = options_.root / (options_.masks == "class" ? "SegmentationClass" : "SegmentationObject");
    source.fields.push_back(field_of_cells(data::FieldKind::mask, "mask",
                                           options_.common.classes_of("mask", 1), options_.fields, cells));
  }

  [[nodiscard]] std::vector<float> voc_boxes(std::int64_t index) const {
    const std::string where = annotation(index).string();
    std::vector<float> boxes;
    for (const VocObject& object : read_annotation(index).objects) {
      if (is_left_out(object)) continue;
      const auto found = std::find(classes_.begin(), classes_.end(), object.name);
      if (found == classes_.end())
        throw DataError({fmt::format("there is no class '{}'", printable(object.name)), where,
                         did_you_mean(object.name, classes_)});
      add_box(boxes, inside_image(object.box, image(index).height, image(index).width, where),
              found - classes_.begin());
    }
    return boxes;
  }

  const VocOptions& options_;
  std::vector<VocImage> images_;
  std::vector<std::string> classes_;
  std::vector<std::string> wanted_;          // facts
  std::set<std::string> known_{"name"};      // facts, on the first rank
  std::map<std::string, Categories> found_;  // of a fact, one an image, on the first rank
};

ExitCode convert_voc(const VocOptions& options, comm::Communicator& ranks) {
  VocFolder folder(options, ranks);
  return convert(folder.source, options.common, ranks);
}

}  // namespace

void add_convert_voc(CLI::App& convert, Action& action) {
  auto options = std::make_shared<VocOptions>();
  CLI::App& command = add_command(
      convert,
      {"voc",
       "A folder as Pascal VOC has it: images, boxes of XML files, splits, masks",
       {"cohort-data convert voc VOCdevkit/VOC2012 --resize 512 --fit pad --out data/voc",
        "cohort-data convert voc VOCdevkit/VOC2012 --masks class --no-difficult --context source.database "
        "--resize 512 --fit pad --out data/segmentation"},
       endings_on_ranks(),
       "Splits are the lists train.txt, val.txt and test.txt of ImageSets/Main (of masks "
       "ImageSets/Segmentation); without lists all annotations are taken. Facts are name and the elements of "
       "an annotation outside of objects: folder, source.database …. Classes of the field `boxes` are sorted "
       "by name, or as --classes boxes=a,b says."});
  command.add_option("root", options->root, "the folder with JPEGImages and Annotations, such as VOC2012")
      ->required()
      ->type_name("FOLDER");
  command
      .add_option(
          "--masks", options->masks,
          "field `mask` of the folder SegmentationClass (class) or SegmentationObject (instance), 255 "
          "not known")
      ->check(CLI::IsMember({"class", "instance"}));
  command.add_flag("--no-difficult", options->no_difficult, "leave out objects that are marked difficult");
  options->fields.add_codecs_to(command);
  options->facts.add_to(command, "fact");
  finish_convert<VocOptions>(command, action, options, convert_voc);
}

}  // namespace cohort::data_prep
