#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data_prep/convert.h"

namespace cohort::data_prep {

/// An image that was left out, and why.
struct Skipped {
  std::string id, reason;
};

/// Collective. Reads every image once, the work divided over the ranks, and takes those out of `source` that
/// cannot be read or have another layout than the first one that can; returns them in order of the source,
/// the same on every rank. Throws DataError when none is left.
std::vector<Skipped> skip_damaged(Source& source, const ConvertOptions& options, comm::Communicator& ranks);

/// "3 images were left out:" and a line for each of the first ones.
std::string skipped_text(const std::vector<Skipped>& skipped);

/// The same as a table with the columns id and reason. Throws DataError.
void write_skipped(const std::filesystem::path& file, const std::vector<Skipped>& skipped);

}  // namespace cohort::data_prep
