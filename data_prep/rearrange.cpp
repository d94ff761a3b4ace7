// cohort-data merge and cohort-data split: datasets made of datasets.
#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/text.h"
#include "cohort/data/column_reader.h"
#include "cohort/data/dataset.h"
#include "cohort/data/image_codec.h"

#include "data_prep/convert.h"
#include "data_prep/folds.h"

namespace cohort::data_prep {
namespace {

namespace fs = std::filesystem;

struct RearrangeOptions {
  std::vector<fs::path> datasets;
  std::vector<std::string> splits, keep;  // empty: all; "KEY=a,b"
  bool prefix_ids = false;
  ConvertOptions common;
};

/// An image of a dataset that is read from.
struct StoredImage {
  std::size_t split;
  std::int64_t row;
};

/// Labels and contexts of a split as texts; some rows at a time are in memory.
class SplitColumns {
 public:
  SplitColumns(const fs::path& folder, const data::Dataset& split)
      : reader_(folder, split.description(), split.split(), kHeld), split_(&split) {}

  /// Empty: the image has none, or the split no such label.
  [[nodiscard]] std::string label(const std::string& name, std::int64_t row) {
    const auto& known = split_->description().labels;
    const auto found =
        std::find_if(known.begin(), known.end(), [&](const auto& column) { return column.name == name; });
    if (found == known.end()) return "";
    const std::int32_t value = value_of(labels_[name], row, [&](std::int64_t first, std::int64_t count) {
      return reader_.labels(name, first, count);
    });
    return value < 0 ? "" : found->classes[static_cast<std::size_t>(value)];
  }

  [[nodiscard]] std::string context(const std::string& name, std::int64_t row) {
    const std::int32_t value = value_of(contexts_[name], row, [&](std::int64_t first, std::int64_t count) {
      return reader_.contexts(name, first, count);
    });
    return split_->description().context(name).values[static_cast<std::size_t>(value)];
  }

 private:
  static constexpr std::int64_t kHeld = std::int64_t{1} << 20;  // rows are read one after another

  struct Block {
    std::int64_t first = -1;
    std::vector<std::int32_t> values;
  };

  template <class Read>
  std::int32_t value_of(Block& block, std::int64_t row, const Read& read) {
    constexpr std::int64_t kRows = 4096;
    const std::int64_t first = row / kRows * kRows;
    if (block.first != first) {
      block.values = read(first, std::min(kRows, split_->rows() - first));
      block.first = first;
    }
    return block.values[static_cast<std::size_t>(row - first)];
  }

  data::ColumnReader reader_;
  const data::Dataset* split_;
  std::map<std::string, Block> labels_, contexts_;
};

/// Images that have one of some values.
struct Filter {
  std::string key;
  std::vector<std::string> values;
};

std::vector<Filter> filters_of(const std::vector<std::string>& texts) {
  std::vector<Filter> filters;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError({fmt::format("'{}' does not say which values of what to keep", text), "--keep",
                        "write KEY=a,b with a context key or a label"});
    }
    filters.push_back({text.substr(0, equals), split_text(text.substr(equals + 1), ',')});
  }
  return filters;
}

/// All splits of all datasets, and what their images become.
class Rearrangement {
 public:
  explicit Rearrangement(const RearrangeOptions& options) : options_(options) {
    for (const fs::path& folder : options.datasets) open(folder);
    const data::Description& first = splits_.front().description();
    source.where = options.datasets.front().string();
    source.channels = first.channels;
    source.statistics = first.statistics;
    source.preparation = common_preparation();
    for (std::size_t split = 0; split < splits_.size(); ++split)
      columns_.emplace_back(folders_[split], splits_[split]);
    name_columns();
    check_filters();
    add_images();
    source.content = sum_.value();
    source.image = [this](std::int64_t index) { return image(stored(index)); };
    source.file = [this](std::int64_t index) { return encoded(stored(index)); };
    for (const data::Field& field : first.fields) source.fields.push_back(field_source(field));
  }
  Rearrangement(const Rearrangement&) = delete;
  Rearrangement& operator=(const Rearrangement&) = delete;

  [[nodiscard]] const data::Description& first() const { return splits_.front().description(); }
  /// Throws DataError for two images with one id.
  void check_ids() const {
    const std::optional<std::string> twice = data::repeated_text(source.ids.packed());
    if (!twice) return;
    std::vector<std::string> places;
    for (std::size_t i = 0; i < source.ids.size() && places.size() < 2; ++i) {
      if (source.ids[i] == *twice) places.push_back(places_[stored(static_cast<std::int64_t>(i)).split]);
    }
    throw DataError({fmt::format("two images are called '{}'", *twice), join(places, " and "),
                     "tell them apart by the names of their datasets: --prefix-ids"});
  }
  Source source;

 private:
  void open(const fs::path& folder) {
    const data::Description description = data::Description::read(folder);
    if (!splits_.empty() && description.images != first().images) {
      throw DataError({fmt::format("the images have another layout ({}) than those of {} ({})",
                                   layout_text(description.images), options_.datasets.front().string(),
                                   layout_text(first().images)),
                       folder.string(), "convert them again with --resize or --gray"});
    }
    check_channels(folder, description);
    check_fields(folder, description);
    note_left_out(description);
    for (const std::string& name : options_.splits) static_cast<void>(description.split(name));
    for (const data::Split& split : description.splits) {
      const bool wanted = options_.splits.empty() || std::find(options_.splits.begin(), options_.splits.end(),
                                                               split.name) != options_.splits.end();
      if (!wanted) continue;
      for (const data::ShardEntry& shard : split.shards)
        sum_.update(std::as_bytes(std::span(&shard.checksum, 1)));
      splits_.push_back(data::Dataset::open(folder, split.name));
      folders_.push_back(folder);
      places_.push_back(fmt::format("{}, split {}", folder.string(), split.name));
      prefixes_.push_back(options_.prefix_ids ? description.name + "/" : "");
    }
  }

  void check_channels(const fs::path& folder, const data::Description& description) const {
    if (splits_.empty() || description.channels == first().channels) return;
    throw DataError(
        {fmt::format("the channels are called {}, those of {} {}", join(description.channels, ", "),
                     options_.datasets.front().string(), join(first().channels, ", ")),
         folder.string(), "convert the images again with the same channels in the same order"});
  }

  /// Every dataset needs the fields of the first one; how they are kept may differ.
  void check_fields(const fs::path& folder, const data::Description& description) const {
    if (splits_.empty()) return;
    for (data::Field wanted : first().fields) {
      const data::Field& found = description.field(wanted.name);
      wanted.codec = found.codec;
      if (found == wanted) continue;
      if (found.tokenization != wanted.tokenization)
        throw DataError({fmt::format("field '{}' was made by another tokenizer than that of {}", wanted.name,
                                     options_.datasets.front().string()),
                         folder.string(),
                         "convert the images again with the same --tokenizer, --vocabulary and "
                         "--maximal-length"});
      throw DataError({fmt::format("field '{}' has another kind, type, shape or other names than that of {}",
                                   wanted.name, options_.datasets.front().string()),
                       folder.string(), "convert the images again with the same fields"});
    }
  }

  /// What the new dataset does not have of one that is not the first.
  void note_left_out(const data::Description& description) {
    if (splits_.empty()) return;
    for (const data::ContextColumn& context : description.contexts) {
      const auto& known = first().contexts;
      const bool is_known = std::any_of(known.begin(), known.end(), [&](const data::ContextColumn& other) {
        return other.name == context.name;
      });
      if (!is_known)
        source.left_out.add("context keys that the first dataset does not have",
                            fmt::format("{} of {}", context.name, description.name));
    }
    for (const data::Field& field : description.fields) {
      const auto& known = first().fields;
      if (std::none_of(known.begin(), known.end(),
                       [&](const auto& other) { return other.name == field.name; }))
        source.left_out.add("fields that the first dataset does not have",
                            fmt::format("{} of {}", field.name, description.name));
    }
    if (description.preparation != first().preparation)
      source.left_out.add(
          "ways of preparing images (resize, gray) unlike that of the first dataset: none is kept",
          description.name);
    if (options_.common.license.empty() && description.license != first().license)
      source.left_out.add("licences unlike that of the first dataset",
                          fmt::format("'{}' of {}", description.license, description.name));
  }

  /// Of images that were prepared in different ways it is not known.
  [[nodiscard]] std::optional<data::Preparation> common_preparation() const {
    const auto& first_one = first().preparation;
    const bool is_one = std::all_of(splits_.begin(), splits_.end(), [&](const data::Dataset& split) {
      return split.description().preparation == first_one;
    });
    return is_one ? first_one : std::nullopt;
  }

  /// Labels of any dataset, their classes in order of appearance; contexts of all of them.
  void name_columns() {
    for (const data::Dataset& split : splits_) {
      for (const data::LabelColumn& label : split.description().labels) {
        auto found = std::find_if(source.labels.begin(), source.labels.end(),
                                  [&](const Column& column) { return column.name == label.name; });
        if (found == source.labels.end()) found = source.labels.insert(found, Column{label.name, {}, {}});
        for (const std::string& name : label.classes) {
          const auto known = std::find(found->vocabulary.begin(), found->vocabulary.end(), name);
          if (known == found->vocabulary.end()) found->vocabulary.push_back(name);
        }
      }
    }
    for (const data::ContextColumn& context : first().contexts)
      source.contexts.push_back({context.name, {}, {}});
  }

  void check_filters() const {
    std::vector<std::string> known;
    for (const auto* columns : {&source.labels, &source.contexts}) {
      for (const Column& column : *columns) known.push_back(column.name);
    }
    for (const Filter& filter : filters_) {
      if (std::find(known.begin(), known.end(), filter.key) == known.end()) {
        throw UsageError({fmt::format("there is neither a context key nor a label '{}'", filter.key),
                          "--keep", did_you_mean(filter.key, known)});
      }
    }
  }

  [[nodiscard]] bool is_kept(const StoredImage& stored) {
    SplitColumns& columns = columns_[stored.split];
    return std::all_of(filters_.begin(), filters_.end(), [&](const Filter& filter) {
      const bool is_label = std::any_of(source.labels.begin(), source.labels.end(),
                                        [&](const Column& column) { return column.name == filter.key; });
      const std::string value =
          is_label ? columns.label(filter.key, stored.row) : columns.context(filter.key, stored.row);
      return std::find(filter.values.begin(), filter.values.end(), value) != filter.values.end();
    });
  }

  /// Row `index` of all splits, one behind another.
  [[nodiscard]] StoredImage row_of_all(std::int64_t index) const {
    const auto behind = std::upper_bound(first_row_.begin(), first_row_.end(), index);
    const auto split = static_cast<std::size_t>(behind - first_row_.begin()) - 1;
    return {split, index - first_row_[split]};
  }

  /// Image `index` of those that are kept.
  [[nodiscard]] StoredImage stored(std::int64_t index) const {
    return row_of_all(filters_.empty() ? index : kept_[static_cast<std::size_t>(index)]);
  }

  void add_images() {
    first_row_ = {0};
    for (const data::Dataset& split : splits_) first_row_.push_back(first_row_.back() + split.rows());
    std::int64_t count = first_row_.back();
    for (std::int64_t i = 0; i < count && !filters_.empty(); ++i) {
      if (is_kept(row_of_all(i))) kept_.push_back(i);
    }
    if (!filters_.empty()) count = std::ssize(kept_);
    source.ids = {count, [this](std::int64_t i) {
                    const StoredImage from = stored(i);
                    return prefixes_[from.split] + splits_[from.split].id(from.row);
                  }};
    if (!options_.common.makes_splits_of_all())
      source.splits = {count, [this](std::int64_t i) { return splits_[stored(i).split].split(); }};
    for (Column& label : source.labels)
      label.values = {count, [this, name = label.name](std::int64_t i) {
                        const StoredImage from = stored(i);
                        return columns_[from.split].label(name, from.row);
                      }};
    for (Column& context : source.contexts)
      context.values = {count, [this, name = context.name](std::int64_t i) {
                          const StoredImage from = stored(i);
                          return columns_[from.split].context(name, from.row);
                        }};
  }

  [[nodiscard]] Image image(const StoredImage& stored) const {
    const data::Dataset& split = splits_[stored.split];
    Image image{split.description().images, {}};
    image.pixels.resize(static_cast<std::size_t>(image.layout.bytes()));
    split.read(stored.row, image.pixels);
    return image;
  }

  [[nodiscard]] FieldSource field_source(const data::Field& field) const {
    return {field, [this](const data::Field& wanted, std::int64_t index, const ImageChange& /*none*/) {
              const StoredImage from = stored(index);
              std::vector<std::byte> values;
              splits_[from.split].read_field(from.row, wanted.name, values);
              return values;
            }};
  }

  /// As it is kept; empty: not in a codec.
  [[nodiscard]] std::string encoded(const StoredImage& stored) const {
    const data::Dataset& split = splits_[stored.split];
    return split.description().codec == data::Codec::raw ? "" : split.encoded(stored.row);
  }

  const RearrangeOptions& options_;
  std::vector<Filter> filters_ = filters_of(options_.keep);
  std::vector<data::Dataset> splits_;
  std::vector<SplitColumns> columns_;           // one a split
  std::vector<fs::path> folders_;               // one a split
  std::vector<std::string> prefixes_, places_;  // of ids, and for messages, one a split
  std::vector<std::int64_t> first_row_;         // of each split among those of all, and the end
  std::vector<std::int64_t> kept_;              // numbers among those of all; with filters alone
  Checksum sum_;
};

ExitCode run(const RearrangeOptions& options, comm::Communicator& ranks) {
  std::optional<Rearrangement> rearrangement;
  ConvertOptions common = options.common;
  comm::together(ranks, [&] {
    rearrangement.emplace(options);
    if (ranks.rank() == 0) rearrangement->check_ids();
    const data::Description& first = rearrangement->first();
    if (common.codec.empty()) common.codec = std::string(data::codec_name(first.codec));
    if (common.license.empty()) common.license = first.license;
  });
  return convert(rearrangement->source, common, ranks);
}

}  // namespace

void write_fold(const std::filesystem::path& dataset, const DivisionOptions& division,
                const std::filesystem::path& out, comm::Communicator& ranks) {
  RearrangeOptions options;
  options.datasets = {dataset};
  options.common.codec.clear();
  options.common.division = division;
  options.common.out = out;
  static_cast<void>(run(options, ranks));
}

namespace {

void add_options(CLI::App& command, RearrangeOptions& options) {
  ConvertOptions& common = options.common;
  common.codec.clear();
  command.add_option("--out", common.out, "folder of the new dataset")->required()->type_name("DIR");
  command.add_option("--name", common.name, "name of the dataset (default: that of the folder)");
  command.add_option("--license", common.license,
                     "licence of the images (default: that of the first dataset)");
  command.add_option("--split", options.splits, "take the images of this split alone; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option("--keep", options.keep,
                  "KEY=a,b: take images with these values of a context key or label alone; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--shard-size", common.shard_size, "largest size of one shard; with a codec about that")
      ->capture_default_str();
  command.add_option("--codec", common.codec, "how images are kept (default: as in the first dataset)");
  common.add_statistics_to(command);
  command.add_flag("--dry-run", common.dry_run,
                   "only show how many images each split, label and context would get");
  command.add_flag("--overwrite", common.overwrite, "replace the dataset that is in the folder");
}

}  // namespace

void add_merge(CLI::App& program, Action& action) {
  auto options = std::make_shared<RearrangeOptions>();
  CLI::App& command =
      add_command(program, {"merge",
                            "Make one dataset of several with images of one layout",
                            {"mpirun -n 4 cohort-data merge data/site_a data/site_b --out data/both"},
                            endings_on_ranks(),
                            "Splits, classes and contexts of one name are one. An image of a dataset without "
                            "some label has none of it; every dataset needs the first one's context keys."});
  command.add_option("datasets", options->datasets, "the folders")
      ->required()
      ->type_name("DIR")
      ->expected(2, 1 << 16);
  add_options(command, *options);
  command.add_flag("--prefix-ids", options->prefix_ids,
                   "put the name of its dataset before the id of each image, where ids would be alike");
  choose_on<RearrangeOptions>(command, action, options, run);
}

void add_split(CLI::App& program, Action& action) {
  auto options = std::make_shared<RearrangeOptions>();
  CLI::App& command = add_command(
      program,
      {"split",
       "Make a dataset of some images of another, or with other splits",
       {"cohort-data split data/elpv --keep module=module_01,module_02 --out data/two_modules",
        "mpirun -n 4 cohort-data split data/elpv --hold-out-contexts 8 --out data/elpv8",
        "cohort-data split data/elpv --folds 5 --fold 0 --group-by module --stratify condition --out "
        "data/fold0"},
       endings_on_ranks()});
  options->datasets.resize(1);
  command.add_option("dataset", options->datasets.front(), "the folder")->required()->type_name("DIR");
  add_options(command, *options);
  command.add_option(
      "--hold-out-contexts", options->common.hold_out.contexts,
      "new splits: 'unseen_test' is the first and every N-th value after it of the first context key");
  command.add_option("--hold-out-images", options->common.hold_out.images,
                     "new splits: 'seen_test' is every N-th image of each context that is not held out");
  options->common.division.add_to(command);
  choose_on<RearrangeOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep
