#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>

#include "cohort/comm/communicator.h"

namespace cohort::data_prep {

/// Tells apart what a file held at two times without reading all of it: of its size, the time of its last
/// change and blocks of 4 KiB spread over it, one for each MiB, 2 to 64. A file that cannot be read has one
/// as well. `is_mask`: PNG of less than 8 bits has another one, since its numbers were read otherwise before.
std::uint64_t fingerprint_of(const std::filesystem::path& file, bool is_mask = false);

/// Collective. Of `count` files in their order, each read by one rank; the same for any number of ranks.
std::uint64_t fingerprint_of(std::int64_t count,
                             const std::function<std::filesystem::path(std::int64_t index)>& file,
                             comm::Communicator& ranks, bool is_mask = false);

}  // namespace cohort::data_prep
