#pragma once

namespace cohort {

/// Lets this process keep memory that it frees for its next allocations, instead of handing large blocks back
/// to the system and getting fresh pages, zeroed one by one, a moment later: a training step allocates the
/// same tensors as the one before. For the start of a main(); glibc only, elsewhere it does nothing. Measured
/// in docs/performance.md.
void keep_freed_memory() noexcept;

/// Gives the memory that was freed and kept back to the system, for once: after large temporary tensors that
/// have no successor of their size. Aligned blocks, as tensors are, often do not fit into the gaps that their
/// like have left (glibc before 2.38), so that building a model piece by piece would hold the sum of the
/// pieces. Takes milliseconds.
void return_freed_memory() noexcept;

}  // namespace cohort
