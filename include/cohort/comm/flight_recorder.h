#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>

namespace cohort::comm {

/// What a process was doing is always on record: the last collectives of each communicator, which the
/// communicators write down themselves, and the step and stage that the functions below announce. Reports of
/// failures tell it (docs/hang_report.md). All functions may be called from any thread.

/// From here on this rank is in `stage` ("forward") of training step `step`, counted from 1; 0: in no step.
/// `stage` is kept by its address: a literal. Takes some ten nanoseconds.
void set_activity(std::int64_t step, const char* stage) noexcept;

/// From here on a rank that fails writes its report to `folder`/rank-00003.txt; the folder is made then.
void set_failure_folder(const std::filesystem::path& folder);

/// Time that the calling thread has spent in waiting for collectives, since it began.
std::chrono::nanoseconds waited_for_ranks() noexcept;

}  // namespace cohort::comm
