#pragma once
#include <string>

#include <CLI/CLI.hpp>

namespace cohort::command_line {

/// "cohort-eval.1"
std::string man_page_file(const CLI::App& command);

/// The manual page of one command, for man(1).
std::string man_page(const CLI::App& command);

}  // namespace cohort::command_line
