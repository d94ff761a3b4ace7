#include <cstring>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/augment/views.h"
#include "cohort/core/handle.h"
#include "cohort/data/batch.h"
#include "cohort/data/dataset.h"
#include "cohort/data/shard_reader.h"

#include "commands.h"
#include "table.h"
#include "timing.h"

namespace cohort::perf {
namespace {

struct LoaderOptions {
  std::string dataset;
  std::string split = "train";
  std::int64_t images = 64;  ///< in a batch
  std::int64_t threads = 1;  ///< that make views
  double seconds = 1.0;      ///< for each measurement
  Output output;
};

struct FileTraits {
  using type = int;
  static int null() noexcept { return -1; }
  static void close(int file) noexcept { ::close(file); }
};
using File = Handle<FileTraits>;

/// The bytes of a split's shards as one sequence, read with pread block by block and from the start again at
/// the end.
class RawBytes {
 public:
  RawBytes(const std::filesystem::path& folder, const data::Split& split) {
    for (const auto& shard : split.shards) {
      const auto path = folder / shard.file;
      files_.emplace_back(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (!files_.back())
        throw DataError({std::string("cannot open: ") + std::strerror(errno), path, "check the dataset"});
    }
  }
  void read(std::vector<char>& block) {
    std::size_t done = 0;
    while (done < block.size()) {
      const ssize_t got = ::pread(files_[file_].get(), block.data() + done, block.size() - done, offset_);
      if (got < 0)
        throw DataError(
            {std::string("cannot read: ") + std::strerror(errno), "a shard", "check the dataset"});
      offset_ += got;
      done += static_cast<std::size_t>(got);
      if (got == 0) next_file();
    }
  }

 private:
  void next_file() {
    file_ = (file_ + 1) % files_.size();
    offset_ = 0;
  }
  std::vector<File> files_;
  std::size_t file_ = 0;
  off_t offset_ = 0;
};

at::ScalarType scalar_type(data::PixelType type) {
  switch (type) {
    case data::PixelType::u8:
      return at::kByte;
    case data::PixelType::u16:
      return at::kUInt16;
    case data::PixelType::f32:
      return at::kFloat;
  }
  return at::kByte;
}

/// Values of Dataset::images that differ from the stored ones, over the first images of this rank.
std::int64_t count_wrong(const data::Dataset& dataset, const std::filesystem::path& folder,
                         std::int64_t images) {
  const auto& description = dataset.description();
  const auto& layout = description.images;
  const auto& shard = description.split(dataset.split()).shards.front();
  const auto reader = data::ShardReader::open(folder, shard, layout, description.codec);
  std::vector<std::int64_t> rows(static_cast<std::size_t>(std::min(images, reader.rows())));
  std::vector<std::int64_t> shape = layout.sizes();
  shape.insert(shape.begin(), std::ssize(rows));
  at::Tensor stored = at::empty(shape, scalar_type(layout.type));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i] = static_cast<std::int64_t>(i);
    auto* bytes = static_cast<std::byte*>(stored[rows[i]].data_ptr());
    reader.read(rows[i], {bytes, static_cast<std::size_t>(layout.bytes())});
  }
  return dataset.images(rows).ne(stored.to(at::kFloat)).sum().item<std::int64_t>();
}

/// The batches of this rank: every size()-th piece of the split in dataset order, over and over.
class Batches {
 public:
  Batches(const data::Dataset& dataset, std::int64_t images, comm::Communicator& ranks)
      : rows_(dataset.rows()),
        images_(std::min(images, rows_)),
        next_(ranks.rank() * images_),
        stride_(ranks.size() * images_) {}
  const std::vector<data::Group>& next() {
    groups_[0].rows.resize(static_cast<std::size_t>(images_));
    for (std::int64_t i = 0; i < images_; ++i)
      groups_[0].rows[static_cast<std::size_t>(i)] = (next_ + i) % rows_;
    next_ = (next_ + stride_) % rows_;
    return groups_;
  }
  [[nodiscard]] std::int64_t images() const { return images_; }

 private:
  std::int64_t rows_, images_, next_, stride_;
  std::vector<data::Group> groups_{1};
};

std::unique_ptr<data::ViewMaker> whole_training_view(const data::Description& description) {
  augment::AugmentConfig config;
  config.flip_horizontal = config.flip_vertical = true;
  config.crop_scale_min = 0.5;
  config.brightness = config.contrast = 0.2;
  return augment::training_view(config, description, augment::Normalisation::dataset, 0, 0);
}

std::vector<std::string> field_names(const data::Description& description) {
  std::vector<std::string> names;
  for (const data::Field& field : description.fields) names.push_back(field.name);
  return names;
}

using Stages = std::vector<std::pair<std::string, std::function<void(const std::vector<data::Group>&)>>>;

Stages stages(const data::Dataset& dataset, std::int64_t threads) {
  const auto workers = std::make_shared<Workers>(threads);
  const auto batches_with = [&](std::shared_ptr<const data::ViewMaker> views,
                                std::vector<std::string> fields = {}) {
    data::BatchColumns columns;
    columns.fields = std::move(fields);
    return [&dataset, views = std::move(views), columns, workers](const std::vector<data::Group>& groups) {
      make_batch(dataset, groups, columns, *views, *workers);
    };
  };
  const auto& description = dataset.description();
  const auto image =
      std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(description.images.bytes()));
  Stages stages = {
      {"rows",
       [&dataset, image](const std::vector<data::Group>& groups) {
         for (const std::int64_t row : groups[0].rows) dataset.read(row, *image);
       }},
      {"images",
       [&dataset](const std::vector<data::Group>& groups) {
         static_cast<void>(dataset.images(groups[0].rows));
       }},
      {"evaluation", batches_with(augment::evaluation_view(description, augment::Normalisation::dataset))},
      {"training", batches_with(whole_training_view(description))}};
  if (!description.fields.empty())
    stages.emplace_back("fields", batches_with(whole_training_view(description), field_names(description)));
  return stages;
}

Table& make_table(const LoaderOptions& options, Results& results) {
  return results.table(
      "",
      {options.dataset + ", split " + options.split +
           ", files in the page cache; views: " + std::to_string(options.threads) + " threads a rank",
       "rows: read and check. images: and convert to f32. evaluation: and normalise. training: and flip, "
       "crop, change "
       "brightness and contrast. fields: and read all fields; masks, boxes and points move along",
       "limit: pread of as many bytes of the same files in the same blocks"},
      {{"stage", "", 12, 0, Role::key},
       {"batch", "images", 8, 0, Role::key},
       {"bytes", "B", 10},
       {"time p50", "us", 10, 1, Role::lower},
       {"p99", "us", 10, 1},
       {"all ranks", "images/s", 10},
       {"per rank", "GB/s", 8, 3},
       {"limit", "GB/s", 7, 3},
       {"of limit", "%", 8, 1},
       {"#wrong", "", 6}},
      {{"all ranks", "", {"all ranks"}}});
}

/// Collective. Reading and view making against pread of the same bytes. ExitCode::bug if a value is wrong.
ExitCode loader(const LoaderOptions& options, comm::Communicator& ranks) {
  const auto no_labels = [](const data::Description&) { return std::vector<std::string>(); };
  const data::Dataset dataset = data::Dataset::open(options.dataset, options.split, no_labels, ranks);
  std::optional<RawBytes> raw;
  std::int64_t wrong = 0;
  comm::together(ranks, [&] {
    raw.emplace(options.dataset, dataset.description().split(options.split));
    wrong = count_wrong(dataset, options.dataset, options.images);
  });
  wrong = ranks.sum(wrong);
  Batches batches(dataset, options.images, ranks);
  std::vector<char> block(static_cast<std::size_t>(batches.images() * dataset.description().images.bytes()));
  const auto bytes = static_cast<double>(block.size());
  const double limit = bytes /
                       measure(
                           ranks, options.seconds, [] {}, [&] { raw->read(block); })
                           .median *
                       1e-9;
  Results results("data", options.output, ranks);
  Table& table = make_table(options, results);
  for (const auto& [name, run] : stages(dataset, options.threads)) {
    const std::vector<data::Group>* groups = nullptr;
    const Times times = measure(
        ranks, options.seconds, [&] { groups = &batches.next(); }, [&] { run(*groups); });
    const double speed = bytes / times.median * 1e-9;
    table.add({name, batches.images(), static_cast<std::int64_t>(block.size()), times.median * 1e6,
               times.p99 * 1e6, static_cast<double>(batches.images() * ranks.size()) / times.median, speed,
               limit, 100 * speed / limit, wrong},
              times.microseconds());
  }
  results.finish();
  return wrong == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace

void add_loader(CLI::App& app, Job& job) {
  const auto options = std::make_shared<LoaderOptions>();
  CLI::App* command = &add_command(app, {"data",
                                         "Read a dataset and make views, against pread of the same bytes",
                                         {"mpirun -n 4 cohort-perf data data/elpv --threads 2"},
                                         endings_on_ranks()});
  command->alias("loader");
  command->add_option("dataset", options->dataset, "folder of the dataset")->required();
  command->add_option("--split", options->split, "which split")->capture_default_str();
  command->add_option("--batch", options->images, "images in a batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--threads", options->threads, "that make views, on each rank")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "time for each measurement")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_output(command, options->output);
  command->callback([options, &job] {
    job.with_ranks = [options](comm::Communicator& ranks) { return loader(*options, ranks); };
  });
}

}  // namespace cohort::perf
