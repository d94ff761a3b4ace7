#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace cohort::comm {

/// Why ranks cannot share that much memory in files of `folder`: "/x is read-only"; empty: they can.
std::string lack_of_room(const std::filesystem::path& folder, std::uint64_t bytes);

/// Before MPI_Init. Ranks of a host share memory in /dev/shm; where that has no room for them, Open MPI is
/// told to take the folder for temporary files, and SharedMemory is not used. What the user is to know of it;
/// empty: /dev/shm has room.
std::string choose_shared_place();

/// Whether choose_shared_place() found room, or was never called.
bool has_shared_place() noexcept;

}  // namespace cohort::comm
