#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"
#include "cohort/shard/sharded_model.h"

#include "table.h"

namespace cohort::perf {

struct CollectivesOptions {
  std::vector<std::string> operations{"all_reduce", "all_gather", "reduce_scatter", "broadcast"};
  std::vector<std::string> types{"f32"};                 ///< f32, bf16, f64
  std::string place = "in";                              ///< in, out or both
  std::string device = "cpu";                            ///< or cuda: over NCCL
  std::uint64_t smallest = 1 << 10, largest = 64 << 20;  ///< bytes of the larger of the two buffers
  std::uint64_t factor = 8;                              ///< from one size to the next
  double seconds = 0.3;                                  ///< for each measurement
  Output output;
};

/// Collective. cohort::comm against the same call of MPI and against memcpy. ExitCode::bug if a value is
/// wrong.
ExitCode collectives(const CollectivesOptions& options, comm::Communicator& ranks);

struct LoaderOptions {
  std::string dataset;
  std::string split = "train";
  std::int64_t images = 64;  ///< in a batch
  std::int64_t threads = 1;  ///< that make views
  double seconds = 1.0;      ///< for each measurement
  Output output;
};

/// Collective. Reading and view making against pread of the same bytes. ExitCode::bug if a value is wrong.
ExitCode loader(const LoaderOptions& options, comm::Communicator& ranks);

struct SamplerOptions {
  std::int64_t images = 100'000'000, contexts = 10'000;
  std::int64_t ranks = 4096, groups = 1, group_images = 32;  ///< groups on each rank in a step
  double balance = 1.0;
  std::int64_t block = 1;
  Output output;
};

/// Planning an epoch for one of many ranks, without any data. ExitCode::bug if a plan is wrong.
ExitCode sampler(const SamplerOptions& options, comm::Communicator& ranks);

/// Collective. What the flight recorder of comm takes: of an operation, of a stage, and of a process that
/// does nothing else. ExitCode::bug if the record is wrong.
ExitCode recorder(const Output& output, comm::Communicator& ranks);

struct ViewsOptions {
  std::string device = "cpu";  ///< or "cuda": batches of `images`, from stored pixels in page-locked memory
  std::int64_t images = 128;
  double seconds = 2.0;  ///< for each preset
  Output output;
};

/// Collective. How fast one thread, or a device, makes the views of the multi-crop presets. ExitCode::bug if
/// a value is not finite. Throws UsageError: no such device.
ExitCode views(const ViewsOptions& options, comm::Communicator& ranks);

struct EngineOptions {
  std::string model = "vit_small";
  std::int64_t patch = 8, image = 96;
  std::int64_t images = 16;        ///< in a batch, on each rank
  std::int64_t micro_batches = 1;  ///< that the batch is cut into
  std::int64_t steps = 5;
  bool bf16 = false, reproducible = false;
  bool context = false;  ///< all images are of one context, which a token stands for
  shard::ShardingConfig sharding;
  Output output;
};

/// Collective. Training steps of the sharded engine: images/s, time waited for other ranks, memory.
ExitCode engine(const EngineOptions& options, comm::Communicator& ranks);

struct StepOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::int64_t steps = 10, warmup = 2;
  std::string synthetic;     ///< "96x96x3": images of this size instead of the configuration's dataset
  std::string folder = ".";  ///< for the run, which is removed in the end
  double peak = 0;           ///< TFLOP/s of a rank; 0: measured
  Output output;
};

/// Collective. Training steps of a configuration, by the same code as cohort train: time and memory by stage,
/// FLOP, and MFU. Throws what cohort train throws.
ExitCode step(const StepOptions& options, comm::Communicator& ranks);

struct ScalingOptions {
  StepOptions step;  ///< its output is that of scaling
  std::vector<std::int64_t> ranks{1, 2};
  std::string mode = "strong";      ///< or weak
  std::int64_t repeats = 3;         ///< runs with each number of ranks
  std::string launcher = "mpirun";  ///< words before -n
  std::int64_t patience = 3600;     ///< seconds for a run
};

/// Without ranks: starts cohort-perf step on each number of ranks, in turns. How time and efficiency change,
/// with confidence intervals, and a fit of what is serial, parallel and communication. Throws UsageError, and
/// RankError when a run fails.
ExitCode scaling(const ScalingOptions& options);

struct ContextOptions {
  std::int64_t images = 16, patches = 144, width = 384;  ///< of each rank
  std::int64_t keys = 1, values = 32;  ///< context keys, and values of each in the vocabulary
  double seconds = 1.0;                ///< for each way
  Output output;
};

/// Collective. Bytes and time of context inference in group and global scope against gathering all patches.
/// ExitCode::bug when the ways differ, or another number of bytes was sent than the formula says.
ExitCode context(const ContextOptions& options, comm::Communicator& ranks);

struct CompareOptions {
  std::string before, after;  ///< files of JSON Lines
  double confidence = 0.95;   ///< of all verdicts together
  double tolerance = 0;       ///< differences up to this part do not count
  bool fail_if_slower = false;
  Output output;
};

/// Without ranks. What two files of results have in common, and which differences are more than noise.
/// ExitCode::bug with fail_if_slower when something is worse. Throws DataError or UsageError.
ExitCode compare(const CompareOptions& options);

struct GateOptions {
  std::string baseline = "perf/baseline.json";
  std::string folder = ".";  ///< for images, which are removed in the end
  double seconds = 2;        ///< for each ratio and attempt
  std::int64_t attempts = 3;
  Output output;
};

/// Collective. Ratios to peers and limits that are measured in the same run. ExitCode::bug when one is below
/// what the baseline allows on a machine of this kind. Throws DataError.
ExitCode gate(const GateOptions& options, comm::Communicator& ranks);

struct CheckpointOptions {
  std::uint64_t bytes = std::uint64_t{1} << 30;  ///< of the state, over all ranks
  std::string folder = ".";
  std::int64_t rounds = 5;
  Output output;
};

/// Collective. Saving, loading, verifying and asynchronous saves against plain writes and reads of the same
/// bytes in the same folder. ExitCode::bug if a value is wrong.
ExitCode checkpoints(const CheckpointOptions& options, comm::Communicator& ranks);

struct CalibrateOptions {
  std::string file;      ///< to write; empty: the terminal
  double seconds = 1.0;  ///< for each measurement
};

/// Collective. Measures what cohort-perf plan has to know of this machine, and writes it as a file of
/// hardware. With one rank nothing is told of collectives.
ExitCode calibrate(const CalibrateOptions& options, comm::Communicator& ranks);

struct TraceOptions {
  std::string file;       ///< trace.json of a run
  std::int64_t step = 0;  ///< 0: all
  std::string picture;    ///< SVG to write; empty: none
  Output output;
};

/// Without ranks. How much of the communication of traced steps was hidden behind computation, and what each
/// lane of the last one did. Throws DataError or UsageError.
ExitCode trace(const TraceOptions& options);

}  // namespace cohort::perf
