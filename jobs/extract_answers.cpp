#include "extract_answers.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/data/column_reader.h"
#include "cohort/eval/evaluation.h"
#include "cohort/eval/feature_file.h"
#include "cohort/eval/predict.h"
#include "cohort/method/registry.h"
#include "cohort/nn/unit_model.h"

#include "answering_model.h"
#include "features.h"

namespace cohort::jobs {
namespace {

void check_task(const ModelSource& source) {
  if (!task_of(source).empty()) return;
  throw UsageError({"the model's method answers no task but classes", "--answers",
                    "write its logits: cohort extract --logits, or cohort predict"});
}

/// Of one image each. Throws UsageError: how many there are of a kind differs by image.
std::map<std::string, std::vector<std::int64_t>> shapes_of(const method::Answers& answers,
                                                           std::string_view task) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& [name, values] : answers) {
    if (name.ends_with("_offsets")) {
      throw UsageError(
          {fmt::format("answers to {} differ in number from image to image, and rows of a file do not", task),
           "--answers", "score them: cohort eval"});
    }
    shapes[name] = {values.sizes().begin() + 1, values.sizes().end()};
  }
  return shapes;
}

eval::TableAttributes attributes_of(const ModelSource& source, const AnsweringModel& model,
                                    const data::Dataset& dataset) {
  return {{"run", source.run},
          {"step", model.step},
          {"task", std::string(model.columns.task)},
          {"dataset", dataset.description().name},
          {"split", dataset.split()}};
}

/// A text that differs where any value would.
std::string identity_of(const AnsweringModel& model, const data::Dataset& dataset) {
  const data::Description& description = dataset.description();
  const train::RunConfig& config = model.config;
  std::string text = fmt::format("answers {} {} {} {} {} {} {} {} {}\n", COHORT_VERSION,
                                 config.run_dir.string(), model.step, model.columns.context_key,
                                 config.eval.context_images, static_cast<int>(config.data.normalisation),
                                 static_cast<int>(config.precision), description.name, dataset.split());
  for (const method::Part& part : model.method->parts())
    text += fmt::format("{} {}\n", part.name, checksum_text(checksum_of(*part.model)));
  text += train::dump_run_config(config) + data::signature_text(model.signature);
  text += fmt::format("{} {}\n", fmt::join(description.mean, ","), fmt::join(description.deviation, ","));
  for (const data::ShardEntry& shard : description.split(dataset.split()).shards)
    text += fmt::format("{} {} {}\n", shard.file, shard.rows, checksum_text(shard.checksum));
  return text;
}

bool are_finite(const method::Answers& answers) {
  return std::all_of(answers.begin(), answers.end(),
                     [](const auto& entry) { return entry.second.isfinite().all().template item<bool>(); });
}

}  // namespace

double extract_answers(const ModelSource& source, const std::string& split, const std::string& file,
                       comm::Communicator& ranks) {
  comm::together(ranks, [&] { check_task(source); });
  const AnsweringModel model = load_answering_model(source, ranks);
  const train::RunConfig& config = model.config;
  const data::Dataset dataset = std::move(open_answered_splits(model, {split}, ranks).front());
  eval::FeatureContents contents;
  comm::together(ranks, [&] {
    contents.answers = shapes_of(
        eval::first_answers(*model.method, dataset, model.columns.fields, config.data.normalisation),
        model.columns.task);
    contents.attributes = attributes_of(source, model, dataset);
    contents.passes = eval::count_passes(dataset, model.columns.context_key, config.eval);
    contents.identity = identity_of(model, dataset);
  });
  data::ColumnReader columns(config.data.path, data::Description::read(config.data.path, ranks), split);
  eval::FeatureWriter writer(file, dataset, columns, contents, ranks);
  std::int64_t bad = 0;
  const auto take = [&](std::int64_t pass, const data::Batch& batch, const method::Answers& answers) {
    if (!are_finite(answers)) ++bad;
    if (bad > 0) return;
    eval::PassAnswers of_pass;
    of_pass.pass = pass;
    of_pass.rows = batch.sample;
    of_pass.answers = answers;
    writer.write(of_pass);
  };
  const double rate =
      eval::answer_passes(*model.method, dataset, model.columns.fields, model.columns.context_key,
                          config.eval, config.data.normalisation, config.precision == train::Precision::bf16,
                          ranks, {take, [&](std::int64_t pass) { return writer.has(pass); }});
  if (ranks.sum(bad) > 0) {
    writer.discard();
    throw NumericalError({"the model gives answers that are not finite", "split " + split,
                          "go back to an earlier checkpoint (--step)"});
  }
  writer.finish();
  writer.commit();
  return rate;
}

}  // namespace cohort::jobs
