#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"

namespace cohort::checkpoint {

/// What state.h5 holds, by name of the tensor.
using Catalogue = std::map<std::string, SavedTensor>;

/// A checkpoint that is not as it was saved, told apart from one that does not fit.
struct Damaged : DataError {
  /// `remedy`: to be tried first; may be empty.
  Damaged(std::string what, const std::string& where, const std::string& remedy = {});
};

/// Collective. What all ranks together are about to save; the same on every rank. Slices are cut into pieces
/// of at most kSavedValues values, so that a rank that loads a part reads little more than that. Throws Bug
/// when the slices of a tensor leave a gap, overlap or differ in shape.
Catalogue agree_on_catalogue(const std::vector<Slice>& state, comm::Communicator& ranks);
inline constexpr std::int64_t kSavedValues = std::int64_t{1} << 22;

/// meta.json and back. The text carries its own checksum. parse_meta throws Damaged naming `where`, or
/// DataError for another version.
std::string meta_text(const Contents& contents);
Contents parse_meta(const std::string& text, const std::string& where);

std::int64_t value_count(std::span<const std::int64_t> shape);

}  // namespace cohort::checkpoint
