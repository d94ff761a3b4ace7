#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/checkpoint/checkpoint_config.h"
#include "cohort/comm/communicator.h"

namespace cohort::checkpoint {

/// This rank's slice of a named tensor. Together the slices of all ranks cover `shape` exactly once.
struct Slice {
  std::string name;                 ///< "/model/blocks.0.attn.qkv.weight"
  std::vector<std::int64_t> shape;  ///< of the whole tensor
  std::int64_t begin = 0;           ///< first value of the slice, in row-major order
  at::Tensor values;                ///< [n] f32, contiguous, CPU or CUDA
};

struct Meta {
  std::int64_t step = 0, epoch = 0;
  std::uint64_t seed = 0;
  std::string config;  ///< the resolved configuration, YAML
  std::string
      dataset;  ///< name and checksum of the dataset's vocabulary and shards: what a resume must match
  /// What the model knows of its training data, a JSON object (data/signature.h); empty: not known, as of
  /// checkpoints that older programs wrote.
  std::string trained_on{};
  /// What makes features: how names of its tensors begin.
  struct Encoder {
    std::string name, prefix;  ///< "teacher", "/teacher/backbone."
  };
  /// The first one is exported unless another one is asked for; none: not known, as above.
  std::vector<Encoder> encoders{};
};

/// A slice as it lies in state.h5, with the checksum of its values.
struct SavedSlice {
  std::int64_t begin = 0, count = 0;
  std::uint64_t checksum = 0;
};

struct SavedTensor {
  std::vector<std::int64_t> shape;
  std::vector<SavedSlice> slices;  ///< by begin; together they cover the tensor
};

/// What meta.json says.
struct Contents {
  Meta meta;
  std::map<std::string, SavedTensor> tensors;
  std::uint64_t file_bytes = 0;  ///< of state.h5
};

/// Which checkpoints a save leaves: the newest `last`, those whose step is a multiple of `every` (0: none),
/// and the best.
struct Retention {
  std::int64_t last = 2, every = 0;
};

/// Where a checkpoint is: "runs/x/checkpoints" and 1200.
struct Location {
  std::filesystem::path folder;
  std::int64_t step = 0;
};

/// The parts of a path such as runs/x/checkpoints/step-00001200, and what runs/x/checkpoints/best
/// names; nothing when its name is not that of a checkpoint or there is no such folder.
std::optional<Location> locate(const std::filesystem::path& checkpoint);

/// runs/<name>/checkpoints. A checkpoint is a folder step-00001200/ of state.h5 and meta.json, written
/// beside, verified and renamed into place; `latest` then points to it. The newest complete checkpoint is
/// never touched by a write. docs/formats/checkpoint.md gives every byte. Saving and loading need 1 MiB a
/// rank besides the state itself.
class Store {
 public:
  /// `ranks` outlives the store. Nothing is created before the first save.
  Store(std::filesystem::path folder, comm::Communicator& ranks, Retention keep = {});

  /// Collective. Every rank writes its slices through MPI-IO, then reads them back against their
  /// checksums. Checkpoints that `keep` does not name are removed, as are those of later steps: what they
  /// hold is damaged, or of a course that was given up. A failure (disk full …) throws DataError on every
  /// rank and leaves the earlier checkpoints as they were.
  void save(const std::vector<Slice>& state, const Meta& meta);
  /// Collective. Fills `values` of each slice in place; slices may be cut otherwise than those saved.
  /// Checksums are verified. Throws DataError naming the tensor (missing, other shape, damaged); the values
  /// are then not to be used.
  void load(std::int64_t step, std::vector<Slice>& state);
  /// Collective; ranks share the work. Reads everything and compares it with its checksum. What is damaged,
  /// a sentence each, the same on every rank: "tensor '/model/x' is damaged: values 0 to 41 do not match
  /// their checksum"; empty: the checkpoint is intact. Throws DataError for another version of the format.
  std::vector<std::string> damage(std::int64_t step);

  // One rank may call these.
  /// Step of the newest complete checkpoint; folders without meta.json do not count.
  [[nodiscard]] std::optional<std::int64_t> latest() const;
  /// Step of the checkpoint that keep_best() named last, while it is there.
  [[nodiscard]] std::optional<std::int64_t> best() const;
  /// `best` points to the complete checkpoint of this step from here on, or to none: no save removes it
  /// unless it is of a later step than the one saved. Throws DataError.
  void keep_best(std::optional<std::int64_t> step);
  /// Of all folders of checkpoints, damaged ones too, newest first.
  [[nodiscard]] std::vector<std::int64_t> steps() const;
  /// Names of folders whose save did not end; the next save removes them.
  [[nodiscard]] std::vector<std::string> unfinished() const;
  /// Throws DataError: meta.json is missing or damaged, or of another version.
  [[nodiscard]] Contents contents(std::int64_t step) const;
  [[nodiscard]] std::filesystem::path path_of(std::int64_t step) const;

 private:
  std::filesystem::path folder_;
  comm::Communicator* ranks_;
  Retention keep_;
};

}  // namespace cohort::checkpoint
