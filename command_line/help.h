#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

namespace cohort::command_line {

/// Paragraphs of text, each on a line, in lines of at most `columns`, where words allow it.
std::vector<std::string> wrapped(std::string_view text, std::size_t columns);

bool is_argument(const CLI::Option& option);  ///< "CONFIG", not "--config"
std::string argument_name(const CLI::Option& option);

/// What stands behind an option's name: "DIR", "{png,npy}"; empty: it takes no value.
std::string value_name(const CLI::Option& option);
/// The choices among its values; empty: any value.
std::vector<std::string> choices_of(const CLI::Option& option);
/// Its description, default value and range, which options it needs or excludes, and whether it is required.
std::string describe(const CLI::Option& option);
/// "cohort eval [OPTIONS] CONFIG [OVERRIDE...]"
std::string usage(const CLI::App& command);

/// Options or arguments of a command that are shown below one heading.
struct OptionGroup {
  std::string title;
  std::vector<const CLI::Option*> options;
};
/// Arguments first, then groups of options in the order in which they were added.
std::vector<OptionGroup> option_groups(const CLI::App& command);
/// Commands below `command` that are shown.
std::vector<const CLI::App*> commands_below(const CLI::App& command);

/// What --help shows.
std::string help_text(const CLI::App& command, std::size_t columns);

/// Makes CLI11 show help_text(), as wide as the terminal; 80 columns where there is none.
class HelpFormatter final : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* command, std::string name, CLI::AppFormatMode mode) const override;
};

}  // namespace cohort::command_line
