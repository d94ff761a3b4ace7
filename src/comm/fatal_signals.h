#pragma once
#include <string>

#include "comm/stack.h"

namespace cohort::comm {

/// From here on SIGSEGV, SIGABRT, SIGBUS, SIGFPE and SIGILL say on stderr, and in the failure folder, which
/// rank met them and what it was doing, and then do what they did so far. The calling thread counts as the
/// main thread. Later calls change nothing.
void report_fatal_signals(int rank, int size);

/// Where that goes as well: `file`, in `folder`, which is made then.
void set_fatal_report(const std::string& folder, const std::string& file);

/// The stack of the main thread; empty when it does not react. Interrupts its system calls. Not from the main
/// thread itself.
Stack stack_of_main_thread();

}  // namespace cohort::comm
