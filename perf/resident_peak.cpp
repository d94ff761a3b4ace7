#include "resident_peak.h"

#include <fstream>
#include <limits>

#include "cohort/core/memory.h"

namespace cohort::perf {
namespace {

// proc(5): 5 resets VmHWM to the present VmRSS.
bool reset_peak() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file.good();
}

// "VmHWM:      1234 kB"
double status_mib(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return std::stod(line.substr(key.size())) / 1024.0;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

ResidentPeak::ResidentPeak() {
  return_freed_memory();
  measures_ = reset_peak();
  before_ = status_mib("VmRSS:");
}

double ResidentPeak::mib() const {
  return measures_ ? status_mib("VmHWM:") - before_ : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace cohort::perf
