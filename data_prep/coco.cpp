#include "data_prep/coco.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"

#include "support/json.h"

namespace cohort::data_prep {
namespace {

[[noreturn]] void refuse_coco(const std::string& what, const std::string& where) {
  throw DataError({"the COCO file cannot be read: " + what, where,
                   "correct it as cocodataset.org says (Data format, Object Detection)"});
}

/// "instances.json, annotations[17]".
std::string place_of(const std::filesystem::path& file, const std::string& list, std::int64_t number) {
  return fmt::format("{}, {}[{}]", file.string(), list, number);
}

std::int64_t coco_integer(const Json& entry, const char* key, const std::string& where) {
  const auto found = entry.find(key);
  try {
    if (found != entry.end()) return integer_of(*found);
  } catch (const std::out_of_range&) {
    refuse_coco(fmt::format("'{}' is no integer", key), where);
  }
  refuse_coco(fmt::format("the entry has no '{}'", key), where);
}

std::string coco_text(const Json& entry, const char* key, const std::string& where) {
  const auto found = entry.find(key);
  if (found == entry.end()) refuse_coco(fmt::format("the entry has no '{}'", key), where);
  if (!found->is_string()) refuse_coco(fmt::format("'{}' is no text", key), where);
  return found->get<std::string>();
}

std::vector<double> coco_numbers(const Json& list, const char* key, const std::string& where) {
  const auto is_number = [](const Json& value) { return value.is_number(); };
  if (!list.is_array() || !std::all_of(list.begin(), list.end(), is_number))
    refuse_coco(fmt::format("'{}' holds what is no number", key), where);
  return list.get<std::vector<double>>();
}

/// 1 or true: a group of objects. Without the key: one object.
bool is_crowd(const Json& entry, const std::string& where) {
  const auto found = entry.find("iscrowd");
  if (found == entry.end()) return false;
  if (found->is_boolean()) return found->get<bool>();
  const std::int64_t value = coco_integer(entry, "iscrowd", where);
  if (value != 0 && value != 1) refuse_coco(fmt::format("'iscrowd' is {}, neither 0 nor 1", value), where);
  return value == 1;
}

/// As a label or context is written.
std::string fact_text(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// A file's characters, counted.
struct CountedCharacters {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  std::istreambuf_iterator<char> at;
  std::int64_t* count;

  char operator*() const { return *at; }
  CountedCharacters& operator++() {
    ++at;
    ++*count;
    return *this;
  }
  bool operator==(const CountedCharacters& other) const { return at == other.at; }
};

/// What the annotations of a file refer to while not all of it is known.
struct OpenReference {
  std::int64_t image, category;
};

/// Takes each entry of the three lists as soon as it was read, and drops it.
class CocoReader {
 public:
  CocoReader(CocoFile& file, const std::vector<std::string>& facts) : file_(file), facts_(facts) {
    file_.facts.resize(facts.size());
  }

  void read() {
    static_cast<void>(open_file(file_.path));  // refuses what is no file
    std::ifstream stream(file_.path, std::ios::binary);
    const auto take = [this](int depth, Json::parse_event_t event, const Json& parsed) {
      return on(depth, event, parsed);
    };
    Json rest;
    try {
      rest = Json::parse(CountedCharacters{std::istreambuf_iterator<char>(stream), &count_},
                         CountedCharacters{{}, &count_}, take);
    } catch (const Json::parse_error& error) {
      refuse_coco(fmt::format("it is no JSON, from byte {} on", error.byte), file_.path.string());
    } catch (const Json::out_of_range&) {
      refuse_coco("it holds a number that is too large", here());
    }
    check_lists(rest);
    check_ids();
    resolve();
  }

 private:
  /// Whether the library is to keep what it parsed.
  bool on(int depth, Json::parse_event_t event, const Json& parsed) {
    using Event = Json::parse_event_t;
    constexpr int kMostDepth = 64;
    if (depth > kMostDepth) refuse_coco("lists and objects are nested too deeply", file_.path.string());
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end) keys_.pop_back();
    if (event == Event::key) add_key(depth, parsed.get<std::string>());
    if (depth == 2 && event == Event::object_start) start_ = count_ - 1;
    if (depth != 2 || event != Event::object_end) return true;
    add_entry(parsed);
    return false;
  }

  void add_key(int depth, const std::string& key) {
    if (!keys_.back().insert(key).second)
      refuse_coco(fmt::format("an object has the key '{}' twice", printable(key)), here());
    if (depth == 1) list_ = key;
  }

  [[nodiscard]] std::string here() const { return place_of(file_.path, list_, next_of(list_)); }
  [[nodiscard]] std::int64_t next_of(const std::string& list) const {
    if (list == "images") return std::ssize(file_.images);
    if (list == "categories") return std::ssize(file_.categories);
    return std::ssize(file_.annotations);
  }

  void add_entry(const Json& entry) {
    if (list_ == "images") return add_image(entry);
    if (list_ == "categories") return add_category(entry);
    if (list_ == "annotations") add_annotation(entry);
  }

  void add_image(const Json& entry) {
    constexpr std::int64_t kMostSide = 1 << 20;
    const std::string where = here();
    CocoImage image{coco_text(entry, "file_name", where), coco_integer(entry, "height", where),
                    coco_integer(entry, "width", where)};
    for (const std::int64_t side : {image.height, image.width}) {
      if (side < 1 || side > kMostSide) refuse_coco(fmt::format("{} is no size of an image", side), where);
    }
    const std::int64_t id = coco_integer(entry, "id", where);
    if (!image_of_.emplace(id, file_.images.size()).second)
      refuse_coco(fmt::format("two images have the id {}", id), where);
    for (const auto& [key, value] : entry.items()) {
      if (value.is_primitive()) file_.keys.insert(key);
    }
    for (std::size_t fact = 0; fact < facts_.size(); ++fact) {
      const auto found = entry.find(facts_[fact]);
      file_.facts[fact].push_back(found != entry.end() && found->is_primitive() ? fact_text(*found) : "");
    }
    file_.images.push_back(std::move(image));
  }

  void add_category(const Json& entry) {
    const std::string where = here();
    const std::int64_t id = coco_integer(entry, "id", where);
    if (!file_.type_of.emplace(id, std::ssize(file_.categories)).second)
      refuse_coco(fmt::format("two categories have the id {}", id), where);
    file_.categories.push_back(coco_text(entry, "name", where));
  }

  void add_annotation(const Json& entry) {
    const std::string where = here();
    const auto number = static_cast<std::int32_t>(file_.annotations.size());
    if (entry.contains("id")) ids_.push_back(coco_integer(entry, "id", where));
    open_.push_back({coco_integer(entry, "image_id", where), coco_integer(entry, "category_id", where)});
    if (is_crowd(entry, where)) file_.crowds.push_back(number);
    file_.annotations.push_back({0, number, start_, count_ - start_});
  }

  /// What is left of the lists are entries that are no objects.
  void check_lists(const Json& rest) const {
    if (!rest.is_object()) refuse_coco("it is no JSON object", file_.path.string());
    for (const char* list : {"images", "annotations", "categories"}) {
      const auto found = rest.find(list);
      if (found == rest.end() || !found->is_array())
        refuse_coco(fmt::format("it has no list '{}'", list), file_.path.string());
      if (!found->empty())
        refuse_coco(fmt::format("the list '{}' holds what is no object", list), file_.path.string());
    }
  }

  void check_ids() {
    std::sort(ids_.begin(), ids_.end());
    const auto twice = std::adjacent_find(ids_.begin(), ids_.end());
    if (twice != ids_.end())
      refuse_coco(fmt::format("two annotations have the id {}", *twice), file_.path.string());
  }

  /// Lists may stand in any order, so that references are looked up at the end.
  void resolve() {
    for (CocoFile::Place& place : file_.annotations) {
      const OpenReference& reference = open_[static_cast<std::size_t>(place.number)];
      const auto where = [&] { return place_of(file_.path, "annotations", place.number); };
      const auto image = image_of_.find(reference.image);
      if (image == image_of_.end())
        refuse_coco(fmt::format("there is no image with the id {}", reference.image), where());
      if (!file_.type_of.contains(reference.category))
        refuse_coco(fmt::format("there is no category with the id {}", reference.category), where());
      place.image = static_cast<std::int32_t>(image->second);
    }
    const auto by_image = [](const CocoFile::Place& a, const CocoFile::Place& b) {
      return std::pair(a.image, a.number) < std::pair(b.image, b.number);
    };
    std::sort(file_.annotations.begin(), file_.annotations.end(), by_image);
    file_.first.assign(file_.images.size() + 1, 0);
    for (const CocoFile::Place& place : file_.annotations)
      ++file_.first[static_cast<std::size_t>(place.image) + 1];
    std::partial_sum(file_.first.begin(), file_.first.end(), file_.first.begin());
  }

  CocoFile& file_;
  const std::vector<std::string>& facts_;
  std::string list_;                         // the key of the file that is read
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
  std::int64_t count_ = 0, start_ = 0;       // characters that were read; where the entry began
  std::unordered_map<std::int64_t, std::size_t> image_of_;  // by id
  std::vector<std::int64_t> ids_;                           // of annotations
  std::vector<OpenReference> open_;                         // one an annotation
};

/// {"counts": runs or their text, "size": [height, width]}.
RunLengths runs_of(const Json& json, const CocoImage& image, const std::string& where) {
  const auto counts = json.find("counts"), size = json.find("size");
  if (counts == json.end() || size == json.end())
    refuse_coco("a segmentation has no 'counts' or no 'size'", where);
  if (*size != Json::array({image.height, image.width}))
    refuse_coco(fmt::format("a segmentation has the size {}, its image [{},{}]", size->dump(), image.height,
                            image.width),
                where);
  const std::int64_t pixels = image.height * image.width;
  if (counts->is_string()) return parse_run_lengths(counts->get<std::string>(), pixels, where);
  RunLengths runs;
  for (const double count : coco_numbers(*counts, "counts", where)) {
    constexpr double kMost = 1e15;  // what a double counts exactly
    if (!(count >= 0 && count <= kMost)) refuse_coco("'counts' holds what counts no pixels", where);
    runs.push_back(static_cast<std::int64_t>(count));
  }
  return checked_run_lengths(std::move(runs), pixels, where);
}

std::vector<RunLengths> regions_of(const Json& entry, const CocoImage& image, const std::string& where) {
  const auto found = entry.find("segmentation");
  if (found == entry.end() || found->empty())
    throw DataError({"the annotation has no segmentation", where,
                     "leave --masks out, or leave the image out with --on-error skip"});
  if (found->is_object()) return {runs_of(*found, image, where)};
  if (!found->is_array()) refuse_coco("'segmentation' is neither polygons nor runs", where);
  std::vector<RunLengths> regions;
  for (const Json& polygon : *found)
    regions.push_back(
        runs_of_polygon(coco_numbers(polygon, "segmentation", where), image.height, image.width, where));
  return regions;
}

/// How many there are, and their bytes.
template <class Value>
void append_values(std::string& text, std::span<const Value> values) {
  static_assert(std::is_trivially_copyable_v<Value>);
  const std::size_t count = values.size();
  const auto append = [&](const void* from, std::size_t bytes) {
    text.append(static_cast<const char*>(from), bytes);
  };
  append(&count, sizeof count);
  append(values.data(), values.size_bytes());
}

template <class Value>
std::vector<Value> taken_values(std::string_view& text) {
  std::size_t count = 0;
  COHORT_CHECK(text.size() >= sizeof count, "{} bytes of a COCO file", text.size());
  std::memcpy(&count, text.data(), sizeof count);
  text.remove_prefix(sizeof count);
  COHORT_CHECK(text.size() / sizeof(Value) >= count, "{} bytes for {} values", text.size(), count);
  std::vector<Value> values(count);
  if (count > 0) std::memcpy(values.data(), text.data(), count * sizeof(Value));
  text.remove_prefix(count * sizeof(Value));
  return values;
}

/// Height and width of an image, and the length of its name.
using Entry = std::array<std::int64_t, 3>;

Json read_entry(std::istream& stream, const CocoFile::Place& place, const std::string& where) {
  std::string text(static_cast<std::size_t>(place.bytes), '\0');
  stream.seekg(place.offset);
  stream.read(text.data(), place.bytes);
  Json entry = stream ? Json::parse(text, nullptr, false) : Json();
  if (!entry.is_object()) refuse_coco("it has changed while it was read", where);
  return entry;
}

}  // namespace

CocoFile read_coco(const std::filesystem::path& file, const std::vector<std::string>& facts) {
  CocoFile coco;
  coco.path = file;
  CocoReader(coco, facts).read();
  return coco;
}

std::string packed_coco(const CocoFile& file) {
  std::string names, text;
  std::vector<Entry> entries;
  for (const CocoImage& image : file.images) {
    names += image.file;
    entries.push_back({image.height, image.width, std::ssize(image.file)});
  }
  const std::string categories =
      Json{file.categories, std::vector(file.type_of.begin(), file.type_of.end())}.dump();
  append_values(text, std::span<const char>(file.path.native()));
  append_values(text, std::span<const char>(categories));
  append_values(text, std::span<const char>(names));
  append_values(text, std::span<const Entry>(entries));
  append_values(text, std::span<const CocoFile::Place>(file.annotations));
  append_values(text, std::span<const std::size_t>(file.first));
  append_values(text, std::span<const std::int32_t>(file.crowds));
  return text;
}

CocoFile unpacked_coco(std::string_view packed) {
  CocoFile file;
  const std::vector<char> path = taken_values<char>(packed), text = taken_values<char>(packed),
                          names = taken_values<char>(packed);
  file.path = std::string(path.begin(), path.end());
  const Json categories = Json::parse(text);
  categories.at(0).get_to(file.categories);
  for (const auto& [id, type] : categories.at(1).get<std::vector<std::pair<std::int64_t, std::int64_t>>>())
    file.type_of.emplace(id, type);
  auto name = names.begin();
  for (const auto& [height, width, length] : taken_values<Entry>(packed)) {
    file.images.push_back({std::string(name, name + length), height, width});
    name += length;
  }
  file.annotations = taken_values<CocoFile::Place>(packed);
  file.first = taken_values<std::size_t>(packed);
  file.crowds = taken_values<std::int32_t>(packed);
  return file;
}

std::vector<CocoObject> read_coco_objects(const CocoFile& file, std::size_t image, bool with_regions) {
  std::ifstream stream(file.path, std::ios::binary);
  std::vector<CocoObject> objects;
  for (std::size_t i = file.first[image]; i < file.first[image + 1]; ++i) {
    const std::string where = place_of(file.path, "annotations", file.annotations[i].number);
    const Json entry = read_entry(stream, file.annotations[i], where);
    const auto box = entry.find("bbox");
    const std::vector<double> numbers =
        box == entry.end() ? std::vector<double>() : coco_numbers(*box, "bbox", where);
    if (numbers.size() != 4) refuse_coco("the annotation has no bbox of x, y, width and height", where);
    CocoObject object{file.type_of.at(coco_integer(entry, "category_id", where)), is_crowd(entry, where)};
    std::copy(numbers.begin(), numbers.end(), object.box.begin());
    if (with_regions) object.regions = regions_of(entry, file.images[image], where);
    object.where = where;
    objects.push_back(std::move(object));
  }
  return objects;
}

}  // namespace cohort::data_prep
