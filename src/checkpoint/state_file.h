#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/communicator.h"

#include "catalogue.h"
#include "support/hdf5.h"

namespace cohort::checkpoint {

/// Collective. Writes state.h5 anew: all tensors of the catalogue as contiguous datasets, of which this rank
/// fills `state`. It is not synced. Throws DataError on all ranks when one of them fails; what lies at `file`
/// is then not to be used.
void write_state(const std::filesystem::path& file, const Catalogue& catalogue,
                 const std::vector<Slice>& state, comm::Communicator& ranks);

/// Reads state.h5 on one rank, independently of others, and compares what it reads with its checksum. One
/// thread at a time.
class StateReader {
 public:
  /// `contents` outlives the reader. Throws Damaged.
  StateReader(const std::filesystem::path& file, const Contents& contents);
  StateReader(const StateReader&) = delete;
  StateReader& operator=(const StateReader&) = delete;
  ~StateReader();

  /// Fills slice.values. Throws DataError naming the tensor: missing, of another shape; Damaged, with the
  /// values half filled.
  void read(const Slice& slice);
  /// Reads what was saved of [slice.begin, slice.begin + number of values) and forgets it. Throws Damaged.
  void check(const Slice& slice);
  /// Hands the values of one saved slice over, in order and in parts; `offset` counts from its start. Throws
  /// Damaged, possibly after the last part.
  using Visit = std::function<void(std::int64_t offset, std::span<const float> values)>;
  void visit(const std::string& name, const SavedTensor& tensor, const SavedSlice& saved, const Visit& visit);

 private:
  template <class Action>
  void for_each_saved(const Slice& slice, Action&& action);
  template <class Place, class Use>
  void in_parts(const std::string& name, const SavedTensor& tensor, const SavedSlice& saved, Place&& place,
                Use&& use);
  void read_in_place(const Slice& slice, const SavedTensor& tensor, const SavedSlice& saved);
  void read_overlap(const Slice& slice, const SavedTensor& tensor, const SavedSlice& saved);
  template <class Action>
  void as_damage(const std::string& name, Action&& action) const;
  [[nodiscard]] hdf5::Dataset open(const std::string& name, const SavedTensor& tensor) const;
  void read_values(const hdf5::Dataset& dataset, const std::string& name, const SavedTensor& tensor,
                   std::int64_t begin, std::span<float> values) const;

  std::filesystem::path path_;
  const Contents* contents_;
  std::vector<float> buffer_;
  hdf5::File file_;
};

}  // namespace cohort::checkpoint
