#include "command_line/man_page.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "command_line/command.h"
#include "command_line/help.h"

namespace cohort::command_line {
namespace {

/// `text` as roff shows it: a line must not begin like a request.
std::string roff(const std::string& text) {
  std::string result;
  for (const char letter : text) {
    const bool begins_line = result.empty() || result.back() == '\n';
    if (begins_line && (letter == '.' || letter == '\'')) result += "\\&";
    if (letter == '\\') {
      result += "\\e";
    } else if (letter == '-') {
      result += "\\-";
    } else {
      result += letter;
    }
  }
  return result;
}

std::string page_name(const CLI::App& command) {
  std::string name = full_name(command);
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

std::string bold(const std::string& text) {
  return "\\fB" + roff(text) + "\\fR";
}

std::string tagged(const std::string& tag, const std::string& text) {
  return fmt::format(".TP\n{}\n{}\n", tag, roff(text));
}

std::string names_of(const CLI::Option& option) {
  if (is_argument(option)) return bold(argument_name(option));
  std::string names;
  for (const std::string& name : option.get_snames()) names += bold("-" + name) + ", ";
  for (const std::string& name : option.get_lnames()) names += bold("--" + name) + ", ";
  names.resize(names.size() - 2);
  const std::string value = value_name(option);
  return value.empty() ? names : fmt::format("{} \\fI{}\\fR", names, roff(value));
}

std::string options_section(const CLI::App& command) {
  std::string text = ".SH OPTIONS\n";
  for (const OptionGroup& group : option_groups(command)) {
    text += fmt::format(".SS {}\n", roff(group.title));
    for (const CLI::Option* option : group.options) text += tagged(names_of(*option), describe(*option));
  }
  return text;
}

std::string commands_part(const CLI::App& command) {
  const auto below = commands_below(command);
  std::string text = below.empty() ? "" : ".SH COMMANDS\n";
  for (const CLI::App* one : below)
    text += tagged(bold(page_name(*one)) + "(1)", one->get_description() + ".");
  return text;
}

std::string explanation(const CommandText& text) {
  std::string result = ".SH EXAMPLES\n.EX\n";
  for (const std::string& example : text.examples) result += roff(example) + "\n";
  result += ".EE\n.SH EXIT STATUS\n";
  for (const Ending& ending : text.endings)
    result += tagged(bold(std::to_string(static_cast<int>(ending.code))), ending.meaning);
  return result;
}

std::string relatives(const CLI::App& command) {
  std::string text = ".SH SEE ALSO\n";
  std::string comma;
  for (const CLI::App* above = command.get_parent(); above != nullptr; above = above->get_parent()) {
    text += comma + bold(page_name(*above)) + "(1)";
    comma = ", ";
  }
  return comma.empty() ? "" : text + "\n";
}

}  // namespace

std::string man_page_file(const CLI::App& command) {
  return page_name(command) + ".1";
}

std::string man_page(const CLI::App& command) {
  std::string title = page_name(command);
  std::transform(title.begin(), title.end(), title.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::toupper(letter)); });
  std::string text = fmt::format(".TH {} 1 \"\" \"Cohort\" \"Cohort\"\n", roff(title));
  text += fmt::format(".SH NAME\n{} \\- {}\n", roff(page_name(command)), roff(command.get_description()));
  text += fmt::format(".SH SYNOPSIS\n{}\n", bold(usage(command)));
  const CommandText* const own = text_of(command);
  text += fmt::format(".SH DESCRIPTION\n{}.\n", roff(command.get_description()));
  if (own != nullptr && !own->details.empty()) text += ".PP\n" + roff(own->details) + "\n";
  text += commands_part(command) + options_section(command);
  if (own != nullptr) text += explanation(*own);
  return text + relatives(command);
}

}  // namespace cohort::command_line
