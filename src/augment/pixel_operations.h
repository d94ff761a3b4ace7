#pragma once
#include <map>
#include <string>

#include "augment/operation_entry.h"

namespace cohort::augment {

/// The operations that change what pixels hold, by name, for the table of all.
std::map<std::string, OperationEntry> pixel_operations();

}  // namespace cohort::augment
