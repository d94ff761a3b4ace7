#pragma once
#include <string>

namespace cohort {

/// Name of this machine; "unknown" where the system does not say.
std::string host_name();

}  // namespace cohort
