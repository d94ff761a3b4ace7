#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/communicator.h"

namespace cohort::checkpoint {

/// A slice as it was saved.
struct SavedSlice {
  std::int64_t begin = 0, count = 0;
  std::uint64_t checksum = 0;
};

struct SavedTensor {
  std::vector<std::int64_t> shape;
  std::vector<SavedSlice> slices;  ///< by begin; together they cover the tensor
};

/// What state.h5 holds, by name of the tensor: the content of meta.json besides Meta.
struct Catalogue {
  std::map<std::string, SavedTensor> tensors;
  std::uint64_t file_bytes = 0;  ///< of state.h5
};

/// Collective. What all ranks together are about to save; the same on every rank. Throws Bug when the slices
/// of a tensor leave a gap, overlap or differ in shape.
Catalogue agree_on_catalogue(const std::vector<Slice>& state, comm::Communicator& ranks);

/// meta.json and back. The text carries its own checksum. parse_meta throws DataError naming `where`.
struct MetaFile {
  Meta meta;
  Catalogue catalogue;
};
std::string meta_text(const MetaFile& content);
MetaFile parse_meta(const std::string& text, const std::string& where);

std::int64_t value_count(const std::vector<std::int64_t>& shape);

}  // namespace cohort::checkpoint
