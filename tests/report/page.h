#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "cohort/core/file.h"
#include "cohort/report/report.h"

#include "../support/temporary_folder.h"

namespace cohort::report {

using Paths = std::vector<std::filesystem::path>;

/// The first place where tags are not closed in order; empty when all are.
inline std::string first_imbalance(const std::string& html) {
  std::vector<std::string> open;
  for (std::size_t at = 0; (at = html.find('<', at)) != std::string::npos; ++at) {
    if (html.compare(at, 2, "<!") == 0) continue;
    const std::size_t end = html.find('>', at);
    if (end == std::string::npos || html.find('<', at + 1) < end) return html.substr(at, 80);
    const bool closes = html[at + 1] == '/';
    const std::size_t begin = at + (closes ? 2 : 1);
    const std::string name = html.substr(begin, html.find_first_of(" />\n", begin) - begin);
    if (closes && (open.empty() || open.back() != name)) return html.substr(at, 80);
    if (closes)
      open.pop_back();
    else if (html[end - 1] != '/')
      open.push_back(name);
  }
  return open.empty() ? "" : "never closed: " + open.back();
}

inline std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++found;
  return found;
}

inline std::string html_of(const testing::TemporaryFolder& folder, const Paths& runs,
                           const PictureOf& picture_of = {}) {
  write_html(runs, folder.path() / "report.html", picture_of);
  return read_file(folder.path() / "report.html");
}

}  // namespace cohort::report
