#include "features.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/comm/session.h"
#include "cohort/config/field.h"
#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/data/signature.h"
#include "cohort/nn/weights.h"
#include "cohort/train/columns.h"
#include "cohort/train/model.h"

#include "new_file.h"

namespace cohort::jobs {
std::filesystem::path score_file(const FeatureOptions& options, const std::string& name) {
  if (!options.out.empty()) return options.out;
  const bool is_of_run = !options.model.run.empty() && options.model.part.empty();
  return is_of_run ? std::filesystem::path(options.model.run) / name : std::filesystem::path();
}

void add_feature_options(CLI::App& command, FeatureOptions& options) {
  add_model_options(command, options.model);
  command.add_option("--of", options.of,
                     "label or context that features are judged by, such as slide; without it "
                     "eval.neighbours_of of the configuration, else the label");
  command.add_option("--train-split", options.train_split,
                     "split to learn from; without it that of the configuration (data.train_split)");
  command.add_option("--split", options.splits, "split to score; may be repeated; without it all the others")
      ->allow_extra_args(false);
  command.add_option(
      "--out", options.out,
      "write the scores to this file, a JSON object a line; without it, and with --run, to knn.jsonl, "
      "linear_probe.jsonl or mlp_probe.jsonl in the run's folder, where cohort report finds them");
  add_overwrite(command, options.overwrites);
  command.add_flag("--all-contexts", options.all_contexts, "show all contexts, not the worst and best alone");
}

namespace {

/// Whether there is a split to score: one asked for, or another than that to learn from.
bool has_tests(const FeatureOptions& options, const data::Description& description,
               const std::string& train_split) {
  if (!options.splits.empty()) return true;
  return std::any_of(description.splits.begin(), description.splits.end(),
                     [&](const data::Split& split) { return split.name != train_split && split.rows() > 0; });
}

/// By which option the user said what features are judged by.
std::string option_of(const FeatureOptions& options) {
  return options.of.empty() ? "eval.neighbours_of" : "--of";
}

eval::EvaluationColumns judged_columns(const FeatureOptions& options, train::RunConfig config,
                                       const data::Description& description) {
  if (!options.of.empty()) config.eval.neighbours_of = options.of;
  eval::EvaluationColumns columns{
      train::judged_column(config, description, option_of(options)),
      eval::evaluation_group_key(train::training_group_key(config), config.context.keys, description)};
  if (!columns.label.empty()) return columns;
  std::vector<std::string> keys;
  for (const data::ContextColumn& column : description.contexts) keys.push_back(column.name);
  throw UsageError({"the dataset has no label to judge features by", config.data.path.string(),
                    keys.empty() ? "convert it with labels or contexts; cohort extract needs neither"
                                 : fmt::format("give --of with a context: {}", list_of(keys))});
}

/// Collective. Splits without a value that `bank` has are left out with a warning, unless they were asked for
/// or are all.
std::vector<data::Dataset> without_strangers(std::vector<ScoredSplit> tests, const train::SplitCounts& bank,
                                             const std::string& column, const FeatureOptions& options,
                                             comm::Communicator& ranks) {
  std::vector<data::Dataset> kept;
  std::optional<UsageError> last;
  comm::together(ranks, [&] {
    for (ScoredSplit& test : tests) {
      const auto why_not = train::obstacle_to_judge(bank, test.counts, column, option_of(options));
      if (!why_not) {
        kept.push_back(std::move(test.dataset));
        continue;
      }
      if (!options.splits.empty()) throw UsageError(*why_not);
      log_warning("passed over: " + why_not->text().what);
      last = why_not;
    }
    if (last && kept.empty()) throw UsageError(*last);
  });
  return kept;
}

/// Collective.
SplitFeatures features_of(const TrainedModel& trained, data::Dataset split, const std::string& group_by,
                          comm::Communicator& ranks) {
  const std::int64_t rows = split.rows();
  data::ColumnReader reader = columns_of(trained, split.split(), ranks);
  SplitFeatures found{std::move(split), std::move(reader),
                      eval::StoredRows(rows, trained.model->traits().width, ranks)};
  NotFinite bad;
  const auto take = [&](const eval::PassAnswers& answers) {
    (void)bad.look(answers.rows, answers.features);
    found.features.write(answers.rows, answers.features);
  };
  (void)Computation{trained, found.dataset, group_by}.run({take}, ranks);
  if (bad.add_up(ranks)) comm::together(ranks, [&] { bad.refuse(found.dataset); });
  return found;
}

}  // namespace

JudgedFeatures compute_features(const FeatureOptions& options, comm::Communicator& ranks,
                                const CheckSplits& check) {
  const TrainedModel trained = load_trained_model(options.model, Head::none, ranks);
  const train::RunConfig& config = trained.config;
  eval::EvaluationColumns columns;
  const data::Description description = data::Description::read(config.data.path, ranks);
  const std::string first = options.train_split.empty() ? config.data.train_split : options.train_split;
  comm::together(ranks, [&] {
    columns = judged_columns(options, config, description);
    (void)eval::scored_context_keys(config.eval, columns.context_key, description);
  });
  data::Dataset train = open_split(trained, first, {}, ranks);
  train::SplitCounts counts = counts_of(trained, first, columns.label, ranks);
  std::vector<data::Dataset> tests;
  if (has_tests(options, description, first)) {
    tests = without_strangers(open_scored_splits(trained, options.splits, first, columns.label, ranks),
                              counts, columns.label, options, ranks);
  }
  comm::together(ranks, [&] {
    if (check) check(counts, tests);
  });
  const std::string& key = columns.context_key;
  JudgedFeatures judged{columns,           config.eval, features_of(trained, std::move(train), key, ranks),
                        std::move(counts), {},          trained.step,
                        config.seed};
  for (data::Dataset& split : tests)
    judged.tests.push_back(features_of(trained, std::move(split), key, ranks));
  return judged;
}

eval::LabelledRows SplitFeatures::labelled(const std::string& column) {
  return {features, [this, column](std::int64_t first, std::int64_t count) {
            return reader.column(column, first, count);
          }};
}

namespace {

void add_bytes(Checksum& sum, const at::Tensor& values) {
  const at::Tensor plain = values.cpu().contiguous();
  sum.update({static_cast<const std::byte*>(plain.const_data_ptr()), plain.nbytes()});
}

/// KEY=VALUE, a line each. A copy: config::Fields may write.
template <class Options>
std::string text_of_options(Options options) {
  config::Fields fields(options);
  std::string text;
  for (const config::Field& field : fields.list())
    text += fmt::format("{}={}\n", field.key, fmt::join(field.get(), ","));
  return text;
}

/// Of labels and contexts.
std::string text_of_names(const data::Description& description) {
  std::string text;
  for (const data::LabelColumn& column : description.labels)
    text += fmt::format("{}:{}\n", column.name, fmt::join(column.classes, ","));
  for (const data::ContextColumn& column : description.contexts)
    text += fmt::format("{}:{}\n", column.name, fmt::join(column.values, ","));
  return text;
}

}  // namespace

std::string split_to_show(const std::string& asked, const train::RunConfig& config,
                          const data::Description& description) {
  if (!asked.empty()) return asked;
  for (const data::Split& split : description.splits) {
    if (split.name != config.data.train_split && split.rows() > 0) return split.name;
  }
  return config.data.train_split;
}

ChosenFeatures::ChosenFeatures(const std::vector<std::int64_t>& rows, std::int64_t width,
                               comm::Communicator& ranks)
    : features_(std::ssize(rows), width, ranks) {
  for (std::size_t i = 0; i < rows.size(); ++i) places_.emplace(rows[i], static_cast<std::int64_t>(i));
}

void ChosenFeatures::take(const eval::PassAnswers& answers) {
  for (std::int64_t i = 0; i < answers.rows.numel(); ++i) {
    const auto [first, last] = places_.equal_range(answers.rows.const_data_ptr<std::int64_t>()[i]);
    for (auto place = first; place != last; ++place)
      features_.write(at::full({1}, place->second, at::kLong), answers.features.narrow(0, i, 1));
  }
}

std::uint64_t checksum_of(const torch::nn::Module& model) {
  Checksum sum;
  for (const auto& [name, values] : nn::named_values(model)) {
    sum.update(std::as_bytes(std::span(name)));
    add_bytes(sum, values);
  }
  return sum.value();
}

bool NotFinite::look(const at::Tensor& rows, const at::Tensor& values) {
  const at::Tensor bad = values.isfinite().flatten(1).all(1).logical_not().nonzero();  // [n, 1]
  if (bad.numel() == 0) return true;
  images_ += bad.size(0);
  first_ = std::min(first_, rows.index_select(0, bad.select(1, 0)).min().item<std::int64_t>());
  return false;
}

bool NotFinite::add_up(comm::Communicator& ranks) {
  images_ = ranks.sum(images_);
  first_ = -ranks.max(-first_);
  return images_ > 0;
}

void NotFinite::refuse(const data::Dataset& dataset) const {
  if (images_ == 0) return;
  throw NumericalError(
      {fmt::format("the features of {} of {} images are not finite numbers, the first one is '{}'",
                   format_count(images_), format_count(dataset.rows()), dataset.id(first_)),
       fmt::format("split '{}'", dataset.split()),
       "the image holds values that are not finite, the weights are damaged, or training diverged"});
}

double Computation::run(const eval::AnswerSink& sink, comm::Communicator& ranks) const {
  const train::RunConfig& config = trained.config;
  return eval::predict_passes(*trained.model, dataset, group_by, config.eval, config.data.normalisation,
                              config.precision == train::Precision::bf16, ranks, sink, choice);
}

std::string Computation::identity() const {
  const data::Description& description = dataset.description();
  const train::RunConfig& config = trained.config;
  std::string text = fmt::format(
      "{} {} {} {} {} {} {} {}\n{}\n{} {} {}\n{} {}\n", COHORT_VERSION,
      checksum_text(checksum_of(*trained.model)), trained.config.model.name, group_by,
      config.eval.context_images, static_cast<int>(config.data.normalisation),
      static_cast<int>(config.precision), choice.layer, choice.patches, description.name, dataset.split(),
      dataset.rows(), fmt::join(description.channels, ","), fmt::join(description.mean, ","));
  text += fmt::format("{}\n", fmt::join(description.deviation, ","));
  text += text_of_options(config.model) + text_of_options(config.context);
  text += data::signature_text(trained.signature) + "\n" + text_of_names(description);
  for (const data::ShardEntry& shard : description.split(dataset.split()).shards)
    text += fmt::format("{} {} {}\n", shard.file, shard.rows, checksum_text(shard.checksum));
  return text;
}

double compute_into(eval::FeatureWriter& writer, const Computation& what, comm::Communicator& ranks) {
  NotFinite bad;
  const auto take = [&](const eval::PassAnswers& answers) {
    if (bad.look(answers.rows, writer.has_features() ? answers.features : answers.logits))
      writer.write(answers);
  };
  const double rate = what.run({take, [&](std::int64_t pass) { return writer.has(pass); }}, ranks);
  if (bad.add_up(ranks)) {
    writer.discard();
    comm::together(ranks, [&] { bad.refuse(what.dataset); });
  }
  writer.finish();
  return rate;
}

void wait_for_table() noexcept {
  comm::Session::set_timeout(std::chrono::hours(24));
}

void present(const std::vector<eval::Evaluation>& evaluations, const FeatureOptions& options,
             const std::string& name, std::int64_t step, comm::Communicator& ranks) {
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    std::string lines;
    for (const eval::Evaluation& evaluation : evaluations) {
      fmt::print("{}\n", eval::evaluation_table(evaluation, options.all_contexts, terminal_columns()));
      lines += eval::evaluation_json(evaluation, step, 0) + "\n";
    }
    const std::filesystem::path file = score_file(options, name);
    if (!file.empty()) write_file_atomically(file, lines);
  });
}

}  // namespace cohort::jobs
