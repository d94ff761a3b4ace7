#include "cohort/data/description.h"

#include <algorithm>
#include <optional>
#include <set>
#include <span>
#include <sys/stat.h>

#include <fmt/format.h>

#include "cohort/comm/communicator.h"
#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/host.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"

#include "data/description_json.h"

namespace cohort::data {
namespace {

constexpr const char* kFile = "dataset.json";

void check_names_of(const std::string& kind, const std::vector<std::string>& names) {
  std::set<std::string_view> seen;
  for (const std::string& name : names) {
    if (!is_utf8(name)) {
      throw DataError({fmt::format("the name of a {} is not valid UTF-8: '{}'", kind, printable(name)),
                       "the images to be written",
                       "rename it; iconv turns tables, and convmv names of files, into UTF-8"});
    }
    if (!seen.insert(name).second) {
      throw DataError({fmt::format("'{}' is twice the name of a {}", name, kind), "the images to be written",
                       "rename one of them, or name it once"});
    }
  }
}

template <class Element>
const Element& find(const std::vector<Element>& elements, std::string_view name, const char* kind,
                    const std::string& dataset) {
  const auto found =
      std::find_if(elements.begin(), elements.end(), [&](const Element& e) { return e.name == name; });
  if (found != elements.end()) return *found;
  const std::vector<std::string> names = names_of(elements);
  throw UsageError({fmt::format("the dataset has no {} '{}'", kind, name), fmt::format("dataset {}", dataset),
                    names.empty() ? fmt::format("it has no {} at all", kind) : did_you_mean(name, names)});
}

}  // namespace

std::string_view fit_name(Fit fit) noexcept {
  if (fit == Fit::stretch) return "stretch";
  return fit == Fit::crop ? "crop" : "pad";
}

std::optional<Fit> fit_of(std::string_view name) noexcept {
  for (const Fit fit : {Fit::stretch, Fit::crop, Fit::pad}) {
    if (name == fit_name(fit)) return fit;
  }
  return std::nullopt;
}

std::string problem_beside(const Field& field, const ImageLayout& images) {
  if (!field.of.empty()) return "";
  const bool is_place = field.kind == FieldKind::boxes || field.kind == FieldKind::points;
  if (is_place && images.is_volume())
    return fmt::format("is of kind {}, which lie in images: those of this dataset are volumes",
                       field_kind_name(field.kind));
  const bool is_deep = field.shape.size() == 3;
  if (field.kind != FieldKind::mask || is_deep == images.is_volume()) return "";
  return fmt::format(
      "has masks of {} dimensions, of {}", field.shape.size(),
      images.is_volume() ? "volumes, whose masks are [D, H, W]" : "images, whose masks are [H, W]");
}

void check_images_alone(const ImageLayout& images, const std::string& dataset, const std::string& who) {
  if (!images.is_volume()) return;
  throw UsageError(
      {fmt::format("{} takes images, those of the dataset are volumes of depth {}", who, images.depth),
       fmt::format("dataset {}", dataset), "use a dataset of images, for example of the volumes' slices"});
}

std::int64_t Split::rows() const noexcept {
  std::int64_t total = 0;
  for (const ShardEntry& shard : shards) total += shard.rows;
  return total;
}

namespace {

std::string read_text(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kFile;
  if (!std::filesystem::is_directory(folder)) {
    throw DataError(
        {"there is no such dataset", folder.string(), "check data.path; cohort-data convert makes datasets"});
  }
  if (!std::filesystem::exists(file)) {
    throw DataError({"the folder holds no dataset.json", folder.string(),
                     "it is not a dataset, or its conversion did not finish: run cohort-data convert again"});
  }
  return read_file(file, kMostRecords);
}

/// Tells a file from its copies on other disks, without reading it. Empty when it is not there.
std::string stamp_of(const std::filesystem::path& folder) {
  struct stat status {};
  if (::stat((folder / kFile).c_str(), &status) != 0) return "";
  return fmt::format("{} {} {}.{}", status.st_ino, status.st_size, status.st_mtim.tv_sec,
                     status.st_mtim.tv_nsec);
}

std::string identity_of(const Description& description, const std::string& content) {
  return fmt::format("{} {}", description.name,
                     checksum_text(checksum(std::as_bytes(std::span(content.data(), content.size())))));
}

/// The file that this rank sees is another one than that of rank 0: it has to say the same.
void check_copy(const Description& first, const std::string& content, const std::filesystem::path& folder) {
  const std::string copy = read_text(folder);
  if (copy == content) return;
  throw UsageError(
      {fmt::format("ranks see different datasets: '{}' on rank 0, '{}' here", identity_of(first, content),
                   identity_of(parse_description(copy, (folder / kFile).string()), copy)),
       fmt::format("{} on {}", (folder / kFile).string(), host_name()),
       "copy the same dataset to all hosts"});
}

const std::string& channel_named(const std::string& wanted, const std::vector<std::string>& known,
                                 const std::string& where) {
  for (const std::string& name : {wanted, "channel_" + wanted}) {
    const auto found = std::find(known.begin(), known.end(), name);
    if (found != known.end()) return *found;
  }
  throw UsageError({fmt::format("there is no channel '{}'", wanted), where, did_you_mean(wanted, known)});
}

}  // namespace

Description Description::read(const std::filesystem::path& folder) {
  return parse_description(read_text(folder), (folder / kFile).string());
}

Description Description::read(const std::filesystem::path& folder, comm::Communicator& ranks) {
  std::string content, stamp;
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    content = read_text(folder);
    stamp = stamp_of(folder);
  });
  content = ranks.broadcast_text(std::move(content));
  stamp = ranks.broadcast_text(std::move(stamp));
  Description description;
  comm::together(ranks, [&] {
    description = parse_description(content, (folder / kFile).string());
    if (stamp_of(folder) != stamp) check_copy(description, content, folder);
  });
  return description;
}

void Description::check_names() const {
  check_names_of("dataset", {name});
  check_names_of("licence", {license});
  check_names_of("channel", channels);
  check_names_of("split", names_of(splits));
  check_names_of("label", names_of(labels));
  check_names_of("context key", names_of(contexts));
  for (const LabelColumn& label : labels) check_names_of("class of '" + label.name + "'", label.classes);
  for (const ContextColumn& context : contexts)
    check_names_of("value of '" + context.name + "'", context.values);
  for (const Field& field : fields) check_names_of("class or value of '" + field.name + "'", field.names);
  for (const auto& others : {names_of(labels), names_of(contexts)}) {
    std::vector<std::string> all = names_of(fields);
    all.insert(all.end(), others.begin(), others.end());
    check_names_of("field", all);
  }
}

void Description::write(const std::filesystem::path& folder) const {
  check_names();
  write_file_atomically(folder / kFile, description_text(*this));
}

const Split& Description::split(std::string_view wanted) const {
  return find(splits, wanted, "split", name);
}
std::vector<std::string> with_images(const Description& description, const std::vector<std::string>& splits) {
  std::vector<std::string> found;
  for (const std::string& name : splits) {
    if (description.split(name).rows() > 0) {
      found.push_back(name);
    } else {
      log_warning(fmt::format("split '{}' has no images and is passed over", name));
    }
  }
  return found;
}

const LabelColumn& Description::label(std::string_view wanted) const {
  return find(labels, wanted, "label", name);
}
const ContextColumn& Description::context(std::string_view wanted) const {
  return find(contexts, wanted, "context key", name);
}

const Field& Description::field(std::string_view wanted) const {
  return find(fields, wanted, "field", name);
}

bool Description::has_label(std::string_view wanted) const noexcept {
  return std::any_of(labels.begin(), labels.end(),
                     [&](const LabelColumn& column) { return column.name == wanted; });
}

const std::vector<std::string>& Description::values(std::string_view column) const {
  if (has_label(column)) return label(column).classes;
  std::vector<std::string> known = names_of(labels);
  for (const ContextColumn& context : contexts) {
    if (context.name == column) return context.values;
    known.push_back(context.name);
  }
  throw UsageError({fmt::format("the dataset has no label or context '{}'", column),
                    fmt::format("dataset {}", name), did_you_mean(column, known)});
}

std::vector<std::string> channels_named(const std::vector<std::string>& wanted,
                                        const std::vector<std::string>& known, const std::string& where) {
  std::vector<std::string> names;
  for (const std::string& each : wanted) {
    const std::string& name = channel_named(each, known, where);
    if (std::find(names.begin(), names.end(), name) != names.end())
      throw UsageError({fmt::format("channel '{}' is named twice", name), where, "name each channel once"});
    names.push_back(name);
  }
  return names;
}

Description with_channels(Description description, const std::vector<std::string>& channels) {
  if (channels.empty()) return description;
  const std::vector<std::string> all = std::move(description.channels);
  const std::vector<double> mean = std::move(description.mean), deviation = std::move(description.deviation);
  description.channels = channels_named(channels, all, fmt::format("dataset {}", description.name));
  description.images.channels = std::ssize(description.channels);
  description.mean.clear(), description.deviation.clear();
  for (const std::string& name : description.channels) {
    const auto place = static_cast<std::size_t>(std::find(all.begin(), all.end(), name) - all.begin());
    description.mean.push_back(mean[place]);
    description.deviation.push_back(deviation[place]);
  }
  return description;
}

}  // namespace cohort::data
