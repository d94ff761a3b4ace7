#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/config/field.h"

namespace cohort::checkpoint {

struct CheckpointConfig {
  std::int64_t every_steps = 0;
  std::int64_t keep_last = 2;

  template <class Visit>
  void fields(Visit& visit) {
    visit("every_steps", every_steps, "steps between checkpoints; 0: one at the end only",
          config::Range<std::int64_t>{0, INT64_MAX});
    visit("keep_last", keep_last, "newest checkpoints to keep", config::Range<std::int64_t>{1, 1 << 20});
  }
};

/// This rank's slice of a named tensor. Together the slices of all ranks cover `shape` exactly once.
struct Slice {
  std::string name;                 ///< "/model/blocks.0.attn.qkv.weight"
  std::vector<std::int64_t> shape;  ///< of the whole tensor
  std::int64_t begin = 0;           ///< first value of the slice, in row-major order
  at::Tensor values;                ///< [n] f32, CPU or CUDA
};

struct Meta {
  std::int64_t step = 0, epoch = 0;
  std::uint64_t seed = 0;
  std::string config;  ///< the resolved configuration, YAML
  std::string
      dataset;  ///< name and checksum of the dataset's vocabulary and shards: what a resume must match
};

/// runs/<name>/checkpoints. A checkpoint is a folder step-00001200/ of state.h5 and meta.json, written
/// beside, verified and renamed into place; `latest` then points to it. The newest complete checkpoint is
/// never touched by a write. docs/formats/checkpoint.md gives every byte.
class Store {
 public:
  /// `ranks` outlives the store. keep: complete checkpoints to keep, at least 1. Nothing is created before
  /// the first save.
  Store(std::filesystem::path folder, comm::Communicator& ranks, std::int64_t keep);
  /// Collective. Every rank writes its slices through parallel HDF5, then reads them back against their
  /// checksums. A failure (disk full …) throws DataError on every rank and leaves the earlier checkpoints as
  /// they were.
  void save(const std::vector<Slice>& state, const Meta& meta);
  /// Step of the newest complete checkpoint; damaged ones (no meta.json) do not count.
  [[nodiscard]] std::optional<std::int64_t> latest() const;
  /// Meta data only; one rank may call it. Throws DataError.
  [[nodiscard]] Meta read_meta(std::int64_t step) const;
  /// Collective. Fills `values` of each slice in place; slices may be cut otherwise than those saved.
  /// Checksums are verified. Throws DataError naming the tensor: missing, other shape, damaged.
  void load(std::int64_t step, std::vector<Slice>& state);
  [[nodiscard]] std::filesystem::path path_of(std::int64_t step) const;

 private:
  std::filesystem::path folder_;
  comm::Communicator* ranks_;
  std::int64_t keep_;
};

}  // namespace cohort::checkpoint
