#pragma once
#include <string>

namespace cohort::comm {

/// From here on Ctrl-C (SIGINT) ends this process at once, after one line: "cohort eval: ended by Ctrl-C". A
/// process that was started with SIGINT ignored (in the background of a script) goes on ignoring it.
void end_by_interrupt(const std::string& program);

/// On ranks whose line another one says.
void end_silently_by_interrupt() noexcept;

}  // namespace cohort::comm
