#pragma once

namespace cohort {

/// Lets this process keep memory that it frees for its next allocations, instead of handing large blocks back
/// to the system and getting fresh pages, zeroed one by one, a moment later: a training step allocates the
/// same tensors as the one before. For the start of a main(); glibc only, elsewhere it does nothing. Measured
/// in docs/performance.md.
void keep_freed_memory() noexcept;

}  // namespace cohort
