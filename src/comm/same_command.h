#pragma once
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"

namespace cohort::comm {

/// Collective. Throws UsageError, agreed, unless all ranks were started with the same command (`program`:
/// "cohort eval") and the same words behind it; both values are named. Words are compared as they were typed.
void check_same_command(const std::string& program, const std::vector<std::string>& words,
                        Communicator& ranks);

}  // namespace cohort::comm
