#include "command_line/command.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "command_line/help.h"
#include "command_line/version.h"

namespace cohort::command_line {
namespace {

/// Names of the commands below, or of the options of a command, as they are typed.
std::vector<std::string> known_words(const CLI::App& command, bool options) {
  std::vector<std::string> words;
  if (!options) {
    for (const CLI::App* below : command.get_subcommands({})) words.push_back(below->get_name());
    return words;
  }
  for (const CLI::Option* option : command.get_options({})) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
  }
  return words;
}

/// The first word that `command` has no place for; empty: there is none.
std::string misplaced_word(const CLI::App& command) {
  const std::vector<std::string> words = command.remaining();
  return words.empty() ? "" : words.front();
}

std::string help_hint(const CLI::App& command) {
  return full_name(command) + " --help";
}

bool begins_with_capital(const std::string& text) {
  return !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) != 0 &&
         std::islower(static_cast<unsigned char>(text.front())) == 0;
}

/// The words behind the program's name; nothing: the example is of another program.
std::vector<std::string> words_behind(const std::string& program, const std::string& example) {
  std::vector<std::string> words = CLI::detail::split_up(example);
  const auto name = std::find(words.begin(), words.end(), program);
  if (name == words.end()) return {};
  words.erase(words.begin(), name + 1);
  words.erase(std::find(words.begin(), words.end(), "--"), words.end());  // for other programs
  return words;
}

/// Why an example does not parse; empty: it does. Files that it names need not be there.
std::string parse_trouble(CLI::App& program, const CLI::App& command, const std::string& example) {
  std::vector<std::string> words = words_behind(program.get_name(), example);
  if (words.empty()) return "no command line of " + program.get_name();
  std::reverse(words.begin(), words.end());
  try {
    program.clear();
    program.parse(words);
  } catch (const CLI::Success&) {
    return {};
  } catch (const CLI::ParseError& error) {
    const std::string what = error.what();
    return what.find("does not exist") == std::string::npos ? what : "";
  }
  // An example of a group, or of the program, is one of a command below it.
  return (full_name(chosen_command(program)) + " ").starts_with(full_name(command) + " ")
             ? ""
             : "of another command";
}

std::vector<std::string> troubles_of(CLI::App& program, const CLI::App& command) {
  const CommandText* const text = text_of(command);
  if (text == nullptr) return {"was not made by command_line::add_command()"};
  std::vector<std::string> troubles;
  if (!begins_with_capital(text->summary) || text->summary.find(' ') == std::string::npos)
    troubles.emplace_back("has no sentence that begins with a capital letter");
  if (text->summary.ends_with('.')) troubles.emplace_back("has a sentence with a full stop");
  if (text->examples.empty() || text->examples.size() > 3)
    troubles.emplace_back("needs one to three examples");
  if (text->endings.empty()) troubles.emplace_back("has no exit codes");
  for (const std::string& example : text->examples) {
    if (const std::string why = parse_trouble(program, command, example); !why.empty())
      troubles.push_back(fmt::format("'{}' does not parse: {}", example, why));
  }
  return troubles;
}

}  // namespace

Command::Command(CommandText text) : CLI::App(text.summary, text.name), text_(std::move(text)) {
  formatter(std::make_shared<HelpFormatter>());
  set_help_flag("-h,--help", "show this text");
  set_version_flag(
      "--version", [name = text_.name] { return version_text(name); },
      "show versions of the program and its libraries");
}

Command::Command(CommandText text, CLI::App& parent)
    : CLI::App(text.summary, text.name, &parent), text_(std::move(text)) {}

CLI::App& add_command(CLI::App& parent, CommandText text) {
  return *parent.add_subcommand(std::make_shared<Command>(std::move(text), parent));
}

const CommandText* text_of(const CLI::App& command) {
  const auto* const own = dynamic_cast<const Command*>(&command);
  return own == nullptr ? nullptr : &own->text();
}

std::string full_name(const CLI::App& command) {
  const CLI::App* const parent = command.get_parent();
  return parent == nullptr ? command.get_name() : full_name(*parent) + " " + command.get_name();
}

const CLI::App& chosen_command(const CLI::App& program) {
  const auto chosen = program.get_subcommands();
  return chosen.empty() ? program : chosen_command(*chosen.front());
}

void for_each_command(const CLI::App& program, const std::function<void(const CLI::App&)>& visit) {
  visit(program);
  for (const CLI::App* below : program.get_subcommands({})) {
    if (!below->get_group().empty()) for_each_command(*below, visit);
  }
}

Error::Text explain(const CLI::App& program, std::span<char* const> arguments, const CLI::ParseError& error) {
  const CLI::App& command = chosen_command(program);
  if (&command == &program && arguments.size() < 2)
    return {"which command?", "command line", help_hint(program)};
  const std::string word = misplaced_word(command);
  const bool is_option = word.starts_with("-");
  if (word.empty() || (!is_option && command.get_subcommands({}).empty()))
    return {error.what(), "command line", help_hint(command)};
  const auto known = known_words(command, is_option);
  if (!is_option)
    return {fmt::format("unknown command '{}'", word), "command line", did_you_mean(word, known)};
  return {fmt::format("unknown option '{}'", word), "command line",
          nearest(word, known) ? did_you_mean(word, known) : help_hint(command)};
}

std::vector<std::string> check_commands(CLI::App& program) {
  std::vector<std::string> lines;
  for_each_command(program, [&](const CLI::App& command) {
    for (const std::string& trouble : troubles_of(program, command))
      lines.push_back(fmt::format("{}: {}", full_name(command), trouble));
  });
  return lines;
}

}  // namespace cohort::command_line
