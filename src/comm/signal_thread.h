#pragma once

namespace cohort::comm {

/// From here on signals that others send (Ctrl-C, SIGTERM, SIGCONT …) are handled on a thread of their own,
/// and on none of this one and those that it makes. Kernels which oneDNN generates use the stack pointer as
/// any other register, and point it into the heap: a signal that arrives on their thread writes its frame
/// over whatever lies there. Once, on the main thread, before others are made that compute. Signals of a
/// fault stay with their thread.
void handle_signals_aside();

/// A stack for handlers on this thread whose signals are for it alone (SA_ONSTACK), for the same reason. On
/// the main thread.
void use_signal_stack();

}  // namespace cohort::comm
