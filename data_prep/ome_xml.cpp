#include "data_prep/ome_xml.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "cohort/core/printable.h"

#include "data_prep/xml.h"

namespace cohort::data_prep {
namespace {

using Xml = boost::property_tree::ptree;

Xml parsed(std::string_view text) {
  try {
    return parse_xml(text);
  } catch (const XmlProblem& problem) {
    throw OmeProblem(fmt::format("its OME-XML is damaged: {}", problem.what()));
  }
}

/// Elements `name` of `parent`, whatever their prefix.
std::vector<const Xml*> elements(const Xml& parent, std::string_view name) {
  std::vector<const Xml*> found;
  for (const auto& [tag, child] : parent) {
    const std::size_t colon = tag.find(':');
    const std::string_view own = std::string_view(tag).substr(colon == std::string::npos ? 0 : colon + 1);
    if (own == name) found.push_back(&child);
  }
  return found;
}

std::string attribute(const Xml& element, const std::string& name, const std::string& missing = "") {
  const auto attributes = element.get_child_optional("<xmlattr>");
  if (!attributes) return missing;
  const auto found = attributes->find(name);
  return found == attributes->not_found() ? missing : found->second.data();
}

constexpr std::int64_t kMostPages = 1 << 22;

/// An attribute that is an integer from `least` on.
std::int64_t number(const Xml& element, const std::string& name, std::int64_t least,
                    std::optional<std::int64_t> missing = {}) {
  const std::string text = attribute(element, name);
  if (text.empty() && missing) return *missing;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  if (is_number && value >= least && value <= kMostPages) return value;
  throw OmeProblem(fmt::format("its OME-XML has '{}' for {}", printable_name(text), name));
}

/// How far the axes z, c and t are apart in the order of the pages.
struct Strides {
  std::int64_t z = 0, c = 0, t = 0;
};

Strides strides_of(const std::string& order, const OmeSeries& series) {
  std::string axes = order.substr(0, 2) == "XY" ? order.substr(2) : "";
  Strides strides;
  std::int64_t stride = 1;
  for (const char axis : axes) {
    if (axis == 'Z') stride *= series.planes, strides.z = stride / series.planes;
    if (axis == 'C') stride *= series.pages_of_plane, strides.c = stride / series.pages_of_plane;
    if (axis == 'T') stride *= series.times, strides.t = stride / series.times;
  }
  std::sort(axes.begin(), axes.end());
  if (axes != "CTZ")
    throw OmeProblem(fmt::format("its OME-XML has '{}' for DimensionOrder", printable_name(order)));
  return strides;
}

/// The file that a TiffData element tells of; empty: that with the XML.
std::string file_of(const Xml& tiff_data, const std::string& own_uuid, const std::string& own_name) {
  const auto uuids = elements(tiff_data, "UUID");
  if (uuids.empty() || (!own_uuid.empty() && uuids.front()->data() == own_uuid)) return "";
  const std::string name = attribute(*uuids.front(), "FileName");
  if (name == own_name) return "";
  const bool is_name = !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
                       name.find('\0') == std::string::npos;
  if (!is_name) throw OmeProblem(fmt::format("its OME-XML has '{}' for FileName", printable_name(name)));
  return name;
}

/// Puts the pages that one TiffData element names where they belong. How many.
std::int64_t add_pages(const Xml& tiff_data, const std::string& file, const Strides& strides,
                       OmeSeries& series) {
  const std::int64_t first = number(tiff_data, "FirstZ", 0, 0) * strides.z +
                             number(tiff_data, "FirstC", 0, 0) * strides.c +
                             number(tiff_data, "FirstT", 0, 0) * strides.t;
  const auto all = std::ssize(series.pages);
  const bool has_page = !attribute(tiff_data, "IFD").empty();
  const std::int64_t page = number(tiff_data, "IFD", 0, 0),
                     count = number(tiff_data, "PlaneCount", 0, has_page ? 1 : all - first);
  if (first >= all || first + count > all) throw OmeProblem("its OME-XML names more planes than there are");
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = first + i;
    const std::int64_t z = at / strides.z % series.planes, c = at / strides.c % series.pages_of_plane,
                       t = at / strides.t % series.times;
    series.pages[static_cast<std::size_t>((t * series.planes + z) * series.pages_of_plane + c)] = {file,
                                                                                                   page + i};
  }
  return count;
}

std::vector<std::string> names_of_channels(const std::vector<const Xml*>& channels, std::int64_t count) {
  std::vector<std::string> names;
  for (const Xml* channel : channels) names.push_back(attribute(*channel, "Name"));
  const std::set<std::string> different(names.begin(), names.end());
  const bool all = std::ssize(names) == count && different.size() == names.size() && !different.contains("");
  return all ? names : std::vector<std::string>{};
}

/// Channels of a page: as the first channel says; of one that stands for all of them, all.
std::int64_t samples_of_page(const std::vector<const Xml*>& channels, std::int64_t count) {
  const std::int64_t missing = channels.size() == 1 ? count : 1;
  const std::int64_t samples =
      channels.empty() ? 1 : number(*channels.front(), "SamplesPerPixel", 1, missing);
  if (count % samples == 0) return samples;
  throw OmeProblem(fmt::format("its OME-XML has {} channels, {} of each page", count, samples));
}

/// `is_only`: there is no other image.
OmeSeries series_of(const Xml& image, bool is_only, const std::string& own_uuid,
                    const std::string& own_name) {
  const auto pixels = elements(image, "Pixels");
  if (pixels.empty()) throw OmeProblem("its OME-XML has an Image without Pixels");
  const Xml& element = *pixels.front();
  const auto channels = elements(element, "Channel");
  const std::int64_t count = number(element, "SizeC", 1);
  OmeSeries series;
  series.samples = samples_of_page(channels, count);
  series.pages_of_plane = count / series.samples;
  series.planes = number(element, "SizeZ", 1);
  series.times = number(element, "SizeT", 1);
  const double pages = static_cast<double>(series.pages_of_plane) * static_cast<double>(series.planes) *
                       static_cast<double>(series.times);
  if (pages > static_cast<double>(kMostPages)) throw OmeProblem("its OME-XML claims too many planes");
  series.channels = names_of_channels(channels, count);
  series.pages.resize(static_cast<std::size_t>(pages));
  const Strides strides = strides_of(attribute(element, "DimensionOrder", "XYCZT"), series);
  const auto tiff_data = elements(element, "TiffData");
  std::int64_t named = 0;
  for (const Xml* data : tiff_data) {
    named += add_pages(*data, file_of(*data, own_uuid, own_name), strides, series);
    if (named > kMostPages) throw OmeProblem("its OME-XML names too many planes");
  }
  if (tiff_data.empty() && is_only) add_pages(Xml(), "", strides, series);
  return series;
}

/// Of a row or column of a plate, numbered from 0: A, B, … Z, AA, or 1, 2, …
std::string name_on_plate(std::int64_t index, const std::string& convention) {
  if (convention == "number") return std::to_string(index + 1);
  std::string name;
  for (std::int64_t rest = index + 1; rest > 0; rest = (rest - 1) / 26)
    name.insert(name.begin(), static_cast<char>('A' + (rest - 1) % 26));
  return name;
}

/// What plates say of images, by the ids of these.
std::map<std::string, std::map<std::string, std::string>> facts_of_plates(const Xml& ome) {
  std::map<std::string, std::map<std::string, std::string>> facts;
  for (const Xml* plate : elements(ome, "Plate")) {
    for (const Xml* well : elements(*plate, "Well")) {
      const std::string row =
          name_on_plate(number(*well, "Row", 0), attribute(*plate, "RowNamingConvention", "letter"));
      const std::string column =
          name_on_plate(number(*well, "Column", 0), attribute(*plate, "ColumnNamingConvention", "number"));
      std::int64_t field = 0;
      for (const Xml* sample : elements(*well, "WellSample")) {
        for (const Xml* image : elements(*sample, "ImageRef")) {
          facts[attribute(*image, "ID")] = {{"plate", attribute(*plate, "Name", attribute(*plate, "ID"))},
                                            {"row", row},
                                            {"column", column},
                                            {"well", row + column},
                                            {"field", std::to_string(field)}};
        }
        ++field;
      }
    }
  }
  return facts;
}

}  // namespace

std::vector<OmeSeries> parse_ome_xml(std::string_view xml, const std::string& own_name) {
  const Xml document = parsed(xml);
  const auto roots = elements(document, "OME");
  if (roots.empty()) throw OmeProblem("its XML is not OME-XML");
  const Xml& ome = *roots.front();
  if (!elements(ome, "BinaryOnly").empty()) return {};
  const auto facts = facts_of_plates(ome);
  std::vector<OmeSeries> series;
  std::int64_t pages = 0;
  const auto images = elements(ome, "Image");
  for (const Xml* image : images) {
    series.push_back(series_of(*image, images.size() == 1, attribute(ome, "UUID"), own_name));
    pages += std::ssize(series.back().pages);
    if (pages > kMostPages) throw OmeProblem("its OME-XML claims too many planes");
    const auto found = facts.find(attribute(*image, "ID"));
    if (found != facts.end()) series.back().facts = found->second;
  }
  if (series.empty()) throw OmeProblem("its OME-XML has no Image");
  return series;
}

}  // namespace cohort::data_prep
