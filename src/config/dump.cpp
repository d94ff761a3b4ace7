#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

#include "cohort/config/load.h"
#include "cohort/core/text.h"

namespace cohort::config {
namespace {

bool is_text(const Field& field) {
  return field.type.find("text") != std::string::npos || field.type == "path";
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Plain YAML text that no reader takes for a number, a truth value, null or syntax. Conservative: everything
// else is quoted.
bool reads_as_text(const std::string& text) {
  constexpr std::array kWords{"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '/' || c == '.';
  };
  const bool starts_well = !text.empty() && (std::isalpha(static_cast<unsigned char>(text[0])) != 0 ||
                                             text[0] == '/' || text[0] == '_');
  return starts_well && std::all_of(text.begin(), text.end(), plain) &&
         std::find(kWords.begin(), kWords.end(), lower(text)) == kWords.end();
}

std::string double_quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') result += '\\';
    if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string value_text(const Field& field) {
  std::vector<std::string> values = field.get();
  if (is_text(field)) {
    for (std::string& value : values) value = reads_as_text(value) ? value : double_quoted(value);
  }
  return field.is_list ? fmt::format("[{}]", join(values, ", ")) : values.front();
}

std::string section_of(const std::string& key) {
  return key.substr(0, std::min(key.rfind('.'), key.size()));
}

std::vector<std::string> split_key(const std::string& key) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0, dot = 0; dot != std::string::npos; begin = dot + 1) {
    dot = key.find('.', begin);
    parts.push_back(key.substr(begin, dot == std::string::npos ? dot : dot - begin));
  }
  return parts;
}

/// Fields that stand directly in a section ("" is the root), in order.
std::vector<const Field*> direct_fields(const Fields& fields, const std::string& section) {
  std::vector<const Field*> direct;
  for (const Field& field : fields.list()) {
    const bool is_root = field.key.find('.') == std::string::npos;
    if (section.empty() ? is_root : !is_root && section_of(field.key) == section) direct.push_back(&field);
  }
  return direct;
}

/// The root and then every section that has options of its own.
std::vector<Fields::Section> blocks(const Fields& fields) {
  std::vector<Fields::Section> all{{"", ""}};
  all.insert(all.end(), fields.sections().begin(), fields.sections().end());
  std::erase_if(all, [&](const auto& section) { return direct_fields(fields, section.key).empty(); });
  return all;
}

std::string help_line(const Field& field, std::size_t width) {
  const std::string accepted = field.accepted.empty() ? "" : ", " + field.accepted;
  return fmt::format("  {:<{}}  {}{}; default {}\n  {:<{}}  {}\n", field.key, width, field.type, accepted,
                     value_text(field), "", width, field.description);
}

std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
  return text;
}

std::string markdown_row(const Field& field) {
  return fmt::format("| `{}` | {} | `{}` | {} | {} |\n", field.key, cell(field.type), cell(value_text(field)),
                     cell(field.accepted), cell(field.description));
}

}  // namespace

std::string dump(const Fields& fields, bool with_origin) {
  std::string text;
  std::vector<std::string> before;
  for (const Field& field : fields.list()) {
    const std::vector<std::string> parts = split_key(field.key);
    const std::size_t depth = parts.size() - 1;
    auto shared = static_cast<std::size_t>(
        std::mismatch(before.begin(), before.end(), parts.begin(), parts.end() - 1).first - before.begin());
    for (; shared < depth; ++shared) text += fmt::format("{:{}}{}:\n", "", 2 * shared, parts[shared]);
    text += fmt::format("{:{}}{}: {}", "", 2 * depth, parts.back(), value_text(field));
    text += with_origin ? fmt::format("  # {}{}\n", field.origin == "default" ? "" : "from ", field.origin)
                        : "\n";
    before.assign(parts.begin(), parts.end() - 1);
  }
  return text;
}

std::string help(const Fields& fields) {
  std::size_t width = 0;
  for (const Field& field : fields.list()) width = std::max(width, field.key.size());
  std::string text;
  for (const auto& section : blocks(fields)) {
    if (!text.empty()) text += '\n';
    text += section.key.empty() ? "General\n" : fmt::format("{}: {}\n", section.key, section.description);
    for (const Field* field : direct_fields(fields, section.key)) text += help_line(*field, width);
  }
  return text;
}

std::string markdown(const Fields& fields) {
  std::string text;
  for (const auto& section : blocks(fields)) {
    if (!text.empty()) text += '\n';
    text += section.key.empty() ? "## General\n\n"
                                : fmt::format("## {}\n\n{}\n\n", section.key, section.description);
    text += "| key | type | default | accepted | description |\n| --- | --- | --- | --- | --- |\n";
    for (const Field* field : direct_fields(fields, section.key)) text += markdown_row(*field);
  }
  return text;
}

}  // namespace cohort::config
