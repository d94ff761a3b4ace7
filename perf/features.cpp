#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/text.h"
#include "cohort/data/column_reader.h"
#include "cohort/data/dataset.h"
#include "cohort/data/dataset_writer.h"
#include "cohort/eval/feature_file.h"

#include "commands.h"
#include "raw_file.h"
#include "resident_peak.h"
#include "scratch.h"
#include "statistics.h"
#include "table.h"

namespace cohort::perf {
namespace {

namespace fs = std::filesystem;

struct FeatureOptions {
  std::int64_t images = 1'000'000, width = 384, rounds = 3;
  std::string folder = ".";
  Output output;
};

constexpr std::int64_t kShardRows = 100'000;  // of the dataset that features are of
constexpr std::int64_t kPassRows = 128;       // of a forward pass

/// Collective. As many images of one pixel: one shard, under as many names as it takes.
data::Dataset make_images(const fs::path& folder, std::int64_t images, comm::Communicator& ranks) {
  data::Description description;
  description.name = "features";
  description.images = {data::PixelType::u8, 1, 1, 1};
  description.channels = {"gray"};
  description.contexts = {{"slide", {"one"}}};
  description.splits = {{"all", {}}};
  description.statistics = "all";
  std::vector<data::Row> rows;
  for (std::int64_t i = 0; i < std::min(images, kShardRows); ++i)
    rows.push_back({fmt::format("{:06}", i), 0, {}, {0}});
  const auto pixels = [](std::int64_t, std::span<std::byte> out) { out[0] = std::byte{42}; };
  (void)data::write_dataset(folder, description, rows, pixels, {}, ranks);
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    data::Description written = data::Description::read(folder);
    std::vector<data::ShardEntry>& shards = written.splits.front().shards;
    const data::ShardEntry first = shards.front();
    for (std::int64_t i = 1; i < images / kShardRows; ++i) {
      shards.push_back(first);
      shards.back().file = fmt::format("all-{:05}.h5", i);
      fs::create_hard_link(folder / first.file, folder / shards.back().file);
    }
    written.write(folder);
  });
  const auto no_labels = [](const data::Description&) { return std::vector<std::string>(); };
  return data::Dataset::open(folder, "all", no_labels, ranks);
}

/// What a forward pass says of its images; no two rows are alike.
eval::PassAnswers made_pass(std::int64_t pass, std::int64_t images, std::int64_t width) {
  const std::int64_t first = pass * kPassRows, count = std::min(kPassRows, images - first);
  const at::Tensor rows = at::arange(first, first + count);
  eval::PassAnswers answers;
  answers.pass = pass;
  answers.rows = rows;
  answers.features = rows.to(at::kFloat).unsqueeze(1) + at::arange(width, at::kFloat) / 1024;
  return answers;
}

/// Features as cohort extract writes them, without a model.
class Writing {
 public:
  Writing(const FeatureOptions& options, comm::Communicator& ranks)
      : options_(options),
        ranks_(ranks),
        scratch_(options.folder, "cohort-perf-features", ranks),
        dataset_(make_images(scratch_.path() / "images", options.images, ranks)),
        passes_((dataset_.rows() + kPassRows - 1) / kPassRows),
        raw_(scratch_.path() / "raw", bytes() / ranks.size(), ranks) {}

  [[nodiscard]] std::int64_t bytes() const { return dataset_.rows() * options_.width * 4; }
  [[nodiscard]] std::int64_t images() const { return dataset_.rows(); }
  /// Collective.
  void write() {
    data::ColumnReader columns(scratch_.path() / "images", dataset_.description(), "all");
    eval::FeatureContents contents;
    contents.width = options_.width;
    contents.passes = passes_;
    eval::FeatureWriter writer(file(), dataset_, columns, contents, ranks_);
    comm::together(ranks_, [&] {
      for (std::int64_t pass = first_pass(ranks_.rank()); pass < first_pass(ranks_.rank() + 1); ++pass)
        writer.write(made_pass(pass, dataset_.rows(), options_.width));
    });
    writer.finish();
    writer.commit();
  }
  /// Collective.
  void write_raw() {
    comm::together(ranks_, [&] { raw_.write(); });
  }
  /// Collective. Removes what both have written.
  void remove() {
    comm::together(ranks_, [&] {
      if (ranks_.rank() == 0) fs::remove(file()), fs::remove(raw_.path());
    });
  }
  /// Values of some passes of this rank that did not come back as they were.
  [[nodiscard]] std::int64_t wrong() const {
    const eval::FeatureReader reader(file());
    std::int64_t wrong = 0;
    const std::int64_t first = first_pass(ranks_.rank()), last = first_pass(ranks_.rank() + 1);
    for (std::int64_t pass = first; pass < last; pass += std::max<std::int64_t>(1, (last - first) / 64)) {
      const eval::PassAnswers made = made_pass(pass, dataset_.rows(), options_.width);
      const at::Tensor read = reader.read("features", pass * kPassRows, made.rows.numel());
      wrong += read.ne(made.features).sum().item<std::int64_t>();
    }
    return wrong;
  }

 private:
  [[nodiscard]] fs::path file() const { return scratch_.path() / "features.h5"; }
  [[nodiscard]] std::int64_t first_pass(int rank) const { return passes_ * rank / ranks_.size(); }

  const FeatureOptions& options_;
  comm::Communicator& ranks_;
  Scratch scratch_;
  data::Dataset dataset_;
  std::int64_t passes_;
  RawFile raw_;
};

/// Collective. Seconds of the slowest rank.
double seconds_of(comm::Communicator& ranks, const std::function<void()>& work) {
  ranks.barrier();
  const auto start = std::chrono::steady_clock::now();
  work();
  return ranks.max(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

/// Collective. Writes features and as many plain bytes in turns. ExitCode::bug if a value is wrong.
ExitCode write_features(const FeatureOptions& options, comm::Communicator& ranks) {
  Writing writing(options, ranks);
  std::vector<double> own, raw;
  double peak = 0;
  std::int64_t wrong = 0;
  for (std::int64_t round = 0; round < options.rounds; ++round) {
    writing.remove();
    if (round % 2 == 1) raw.push_back(seconds_of(ranks, [&] { writing.write_raw(); }));
    {
      const ResidentPeak resident;
      own.push_back(seconds_of(ranks, [&] { writing.write(); }));
      peak = std::max(peak, ranks.max(resident.mib()));
    }
    if (round % 2 == 0) raw.push_back(seconds_of(ranks, [&] { writing.write_raw(); }));
    comm::together(ranks, [&] { wrong += writing.wrong(); });
  }
  wrong = ranks.sum(wrong);
  const double bytes = static_cast<double>(writing.bytes()), rate = bytes / median(own) * 1e-6,
               limit = bytes / median(raw) * 1e-6;
  Results results("features", options.output, ranks);
  Table& table = results.table(
      "",
      {fmt::format("{} images of {} floats, {} in {}, median of {} rounds", format_count(writing.images()),
                   options.width, format_bytes(static_cast<std::uint64_t>(bytes)), options.folder,
                   options.rounds),
       "as cohort extract writes them: one file by all ranks, synced and read back; limit: pwrite of the "
       "same "
       "bytes to a new file, and fsync",
       "peak: what it adds to the resident set of the largest rank"},
      {{"images", "", 12, 0, Role::key},
       {"width", "", 6, 0, Role::key},
       {"time p50", "ms", 12, 1, Role::lower},
       {"all ranks", "MB/s", 10, 1},
       {"limit", "MB/s", 10, 1},
       {"of limit", "%", 8, 1},
       {"peak", "MiB", 8, 1},
       {"#wrong", "", 6}},
      {{"time", "", {"time p50"}}});
  std::vector<double> milliseconds = own;
  for (double& value : milliseconds) value *= 1e3;
  table.add(
      {writing.images(), options.width, median(own) * 1e3, rate, limit, 100 * rate / limit, peak, wrong},
      milliseconds);
  results.finish();
  return wrong == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace

void add_features(CLI::App& app, Job& job) {
  const auto options = std::make_shared<FeatureOptions>();
  CLI::App* command = &add_command(app, {"features",
                                         "Write features of many images into one file, against plain writes",
                                         {"mpirun -n 4 cohort-perf features --images 10000000 --dir runs"},
                                         endings_on_ranks()});
  command->add_option("--images", options->images, "how many; beyond 100,000 whole multiples of that")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--width", options->width, "floats of an image")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--dir", options->folder, "folder to write into; a sub-folder is made and removed")
      ->capture_default_str();
  command->add_option("--rounds", options->rounds, "times that both are written, in turns")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add_output(command, options->output);
  command->callback([options, &job] {
    job.with_ranks = [options](comm::Communicator& ranks) { return write_features(*options, ranks); };
  });
}

}  // namespace cohort::perf
