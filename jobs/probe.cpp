#include "cohort/eval/probe.h"

#include <algorithm>
#include <memory>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/error.h"
#include "cohort/core/log.h"
#include "cohort/core/text.h"

#include "commands.h"
#include "features.h"

namespace cohort::jobs {
namespace {

struct ProbeOptions {
  FeatureOptions features;
  eval::ProbeConfig config;
  std::string kind = "linear", select_on, save;
  bool raw = false;
};

/// [probe][test split]
using Sweep = std::vector<std::vector<eval::Evaluation>>;

Sweep score_all(const std::vector<eval::Probe>& probes, const JudgedFeatures& judged) {
  Sweep sweep;
  for (const eval::Probe& probe : probes) {
    auto& evaluations = sweep.emplace_back();
    for (const SplitFeatures& test : judged.tests) {
      evaluations.push_back(eval::evaluation_of(probe.logits(test.features), test.dataset, judged.columns));
      evaluations.back().classifier = fmt::format("probe lr={}", probe.rate);
    }
  }
  return sweep;
}

/// A rate that is too high ends in infinities; the others still count.
void drop_diverged(std::vector<eval::Probe>& probes, const JudgedFeatures& judged) {
  const auto diverged = [&](const eval::Probe& probe) {
    return std::any_of(judged.tests.begin(), judged.tests.end(), [&](const SplitFeatures& test) {
      return !probe.logits(test.features).isfinite().all().item<bool>();
    });
  };
  for (const eval::Probe& probe : probes) {
    if (diverged(probe))
      log_warning(fmt::format("the classifier of --lr {} diverged and is left out", probe.rate));
  }
  std::erase_if(probes, diverged);
  if (!probes.empty()) return;
  throw NumericalError(
      {"the classifiers of all learning rates diverged", "--lr", "give lower rates, or leave out --raw"});
}

/// Index of the split that decides.
std::size_t deciding_split(const ProbeOptions& options, const JudgedFeatures& judged) {
  if (judged.tests.empty()) {
    throw UsageError(
        {"there is no split to score", "--split", "the dataset needs one besides the training split"});
  }
  if (options.select_on.empty()) return 0;
  std::vector<std::string> names;
  for (const SplitFeatures& test : judged.tests) names.push_back(test.dataset.split());
  const auto found = std::find(names.begin(), names.end(), options.select_on);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  throw UsageError({fmt::format("'{}' is none of the splits that are scored", options.select_on),
                    "--select-on", did_you_mean(options.select_on, names)});
}

std::size_t best_of(const Sweep& sweep, std::size_t split) {
  const auto best = std::max_element(sweep.begin(), sweep.end(), [&](const auto& a, const auto& b) {
    return a[split].scores.accuracy < b[split].scores.accuracy;
  });
  return static_cast<std::size_t>(best - sweep.begin());
}

std::string sweep_table(const Sweep& sweep, std::size_t chosen, std::size_t deciding) {
  std::string text = fmt::format("{:<24}", "accuracy");
  for (const eval::Evaluation& split : sweep.front()) text += fmt::format(" {:>14}", split.split);
  text += "\n";
  for (std::size_t i = 0; i < sweep.size(); ++i) {
    text += fmt::format("{:<24}", sweep[i].front().classifier);
    for (const eval::Evaluation& split : sweep[i]) text += fmt::format(" {:>14.4f}", split.scores.accuracy);
    text += i == chosen ? fmt::format("  chosen by {}\n", sweep[i][deciding].split) : "\n";
  }
  return text;
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

ExitCode probe_features(ProbeOptions options, comm::Communicator& ranks) {
  const JudgedFeatures judged = compute_features(options.features, ranks);
  std::size_t deciding = 0;
  comm::together(ranks, [&] { deciding = deciding_split(options, judged); });
  const std::string& label = judged.columns.label;
  const auto classes = std::ssize(judged.train.dataset.description().label(label).classes);
  options.config.seed = judged.seed;
  options.config.standardise = !options.raw;
  if (options.kind == "linear") options.config.hidden = 0;
  std::vector<eval::Probe> probes = eval::train_probes(
      judged.train.features, judged.train.dataset.labels(label), classes, options.config, ranks);
  Sweep sweep;
  comm::together(ranks, [&] {
    drop_diverged(probes, judged);
    sweep = score_all(probes, judged);
  });
  const std::size_t chosen = best_of(sweep, deciding);
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    fmt::print("{}\n", sweep_table(sweep, chosen, deciding));
    if (!options.save.empty()) save_probe(options.save, probes[chosen]);
  });
  present(sweep[chosen], options.features, judged.step, ranks);
  return ExitCode::done;
}

}  // namespace

void add_probe(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ProbeOptions>();
  options->config.hidden = 512;
  CLI::App* command = app.add_subcommand(
      "probe", "Judge features: train a classifier on those of the training split, the model stays as it is");
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
