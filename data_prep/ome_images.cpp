#include "data_prep/ome_images.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "data_prep/facts.h"
#include "data_prep/image_file.h"
#include "data_prep/planes.h"

namespace cohort::data_prep {
namespace {

/// What ranks tell each other of series `number` of a file.
nlohmann::json header_of(const OmeSeries& series, std::size_t number) {
  return {{"number", number},
          {"planes", series.planes},
          {"times", series.times},
          {"channels", series.channels},
          {"facts", series.facts}};
}

/// How many series the XML tells of, those that begin in this file, and files where others begin that are not
/// there: each file of a set tells of all of its series, which would be too much to share.
nlohmann::json header_of(const std::vector<std::string>& paths, std::size_t file,
                         const std::vector<OmeSeries>& all) {
  nlohmann::json own = nlohmann::json::array(), missing = nlohmann::json::array();
  for (std::size_t number = 0; number < all.size(); ++number) {
    const std::string& begins_in = all[number].pages.front().file;
    const auto there = std::filesystem::path(paths[file]).replace_filename(begins_in).generic_string();
    if (begins_in.empty())
      own.push_back(header_of(all[number], number));
    else if (!std::binary_search(paths.begin(), paths.end(), there))
      missing.push_back(there);
  }
  return {{"count", all.size()}, {"own", own}, {"missing", missing}};
}

}  // namespace

const std::vector<std::string>& facts_of_images() {
  static const std::vector<std::string> facts{"file", "image", "plate", "row",  "column",
                                              "well", "field", "time",  "plane"};
  return facts;
}

OmeImages::OmeImages(std::filesystem::path root, std::vector<std::string> paths, OmeOptions options,
                     LeftOut& left_out, comm::Communicator& ranks)
    : root_(std::move(root)), paths_(std::move(paths)), options_(std::move(options)) {
  source.where = root_.string();
  source.axes = options_.axes;
  read_headers(ranks, left_out);
  for (std::size_t file = 0; file < paths_.size(); ++file) source.archives.push_back(path(file));
  source.content = checksum_of("planes " + options_.planes);
  const auto row = [this](std::int64_t i) { return rows_[static_cast<std::size_t>(i)]; };
  source.place = [=, this](std::int64_t i) { return path(row(i).file).string(); };
  source.image = [=, this](std::int64_t i) { return read(row(i)); };
  source.file = [=, this](std::int64_t i) {
    return row(i).series < 0 ? read_file(path(row(i).file)) : std::string();
  };
}

void OmeImages::read_headers(comm::Communicator& ranks, LeftOut& left_out) {
  const bool is_first = ranks.rank() == 0;
  share_texts(
      std::ssize(paths_), ranks, [&](std::int64_t i) { return header(static_cast<std::size_t>(i)); },
      [&](std::int64_t i, const std::string& header) {
        add_file(static_cast<std::size_t>(i), header, is_first, left_out);
      });
  comm::together(ranks, [&] {
    if (rows_.empty())
      throw DataError({"no file of the folder has an image", source.where, "check the path and the options"});
  });
}

/// Of its series; empty: the file is no OME-TIFF; a text: why it cannot be read.
std::string OmeImages::header(std::size_t file) const {
  if (!is_called_ome_tiff(paths_[file])) return "";
  nlohmann::json header;
  try {
    const OmeTiff tiff(path(file));
    if (!tiff.has_xml()) return "";
    header = header_of(paths_, file, tiff.series());
  } catch (const DataError& error) {
    if (!options_.skips) throw;
    header = error.text().what;
  }
  return header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void OmeImages::add_file(std::size_t file, const std::string& header, bool has_facts, LeftOut& left_out) {
  if (header.empty()) return add({file, -1, 0, 0}, paths_[file]);
  const nlohmann::json all = nlohmann::json::parse(header);
  if (all.is_string()) return left_out.add("files of OME-TIFF that cannot be read", paths_[file]);
  const auto count = all.at("count").get<std::size_t>();
  if (count == 0) return left_out.add("files of OME-TIFF whose XML stands in another one", paths_[file]);
  for (const nlohmann::json& there : all.at("missing"))
    left_out.add("series of OME-TIFF whose first page is in a file that is not there",
                 there.get<std::string>());
  for (const nlohmann::json& series : all.at("own")) {
    const auto index = series.at("number").get<std::int64_t>();
    if (auto known = series.at("facts").get<Known>(); has_facts && !known.empty())
      facts_[{file, index}] = std::move(known);
    keep_channels(series.at("channels").get<std::vector<std::string>>(), file);
    const std::string id = count == 1 ? paths_[file] : fmt::format("{}/{}", paths_[file], index);
    const auto times = series.at("times").get<std::int64_t>();
    for (std::int64_t time = 0; time < times; ++time) {
      for (const std::int64_t plane :
           planes_of(series.at("planes").get<std::int64_t>(), options_.planes, path(file).string())) {
        add({file, index, time, plane}, id + (times > 1 ? fmt::format("_t{:03}", time) : "") +
                                            (options_.planes == "each" ? fmt::format("_z{:03}", plane) : ""));
      }
    }
  }
}

void OmeImages::add(const Row& row, std::string id) {
  rows_.push_back(row);
  source.ids.push_back(std::move(id));
}

/// Channels are told apart by their places: under other names they would be others.
void OmeImages::keep_channels(const std::vector<std::string>& channels, std::size_t file) {
  if (!first_named_) {
    first_named_ = file;
    source.channels = channels;
  }
  if (options_.channels_named || channels == source.channels) return;
  throw DataError({fmt::format("the channels are called otherwise ({}) than those of {} ({})",
                               join(channels, ", "), paths_[*first_named_], join(source.channels, ", ")),
                   path(file).string(), "if they are the same in the same order, name them with --channels"});
}

Categories OmeImages::fact(const std::string& name) const {
  return {std::ssize(rows_),
          [this, name](std::int64_t i) { return fact_of(rows_[static_cast<std::size_t>(i)], name); }};
}

std::string OmeImages::fact_of(const Row& row, const std::string& name) const {
  if (name == "file") return paths_[row.file];
  if (row.plane < 0 && name == "plane") return options_.planes;
  if (row.series < 0) return "";
  if (name == "image") return std::to_string(row.series);
  if (name == "time") return std::to_string(row.time);
  if (name == "plane") return std::to_string(row.plane);
  const auto known = facts_.find({row.file, row.series});
  return known != facts_.end() && known->second.contains(name) ? known->second.at(name) : "";
}

Image OmeImages::read(const Row& row) {
  if (row.series < 0) return read_image(path(row.file), options_.axes);
  if (!open_ || row.file != open_file_) open_.emplace(path(row.file));
  open_file_ = row.file;
  const auto number = static_cast<std::size_t>(row.series);
  if (number >= open_->series().size())
    throw DataError(
        {"the file has changed since its XML was read", path(row.file).string(), "convert again"});
  const OmeSeries& series = open_->series()[number];
  if (row.plane >= 0) return open_->read(series, row.time, row.plane);
  Image image = open_->read(series, row.time, 0);
  Projection projection(options_.planes == "mean", image.layout);
  projection.add(image.pixels);
  for (std::int64_t plane = 1; plane < series.planes; ++plane)
    projection.add(open_->read(series, row.time, plane).pixels);
  projection.write(image.pixels);
  return image;
}

}  // namespace cohort::data_prep
