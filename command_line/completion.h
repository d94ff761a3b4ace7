#pragma once
#include <span>
#include <string>

#include <CLI/CLI.hpp>

namespace cohort::command_line {

/// A script by which `shell` (bash, zsh or fish) completes the commands of `program`, their options, the
/// values among which an option chooses, files and folders. `keys`: what arguments named OVERRIDE begin with.
/// It does not start the program.
std::string completion(const std::string& shell, const CLI::App& program, std::span<const std::string> keys);

}  // namespace cohort::command_line
