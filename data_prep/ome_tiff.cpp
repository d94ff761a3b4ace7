#include "data_prep/ome_tiff.h"

#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "data_prep/image_file.h"

namespace cohort::data_prep {
namespace {

/// What `body` says of a file of OME-TIFF that cannot be read, with its name.
template <class Body>
auto naming(const std::filesystem::path& file, const Body& body) {
  try {
    return body();
  } catch (const TiffProblem& problem) {
    fail_decoding(std::string("TIFF: ") + problem.what(), file.string());
  } catch (const OmeProblem& problem) {
    fail_decoding(std::string("OME-TIFF: ") + problem.what(), file.string());
  }
}

/// Behind the channels of `image`.
void append_channels(Image& image, Image page) {
  const data::ImageLayout &all = image.layout, &more = page.layout;
  if (all.type != more.type || all.height != more.height || all.width != more.width)
    throw OmeProblem("its pages differ in size or type");
  image.layout.channels += more.channels;
  image.pixels.insert(image.pixels.end(), page.pixels.begin(), page.pixels.end());
}

}  // namespace

bool is_called_ome_tiff(const std::filesystem::path& file) {
  const std::string name = in_small_letters(file.filename().string());
  return name.ends_with(".ome.tif") || name.ends_with(".ome.tiff");
}

OmeTiff::OmeTiff(std::filesystem::path file) : path_(std::move(file)) {
  naming(path_, [this] {
    tiff_.emplace(path_);
    const std::string description = tiff_->description();
    has_xml_ = description.find("<OME") != std::string::npos || description.find(":OME") != std::string::npos;
    if (has_xml_) series_ = parse_ome_xml(description, path_.filename().string());
  });
}

Image OmeTiff::page(const OmePage& page) {
  if (page.page < 0) throw OmeProblem("its OME-XML names no page for one of its planes");
  if (page.file.empty()) {
    tiff_->open_page(page.page);
    return read_page(*tiff_);
  }
  if (!other_ || other_name_ != page.file) other_.emplace(path_.parent_path() / page.file);
  other_name_ = page.file;
  other_->open_page(page.page);
  return read_page(*other_);
}

Image OmeTiff::read(const OmeSeries& series, std::int64_t time, std::int64_t plane) {
  return naming(path_, [&] {
    Image image = page(series.page(time, plane, 0));
    const std::int64_t found = image.layout.channels;
    if (found != series.samples && !(image.remarks.alpha && found < series.samples))
      throw OmeProblem(
          fmt::format("its OME-XML has {} channels of each page, a page has {}", series.samples, found));
    for (std::int64_t number = 1; number < series.pages_of_plane; ++number)
      append_channels(image, page(series.page(time, plane, number)));
    return image;
  });
}

Image read_ome_tiff(const std::filesystem::path& file) {
  OmeTiff tiff(file);
  if (!tiff.has_xml()) return decode_tiff(read_file(file), file.string());
  if (tiff.series().size() == 1 && tiff.series().front().planes == 1 && tiff.series().front().times == 1)
    return tiff.read(tiff.series().front(), 0, 0);
  throw DataError({"the file of OME-TIFF has several images, or none", file.string(),
                   "convert images makes a row of each series, time point or plane"});
}

}  // namespace cohort::data_prep
