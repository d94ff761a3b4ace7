#pragma once
// Tar archives, byte by byte.
#include <cstdio>
#include <string>

namespace cohort::testing {

/// A header with its checksum. `type`: '0' file, '1' and '2' links to `target`, 'x' pax.
inline std::string tar_header(const std::string& name, char type, std::size_t bytes,
                              const std::string& target = "") {
  std::string block(512, '\0');
  block.replace(0, name.size(), name);
  block.replace(157, target.size(), target);
  char digits[24];
  std::snprintf(digits, sizeof digits, "%011o", static_cast<unsigned>(bytes));
  block.replace(124, 11, digits);
  block[156] = type;
  block.replace(148, 8, 8, ' ');
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  std::snprintf(digits, sizeof digits, "%06o", sum);
  block.replace(148, 7, std::string(digits, 6) + '\0');
  return block;
}

inline std::string padded(std::string content) {
  content.resize((content.size() + 511) / 512 * 512, '\0');
  return content;
}

inline std::string tar_file(const std::string& name, const std::string& content) {
  return tar_header(name, '0', content.size()) + padded(content);
}

/// What stands behind the last member.
inline std::string tar_end() {
  return std::string(1024, '\0');
}

}  // namespace cohort::testing
