#include "command_line/completion.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "command_line/command.h"
#include "command_line/help.h"

namespace cohort::command_line {
namespace {

/// What completes a word: fixed words, or files.
enum class Kind { nothing, words, files, folders, keys };

struct Value {
  Kind kind = Kind::nothing;
  std::vector<std::string> words;
};

Value value_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  if (option.get_type_size() == 0) return {};
  if (const auto words = choices_of(option); !words.empty()) return {Kind::words, words};
  if (is_argument(option) && argument_name(option) == "OVERRIDE") return {Kind::keys, {}};
  if (type.find("INT") == 0 || type.find("UINT") == 0 || type.find("FLOAT") == 0) return {};
  const std::string name = option.get_name();
  const bool is_folder = type.find("DIR") != std::string::npos || name.ends_with("-dir") || name == "--run";
  return {is_folder ? Kind::folders : Kind::files, {}};
}

struct Switch {
  std::vector<std::string> names;  ///< "-h", "--help"
  std::string text;
  bool takes_value;
  Value value;
};

/// What the scripts know of one command.
struct Node {
  std::string path;  ///< "cohort eval"
  std::vector<const CLI::App*> below;
  std::vector<Switch> switches;
  std::vector<Value> arguments;
};

std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& letter : option.get_snames()) names.push_back("-" + letter);
  for (const std::string& word : option.get_lnames()) names.push_back("--" + word);
  return names;
}

/// Without `keys` arguments OVERRIDE are completed like others.
std::vector<Node> nodes_of(const CLI::App& program, std::span<const std::string> keys) {
  std::vector<Node> nodes;
  for_each_command(program, [&](const CLI::App& command) {
    Node node{full_name(command), commands_below(command), {}, {}};
    for (const CLI::Option* option : command.get_options({})) {
      if (is_argument(*option)) {
        node.arguments.push_back(value_of(*option));
        if (keys.empty() && node.arguments.back().kind == Kind::keys)
          node.arguments.back() = {Kind::files, {}};
      } else {
        node.switches.push_back(
            {names_of(*option), option->get_description(), option->get_type_size() > 0, value_of(*option)});
      }
    }
    nodes.push_back(std::move(node));
  });
  return nodes;
}

/// Within '…' of a shell.
std::string quoted(std::string text) {
  for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4)
    text.replace(at, 1, "'\\''");
  return "'" + text + "'";
}

std::string function_name(const CLI::App& program) {
  std::string name = "_" + program.get_name();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::vector<std::string> names_below(const Node& node) {
  std::vector<std::string> names;
  for (const CLI::App* below : node.below) names.push_back(below->get_name());
  return names;
}

// ---- bash

std::string bash_reply(const Value& value) {
  switch (value.kind) {
    case Kind::words:
      return fmt::format("COMPREPLY=($(compgen -W {} -- \"$word\"))", quoted(join(value.words, " ")));
    case Kind::keys:
      return "_cohort_keys";
    case Kind::folders:
      return "compopt -o filenames; COMPREPLY=($(compgen -d -- \"$word\"))";
    case Kind::files:
      return "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$word\"))";
    case Kind::nothing:
      break;
  }
  return ":";
}

/// The case of a command: values of the option before, else options, else commands or arguments.
std::string bash_case(const Node& node) {
  std::string text = fmt::format("    {})\n      case $before in\n", quoted(node.path));
  std::vector<std::string> all;
  for (const Switch& option : node.switches) {
    all.insert(all.end(), option.names.begin(), option.names.end());
    if (option.takes_value)
      text += fmt::format("        {}) {}; return ;;\n", join(option.names, "|"), bash_reply(option.value));
  }
  text +=
      fmt::format("      esac\n      [[ $word == -* ]] && {} && return\n", bash_reply({Kind::words, all}));
  if (!node.below.empty()) {
    text += "      " + bash_reply({Kind::words, names_below(node)}) + "\n";
  } else if (!node.arguments.empty()) {
    const bool differ = node.arguments.size() > 1;
    if (differ)
      text += fmt::format("      ((place == 0)) && {{ {}; return; }}\n", bash_reply(node.arguments.front()));
    text += "      " + bash_reply(node.arguments.back()) + "\n";
  }
  return text + "      ;;\n";
}

std::string bash_keys(std::span<const std::string> keys) {
  std::vector<std::string> words;
  for (const std::string& key : keys) words.push_back(key + "=");
  return fmt::format(
      "_cohort_keys() {{\n"
      "  compopt -o nospace\n"
      "  COMPREPLY=($(compgen -W {} -- \"$word\"))\n"
      "}}\n\n",
      quoted(join(words, " ")));
}

std::string bash(const CLI::App& program, std::span<const std::string> keys) {
  const std::vector<Node> nodes = nodes_of(program, keys);
  std::vector<std::string> paths;
  for (const Node& node : nodes) paths.push_back(quoted(node.path));
  std::string text = keys.empty() ? "" : bash_keys(keys);
  text += fmt::format(
      "{}() {{\n"
      "  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} path={} place=0 i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
      "    case \"$path ${{COMP_WORDS[i]}}\" in\n"
      "      {}) path+=\" ${{COMP_WORDS[i]}}\" place=0 ;;\n"
      "      *\\ -*) ;;\n"
      "      *) ((++place)) ;;\n"
      "    esac\n"
      "  done\n"
      "  case $path in\n",
      function_name(program), program.get_name(), join(paths, "|"));
  for (const Node& node : nodes) text += bash_case(node);
  return text + fmt::format("  esac\n}}\ncomplete -F {} {}\n", function_name(program), program.get_name());
}

// ---- zsh

/// A description within […] of _arguments.
std::string zsh_text(std::string text) {
  std::string result;
  for (const char letter : text) {
    if (letter == '[' || letter == ']' || letter == ':' || letter == '\\') result += '\\';
    result += letter;
  }
  return result;
}

std::string zsh_action(const Value& value) {
  switch (value.kind) {
    case Kind::words:
      return fmt::format("value:({})", join(value.words, " "));
    case Kind::keys:
      return "option:_cohort_keys";
    case Kind::folders:
      return "folder:_files -/";
    case Kind::files:
      return "file:_files";
    case Kind::nothing:
      break;
  }
  return "value: ";
}

std::string zsh_case(const Node& node) {
  std::string text = fmt::format("    {})\n      _arguments \\\n", quoted(node.path));
  for (const Switch& option : node.switches) {
    for (const std::string& name : option.names) {
      const std::string value = option.takes_value ? ":" + zsh_action(option.value) : "";
      text += fmt::format("        {} \\\n",
                          quoted(fmt::format("*{}[{}]{}", name, zsh_text(option.text), value)));
    }
  }
  for (const Value& value : node.arguments) {
    const bool last = &value == &node.arguments.back();
    text += fmt::format("        {} \\\n", quoted((last ? "*:" : ":") + zsh_action(value)));
  }
  if (!node.below.empty()) {
    std::string names;
    for (const CLI::App* below : node.below)
      names += fmt::format("{}\\:{} ", below->get_name(), quoted(zsh_text(below->get_description())));
    text += fmt::format("        \"1:command:(({}))\" \\\n", names);
  }
  return text + "        && return\n      ;;\n";
}

std::string zsh(const CLI::App& program, std::span<const std::string> keys) {
  const std::vector<Node> nodes = nodes_of(program, keys);
  std::vector<std::string> paths;
  for (const Node& node : nodes) paths.push_back(quoted(node.path));
  std::string text = fmt::format("#compdef {}\n\n", program.get_name());
  if (!keys.empty())
    text += fmt::format("_cohort_keys() {{ compadd -S = -- {}; _files }}\n\n", join(keys, " "));
  text += fmt::format(
      "{}() {{\n"
      "  local path_of_command={} i\n"
      "  for ((i = 2; i < CURRENT; ++i)); do\n"
      "    case \"$path_of_command $words[i]\" in\n"
      "      ({}) path_of_command+=\" $words[i]\"; shift words; ((--CURRENT)); ((--i)) ;;\n"
      "    esac\n"
      "  done\n"
      "  case $path_of_command in\n",
      function_name(program), program.get_name(), join(paths, "|"));
  for (const Node& node : nodes) text += zsh_case(node);
  return text + fmt::format("  esac\n}}\n\n{} \"$@\"\n", function_name(program));
}

// ---- fish

std::string fish_value(const Value& value, std::span<const std::string> keys) {
  switch (value.kind) {
    case Kind::words:
      return " -x -a " + quoted(join(value.words, " "));
    case Kind::keys: {
      std::string words;
      for (const std::string& key : keys) words += key + "= ";
      return " -a " + quoted(words);
    }
    case Kind::folders:
      return " -x -a '(__fish_complete_directories)'";
    case Kind::files:
      return " -r -F";
    case Kind::nothing:
      break;
  }
  return " -x";
}

/// True where the words so far lead to the command `path`, and not to one below it.
std::string fish_condition(const Node& node) {
  std::string text;
  const std::size_t blank = node.path.find(' ');
  if (blank != std::string::npos) {
    for (const std::string& word : CLI::detail::split(node.path.substr(blank + 1), ' '))
      text += fmt::format("{}__fish_seen_subcommand_from {}", text.empty() ? "" : "; and ", word);
  }
  if (node.below.empty()) return text;
  return fmt::format("{}{}not __fish_seen_subcommand_from {}", text, text.empty() ? "" : "; and ",
                     join(names_below(node), " "));
}

std::string fish_option(const Switch& option, const std::string& start, std::span<const std::string> keys) {
  std::string line = start;
  for (const std::string& name : option.names) {
    const bool is_long = name.starts_with("--");
    line += fmt::format(" -{} {}", is_long ? "l" : "s", name.substr(is_long ? 2 : 1));
  }
  if (option.takes_value) line += fish_value(option.value, keys);
  return fmt::format("{} -d {}\n", line, quoted(option.text));
}

std::string fish(const CLI::App& program, std::span<const std::string> keys) {
  std::string text;
  for (const Node& node : nodes_of(program, keys)) {
    const std::string condition = fish_condition(node),
                      start = fmt::format("complete -c {}{}", program.get_name(),
                                          condition.empty() ? "" : " -n " + quoted(condition));
    for (const CLI::App* below : node.below)
      text += fmt::format("{} -f -a {} -d {}\n", start, below->get_name(), quoted(below->get_description()));
    for (const Switch& option : node.switches) text += fish_option(option, start, keys);
    for (const Value& value : node.arguments) {
      if (value.kind == Kind::words || value.kind == Kind::keys)
        text += start + fish_value(value, keys) + "\n";
    }
  }
  return text;
}

}  // namespace

std::string completion(const std::string& shell, const CLI::App& program, std::span<const std::string> keys) {
  if (shell == "zsh") return zsh(program, keys);
  return shell == "fish" ? fish(program, keys) : bash(program, keys);
}

}  // namespace cohort::command_line
