#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/checkpoint/store.h"
#include "cohort/comm/communicator.h"

#include "catalogue.h"
#include "support/hdf5.h"

namespace cohort::checkpoint {

/// Collective. Writes state.h5 anew: all tensors of the catalogue as contiguous datasets, of which this rank
/// fills `state`. Throws DataError on all ranks when one of them fails; what lies at `file` is then not to be
/// used.
void write_state(const std::filesystem::path& file, const Catalogue& catalogue,
                 const std::vector<Slice>& state, comm::Communicator& ranks);

/// Reads state.h5 on one rank, independently of others. Whatever it returns was compared with its checksum.
class StateReader {
 public:
  /// `catalogue` outlives the reader. Throws DataError.
  StateReader(const std::filesystem::path& file, const Catalogue& catalogue);
  /// Fills slice.values. Throws DataError naming the tensor: missing, of another shape, damaged.
  void read(const Slice& slice) const;

 private:
  [[nodiscard]] at::Tensor read_saved(const std::string& name, const SavedTensor& tensor,
                                      const SavedSlice& saved) const;

  std::filesystem::path path_;
  const Catalogue* catalogue_;
  hdf5::File file_;
};

}  // namespace cohort::checkpoint
