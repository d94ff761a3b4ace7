#include "data_prep/image_file.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

namespace cohort::data_prep {

using namespace std::string_view_literals;

Image decode_image(std::string_view content, const std::string& where) {
  if (content.starts_with("\x89PNG\r\n"sv)) return decode_png(content, where);
  if (content.starts_with("\xff\xd8\xff"sv)) return decode_jpeg(content, where);
  if (content.starts_with("II*\0"sv) || content.starts_with("MM\0*"sv)) return decode_tiff(content, where);
  fail_decoding(content.empty() ? "the file is empty" : "it is neither PNG nor JPEG nor TIFF", where);
}

Image read_image(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) {
    throw DataError({"the image file is missing", file.string(), "restore it or take it off the list"});
  }
  return decode_image(read_file(file), file.string());
}

bool has_image_name(const std::filesystem::path& file) {
  constexpr std::array kEndings{".png"sv, ".jpg"sv, ".jpeg"sv, ".tif"sv, ".tiff"sv};
  std::string ending = file.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return std::find(kEndings.begin(), kEndings.end(), ending) != kEndings.end();
}

void fail_decoding(const std::string& reason, const std::string& where) {
  throw DataError({"the image cannot be read: " + reason, where, "replace the file or leave it out"});
}

}  // namespace cohort::data_prep
