#pragma once
#include <filesystem>
#include <span>
#include <string>

#include "cohort/config/field.h"

namespace cohort::config {

/// Reads a YAML file into the fields. A top-level `defaults:` list names files (relative to the naming file)
/// that are read first, in order; later values win, lists are replaced as a whole. Keys are nested or dotted
/// ("optimizer.lr: 1e-3"). Records where each value came from. A section without a value is empty; an option
/// without a value is an error. Throws UsageError with file and line: unreadable file, YAML syntax, unknown
/// key (with the nearest known one), a key given twice, a value of the wrong type or out of range, a cycle of
/// defaults. The fields are then partly set: do not use them.
void load(const std::filesystem::path& file, Fields& fields);

/// Applies "key=value" overrides in order; a list is written a=[x,y] or a=x,y; an empty list a=[]. Text is
/// taken as it stands; within brackets elements may be quoted as in YAML. Throws UsageError like load(), with
/// "command line" as the place.
void override_with(std::span<const std::string> assignments, Fields& fields);

/// As YAML that load() reads back to the same values, sections nested. with_origin adds "# from …" behind
/// each value.
std::string dump(const Fields& fields, bool with_origin);

/// For --help config: key, type, default (the present value), accepted values, description; one block a
/// section.
std::string help(const Fields& fields);

/// The tables of docs/config.md, one a section, below second-level headings. Generated; a test holds the file
/// in step.
std::string markdown(const Fields& fields);

}  // namespace cohort::config
