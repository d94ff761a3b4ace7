#pragma once
#include <string>

namespace cohort {

/// Name of this machine; "unknown" where the system does not say.
std::string host_name();

/// "AMD EPYC 9654 96-Core Processor"; empty where the system does not say.
std::string processor_name();

/// "2026-11-28T21:05:00Z": now.
std::string utc_time();

}  // namespace cohort
