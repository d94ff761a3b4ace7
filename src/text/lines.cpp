#include "lines.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"

namespace cohort::text {

std::vector<std::string> read_text_lines(const std::filesystem::path& file, const std::string& what) {
  const std::string content = read_file(file, kMostVocabulary);
  if (content.starts_with("\x1F\x8B"))
    throw DataError({fmt::format("the {} file is compressed", what), file.string(),
                     fmt::format("unpack it first: gzip -dc '{}' > {}.txt", file.string(), what)});
  std::string_view rest = content;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);
  std::vector<std::string> lines;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string line(rest.substr(0, end));
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(std::move(line));
    if (!is_utf8(lines.back()))
      throw DataError({fmt::format("the {} file is not UTF-8", what),
                       fmt::format("{}:{}", file.string(), lines.size()),
                       "give the file as it was published, or save it as UTF-8"});
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return lines;
}

}  // namespace cohort::text
