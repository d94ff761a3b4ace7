#include "command_line/help.h"

#include <algorithm>
#include <cctype>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/printable.h"
#include "cohort/core/terminal.h"

#include "command_line/command.h"

namespace cohort::command_line {
namespace {

constexpr std::size_t kColumns = 80;     // where there is no terminal
constexpr std::size_t kWidest = 100;     // longer lines are hard to read
constexpr std::size_t kTextColumn = 28;  // where descriptions begin
constexpr std::size_t kLeastText = 24;   // columns for them; else they stand below the names

/// A name and, beside or below it, its description.
std::string entry(const std::string& name, const std::string& text, std::size_t columns) {
  const bool below = columns < kTextColumn + kLeastText;
  const std::size_t indent = below ? 8 : kTextColumn;
  const std::vector<std::string> lines = wrapped(text, columns - std::min(columns - 1, indent));
  std::string result = "  " + name;
  const bool fits = !below && display_width(result) + 2 <= kTextColumn;
  result = fits ? left_aligned(result, kTextColumn) : result + "\n" + std::string(indent, ' ');
  for (std::size_t i = 0; i < lines.size(); ++i)
    result += (i == 0 ? "" : "\n" + std::string(indent, ' ')) + lines[i];
  return result + "\n";
}

std::string paragraphs(const std::string& text, std::size_t columns) {
  std::string result;
  for (const std::string& line : wrapped(text, columns)) result += line + "\n";
  return result;
}

std::string option_name(const CLI::Option& option) {
  if (is_argument(option)) return argument_name(option);
  const bool has_short = !option.get_snames().empty();
  std::string name = has_short ? "" : "    ";
  for (const std::string& letter : option.get_snames()) name += "-" + letter + ", ";
  for (const std::string& word : option.get_lnames()) name += "--" + word + ", ";
  name.resize(name.size() - 2);
  const std::string value = value_name(option);
  return value.empty() ? name : name + " " + value;
}

std::string examples_section(const CommandText& text) {
  std::string result = "\nExamples:\n";
  for (const std::string& example : text.examples) result += "  " + example + "\n";
  return result;
}

std::string exit_codes_section(const CommandText& text, std::size_t columns) {
  std::string result = "\nExit codes:\n";
  for (const Ending& ending : text.endings) {
    const std::vector<std::string> lines =
        wrapped(ending.meaning, columns - std::min<std::size_t>(columns - 1, 6));
    for (std::size_t i = 0; i < lines.size(); ++i)
      result += i == 0 ? fmt::format("  {:>2}  {}\n", static_cast<int>(ending.code), lines[i])
                       : "      " + lines[i] + "\n";
  }
  return result;
}

std::string commands_section(const CLI::App& command, std::size_t columns) {
  const auto below = commands_below(command);
  std::string result = below.empty() ? "" : "\nCommands:\n";
  for (const CLI::App* one : below) result += entry(one->get_name(), one->get_description(), columns);
  return result;
}

/// "TEXT:{png,npy}" says a type, then what checks its values.
std::string after_type(const std::string& type) {
  const std::size_t colon = type.find(':');
  return colon == std::string::npos ? "" : type.substr(colon + 1);
}

}  // namespace

bool is_argument(const CLI::Option& option) {
  return option.get_positional() && !option.nonpositional();
}

std::string argument_name(const CLI::Option& option) {
  std::string name = option.get_name(true, false);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::toupper(letter)); });
  return name;
}

std::vector<std::string> wrapped(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines(1);
  const auto place = [&](std::string_view word) {
    std::string& line = lines.back();
    if (line.empty()) {
      line = word;
    } else if (display_width(line) + 1 + display_width(word) <= columns) {
      line += fmt::format(" {}", word);
    } else {
      lines.emplace_back(word);
    }
  };
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    if (end > 0) place(text.substr(0, end));
    if (end < text.size() && text[end] == '\n') lines.emplace_back();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string check = after_type(option.get_type_name());
  const std::size_t end = check.find('}');
  if (!check.starts_with('{') || end == std::string::npos) return {};
  return CLI::detail::split(check.substr(1, end - 1), ',');
}

std::string value_name(const CLI::Option& option) {
  if (option.get_type_size() == 0) return {};
  const std::string type = option.get_type_name(), check = after_type(type);
  std::string name = type.substr(0, type.find(':'));
  if (check.starts_with('{')) name = check;
  if (check.starts_with("SIZE") || check == "FILE" || check == "DIR") name = check.substr(0, 4);
  const bool repeats = option.get_expected_max() == CLI::detail::expected_max_vector_size;
  return repeats && option.get_allow_extra_args() ? name + "..." : name;
}

std::string describe(const CLI::Option& option) {
  std::string text = option.get_description();
  if (!option.get_default_str().empty() && text.find("(default") == std::string::npos)
    text += fmt::format(" (default: {})", option.get_default_str());
  const std::string check = after_type(option.get_type_name());
  if (const std::size_t at = check.find(" in ["); at != std::string::npos)
    text += fmt::format(" ({})", check.substr(at + 5, check.find(']', at) - at - 5));
  for (const CLI::Option* other : option.get_needs()) text += fmt::format(" (needs {})", other->get_name());
  for (const CLI::Option* other : option.get_excludes())
    text += fmt::format(" (not with {})", other->get_name());
  return option.get_required() ? text + " (required)" : text;
}

std::string usage(const CLI::App& command) {
  std::string text = full_name(command) + " [OPTIONS]";
  for (const CLI::Option* option : command.get_options({})) {
    if (!is_argument(*option)) continue;
    std::string name = argument_name(*option);
    if (option->get_expected_max() > 1) name += "...";
    text += option->get_required() ? " " + name : " [" + name + "]";
  }
  return commands_below(command).empty() ? text : text + " COMMAND";
}

std::vector<OptionGroup> option_groups(const CLI::App& command) {
  std::vector<OptionGroup> groups{{"Arguments", {}}};
  for (const CLI::Option* option : command.get_options({})) {
    const std::string title = is_argument(*option) ? "Arguments" : option->get_group();
    if (title.empty()) continue;
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const OptionGroup& other) { return other.title == title; });
    if (group == groups.end()) group = groups.insert(groups.end(), {title, {}});
    group->options.push_back(option);
  }
  if (groups.front().options.empty()) groups.erase(groups.begin());
  return groups;
}

std::vector<const CLI::App*> commands_below(const CLI::App& command) {
  return command.get_subcommands([](const CLI::App* below) { return !below->get_group().empty(); });
}

std::string help_text(const CLI::App& command, std::size_t columns) {
  const CommandText* const own = text_of(command);
  std::string text = paragraphs(command.get_description() + ".", columns);
  text += "\n" + paragraphs("Usage: " + usage(command), columns);
  if (own != nullptr && !own->details.empty()) text += "\n" + paragraphs(own->details, columns);
  text += commands_section(command, columns);
  for (const OptionGroup& group : option_groups(command)) {
    text += "\n" + group.title + ":\n";
    for (const CLI::Option* option : group.options)
      text += entry(option_name(*option), describe(*option), columns);
  }
  return own == nullptr ? text : text + examples_section(*own) + exit_codes_section(*own, columns);
}

std::string HelpFormatter::make_help(const CLI::App* command, std::string, CLI::AppFormatMode) const {
  return help_text(*command, std::min(terminal_columns(STDOUT_FILENO).value_or(kColumns), kWidest));
}

}  // namespace cohort::command_line
