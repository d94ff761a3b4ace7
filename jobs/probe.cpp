#include "probe.h"

#include <algorithm>
#include <memory>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"
#include "cohort/train/run_owner.h"

#include "commands.h"
#include "new_file.h"

namespace cohort::jobs {
namespace {

/// A classifier, and the share of right answers in each test split.
struct Candidate {
  eval::Probe probe;
  std::vector<double> accuracies;
};

/// Right answers among the images that have a label.
struct Hits {
  std::int64_t right = 0, labelled = 0;
  bool finite = true;

  void count(const at::Tensor& logits, const std::vector<std::int32_t>& labels) {
    const at::Tensor label = at::tensor(labels, at::kInt);
    finite = finite && logits.isfinite().all().item<bool>();
    right += logits.argmax(1).eq(label).sum().item<std::int64_t>();  // no answer is -1
    labelled += label.ge(0).sum().item<std::int64_t>();
  }
  /// Collective. Those of all ranks from here on.
  void add_up(comm::Communicator& ranks) {
    right = ranks.sum(right);
    labelled = ranks.sum(labelled);
    finite = ranks.max(std::int64_t{!finite}) == 0;
  }
};

/// Collective. Of each probe.
std::vector<Hits> count_hits(const std::vector<eval::Probe>& probes, SplitFeatures& test,
                             const std::string& column, comm::Communicator& ranks) {
  std::vector<Hits> hits(probes.size());
  test.features.share_out([&](std::int64_t first, const at::Tensor& features) {
    const std::vector<std::int32_t> labels = test.reader.column(column, first, features.size(0));
    for (std::size_t i = 0; i < probes.size(); ++i) hits[i].count(probes[i].logits(features), labels);
  });
  for (Hits& of_probe : hits) of_probe.add_up(ranks);
  return hits;
}

/// Those whose answers are finite numbers: a rate that is too high ends in infinities, the others still
/// count. `hits`: of each test split, of each probe.
std::vector<Candidate> candidates_of(std::vector<eval::Probe> probes,
                                     const std::vector<std::vector<Hits>>& hits) {
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < probes.size(); ++i) {
    Candidate candidate{std::move(probes[i]), {}};
    bool finite = true;
    for (const std::vector<Hits>& of_split : hits) {
      finite = finite && of_split[i].finite;
      candidate.accuracies.push_back(static_cast<double>(of_split[i].right) /
                                     static_cast<double>(of_split[i].labelled));
    }
    if (finite)
      candidates.push_back(std::move(candidate));
    else
      log_warning(fmt::format("the classifier of --lr {} diverged and is left out", candidate.probe.rate));
  }
  if (!candidates.empty()) return candidates;
  throw NumericalError(
      {"the classifiers of all learning rates diverged", "--lr", "give lower rates, or leave out --raw"});
}

std::string name_of(const eval::Probe& probe) {
  return fmt::format("probe lr={}", probe.rate);
}

/// Index of the split that decides.
std::size_t deciding_split(const ProbeOptions& options, std::span<const data::Dataset> tests) {
  if (tests.empty()) {
    throw UsageError(
        {"there is no split to score", "--split",
         "the dataset needs one besides the training split: cohort-data split --hold-out-images 4"});
  }
  if (options.select_on.empty()) return 0;
  std::vector<std::string> names;
  for (const data::Dataset& test : tests) names.push_back(test.split());
  const auto found = std::find(names.begin(), names.end(), options.select_on);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  throw UsageError({fmt::format("'{}' is none of the splits that are scored", options.select_on),
                    "--select-on", did_you_mean(options.select_on, names)});
}

const Candidate& best_of(const std::vector<Candidate>& candidates, std::size_t split) {
  return *std::max_element(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) {
    return a.accuracies[split] < b.accuracies[split];
  });
}

std::string sweep_table(const std::vector<Candidate>& candidates, const Candidate& best,
                        const JudgedFeatures& judged, std::size_t deciding) {
  std::string text = fmt::format("{:<24}", "accuracy");
  for (const SplitFeatures& test : judged.tests) text += fmt::format(" {:>14}", test.dataset.split());
  text += "\n";
  for (const Candidate& candidate : candidates) {
    text += fmt::format("{:<24}", name_of(candidate.probe));
    for (const double accuracy : candidate.accuracies) text += fmt::format(" {:>14.4f}", accuracy);
    if (&candidate == &best) text += fmt::format("  chosen by {}", judged.tests[deciding].dataset.split());
    text += "\n";
  }
  return text;
}

/// Collective.
eval::Evaluation evaluation_of(const eval::Probe& probe, SplitFeatures& test, const JudgedFeatures& judged,
                               const std::string& kind, comm::Communicator& ranks) {
  const auto answers = [&](const at::Tensor& features) { return probe.logits(features); };
  eval::Evaluation evaluation = eval::evaluate_features(test.features, answers, test.dataset, test.reader,
                                                        judged.columns, judged.scored, ranks);
  evaluation.classifier =
      eval::classifier_of(kind + " probe", test.dataset.description(), judged.columns.label);
  evaluation.detail = fmt::format("lr={}", probe.rate);
  return evaluation;
}

void save_probe(const std::string& file, const eval::Probe& probe) {
  checkpoint::Safetensors content;
  content.tensors = {{"mean", probe.mean}, {"scale", probe.scale}};
  for (std::size_t i = 0; i < probe.weights.size(); ++i) {
    content.tensors.emplace_back(fmt::format("layers.{}.weight", i), probe.weights[i]);
    content.tensors.emplace_back(fmt::format("layers.{}.bias", i), probe.biases[i]);
  }
  checkpoint::write_safetensors(file, content);
}

}  // namespace

ExitCode probe_features(ProbeOptions options, comm::Communicator& ranks) {
  refuse_existing({options.features.out, options.save}, options.features.overwrites, ranks);
  const auto owners = train::own_runs_of(
      {score_file(options.features, options.kind + "_probe.jsonl"), options.save}, "cohort probe", ranks);
  std::size_t deciding = 0;
  JudgedFeatures judged =
      compute_features(options.features, ranks,
                       [&](const train::SplitCounts& /*train*/, std::span<const data::Dataset> tests) {
                         deciding = deciding_split(options, tests);
                       });
  const std::string& label = judged.columns.label;
  const auto classes = std::ssize(judged.train.dataset.description().values(label));
  options.config.seed = judged.seed;
  options.config.standardise = !options.raw;
  if (options.kind == "linear") options.config.hidden = 0;
  std::vector<eval::Probe> probes =
      eval::train_probes(judged.train.labelled(label), classes, options.config, ranks);
  std::vector<std::vector<Hits>> hits;
  for (SplitFeatures& test : judged.tests) hits.push_back(count_hits(probes, test, label, ranks));
  std::vector<Candidate> candidates;
  comm::together(ranks, [&] { candidates = candidates_of(std::move(probes), hits); });
  const Candidate& best = best_of(candidates, deciding);
  std::vector<eval::Evaluation> evaluations;
  for (SplitFeatures& test : judged.tests)
    evaluations.push_back(evaluation_of(best.probe, test, judged, options.kind, ranks));
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    fmt::print("{}\n", sweep_table(candidates, best, judged, deciding));
    if (!options.save.empty()) save_probe(options.save, best.probe);
  });
  present(evaluations, options.features, options.kind + "_probe.jsonl", judged.step, ranks);
  return ExitCode::done;
}

void add_probe(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ProbeOptions>();
  options->config.hidden = 512;
  CLI::App* command = &add_command(
      app, {"probe",
            "Judge features: train a classifier on those of the training split, the model stays as it is",
            {"cohort probe --run runs/x", "mpirun -n 4 cohort probe --run runs/x --kind mlp --split test"},
            command_line::endings_on_ranks()});
  add_feature_options(*command, options->features);
  command->add_option("--kind", options->kind, "linear, or mlp with one hidden layer")
      ->check(CLI::IsMember({"linear", "mlp"}))
      ->capture_default_str();
  command->add_option("--hidden", options->config.hidden, "width of the hidden layer of --kind mlp")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--lr", options->config.rates, "learning rates, a classifier for each")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option(
          "--select-on", options->select_on,
          "split whose accuracy chooses among the rates (default: the first that is scored); what it "
          "says of that split is then too good")
      ->capture_default_str();
  command->add_option("--epochs", options->config.epochs, "passes over the training features")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--batch", options->config.batch, "images of a step")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--label-smoothing", options->config.label_smoothing, "spread evenly over all classes")
      ->check(CLI::Range(0.0, 0.99))
      ->capture_default_str();
  command->add_flag("--raw", options->raw, "take features as they are, not with mean 0 and deviation 1");
  command->add_option("--save", options->save,
                      "write the chosen classifier as safetensors: mean, scale, layers.<i>.weight and .bias");
  command->callback([options, &job] {
    job.program = "cohort probe";
    job.with_ranks = [options](comm::Communicator& ranks) { return probe_features(*options, ranks); };
  });
}

}  // namespace cohort::jobs
