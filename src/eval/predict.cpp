#include "cohort/eval/predict.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/count_progress.h"
#include "cohort/core/error.h"
#include "cohort/data/batch.h"
#include "cohort/data/context_sampler.h"
#include "cohort/data/grouping.h"
#include "cohort/data/loader.h"
#include "cohort/nn/autocast.h"

#include "eval/passes.h"

namespace cohort::eval {
namespace {

/// Images of one forward pass: enough to fill the cores, few enough for the cache, and not so many that ranks
/// have none. Small groups share a pass.
std::int64_t images_per_pass(std::int64_t rows) {
  constexpr std::int64_t kFewest = 16, kMost = 128, kPasses = 16;
  return std::clamp(rows / kPasses, kFewest, kMost);
}

using Groups = std::span<const data::Group>;

std::int64_t images_in(Groups groups) {
  std::int64_t images = 0;
  for (const data::Group& group : groups) images += std::ssize(group.rows);
  return images;
}

/// The whole plan as passes, the same on any number of ranks, so that each image is computed beside the same
/// others: its numbers have the same bits.
std::vector<Groups> passes_of(Groups groups, std::int64_t most) {
  std::vector<Groups> passes;
  std::size_t begin = 0;
  std::int64_t images = 0;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto count = std::ssize(groups[i].rows);
    if (i > begin && images + count > most) {
      passes.push_back(groups.subspan(begin, i - begin));
      begin = i;
      images = 0;
    }
    images += count;
  }
  if (begin < groups.size()) passes.push_back(groups.subspan(begin));
  return passes;
}

/// The passes of `rank`, which follow each other: a pass belongs to the rank that its middle row falls on
/// when rows are cut evenly.
std::vector<Groups> share_by_rows(const std::vector<Groups>& passes, std::int64_t rows, int rank, int size) {
  std::vector<Groups> mine;
  std::int64_t before = 0;
  for (const Groups& pass : passes) {
    const std::int64_t count = images_in(pass);
    if ((2 * before + count) * size / (2 * rows) == rank) mine.push_back(pass);
    before += count;
  }
  return mine;
}

/// What this rank computed, rows in the order of its groups.
struct Rows {
  std::vector<at::Tensor> sample, logits, features, patches, context;
};

nn::Encoder::Output encode(nn::Encoder& model, const at::Tensor& images, const nn::Conditions& conditions,
                           const FeatureChoice& choice) {
  constexpr unsigned kWanted = nn::Encoder::pooled | nn::Encoder::tokens | nn::Encoder::logits;
  return choice.layer < 0 ? model.encode(images, conditions, kWanted)
                          : model.encode_at(choice.layer, images, conditions, kWanted);
}

void run_pass(nn::Encoder& model, const data::Batch& batch, bool bf16, const FeatureChoice& choice,
              Rows& rows) {
  const at::Device device = model.parameters().front().device();
  const nn::Conditions conditions = evaluation_conditions(batch, device);
  const nn::Bf16Scope scope(bf16, device.type());
  const auto output = encode(model, batch.views.front().to(device), conditions, choice);
  const auto keep = [](const at::Tensor& values) { return values.to(at::kCPU, at::kFloat); };
  rows.sample.push_back(batch.sample);
  rows.features.push_back(keep(output.pooled));
  if (choice.patches) {
    const std::int64_t others = model.traits().other_tokens;
    rows.patches.push_back(keep(output.tokens.narrow(1, others, output.tokens.size(1) - others)));
  }
  if (output.logits.defined()) rows.logits.push_back(keep(output.logits));
  if (output.context.defined()) rows.context.push_back(keep(output.context));
}

/// Where the ranks meet, so that all of them go on or all throw the same: before each pass when they may be
/// asked to stop, and behind the last one.
class Meetings {
 public:
  /// `passes`: of the rank that has most.
  Meetings(comm::Communicator& ranks, const AskedToStop& asked_to_stop, std::int64_t passes)
      : ranks_(ranks), asked_(asked_to_stop), left_(asked_to_stop ? passes : 0) {}

  void before_pass() {
    if (!asked_) return;
    --left_;
    meet(asked_() ? std::make_exception_ptr(Error(ExitCode::stopped, {"asked to stop", "evaluation", ""}))
                  : nullptr);
  }
  void behind_all() {
    while (left_ > 0) before_pass();
    meet(nullptr);
  }
  /// What this rank met between two meetings. Throws, on every rank.
  void fail(const std::exception_ptr& error) {
    if (meeting_) std::rethrow_exception(error);
    meet(error);
  }

 private:
  void meet(const std::exception_ptr& error) {
    meeting_ = true;
    ranks_.agree(error);
    meeting_ = false;
  }

  comm::Communicator& ranks_;
  const AskedToStop& asked_;
  std::int64_t left_;
  bool meeting_ = false;  // stays true once a meeting has thrown
};

/// `extra` more passes, whose results nobody keeps, help other ranks with theirs when forward passes are
/// collective.
Rows run_passes(nn::Encoder& model, const data::Dataset& dataset, const std::vector<Groups>& passes,
                std::int64_t extra, augment::Normalisation normalisation, bool bf16,
                const FeatureChoice& choice, Meetings& meetings,
                const std::function<void(std::size_t)>& done) {
  const data::BatchColumns columns{model.traits().context_keys, ""};
  const auto view = augment::evaluation_view(dataset.description(), normalisation);
  data::Loader loader(
      [&](std::int64_t i, Workers& workers) {
        return data::make_batch(dataset, passes[static_cast<std::size_t>(i)], columns, *view, workers);
      },
      0, static_cast<std::int64_t>(passes.size()), {});
  const at::NoGradGuard no_gradients;
  Rows rows;
  for (std::size_t i = 0; i < passes.size(); ++i) {
    meetings.before_pass();
    run_pass(model, loader.next(), bf16, choice, rows);
    done(i + 1);
  }
  if (extra == 0) return rows;
  const data::Group single{.rows = {0}};
  Workers alone(1);
  const data::Batch batch = data::make_batch(dataset, std::span(&single, 1), columns, *view, alone);
  Rows unused;
  for (; extra > 0; --extra) {
    meetings.before_pass();
    run_pass(model, batch, bf16, choice, unused);
  }
  return rows;
}

}  // namespace

Prediction predict(nn::Encoder& model, const data::Dataset& dataset, const std::string& group_by,
                   const EvalConfig& config, augment::Normalisation normalisation, bool bf16,
                   comm::Communicator& ranks, const FeatureChoice& choice, const AskedToStop& asked_to_stop) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  data::StepPlan plan;
  std::vector<Groups> passes;
  comm::together(ranks, [&] {
    for (const std::string& key : model.traits().context_keys) (void)dataset.context_runs(key);
    plan = data::evaluation_plan(data::grouping_of(dataset, group_by).runs, config.context_images);
    passes = share_by_rows(passes_of(plan, images_per_pass(dataset.rows())), dataset.rows(), ranks.rank(),
                           ranks.size());
  });
  Rows local;
  const bool collective = model.runner().is_collective();
  const std::int64_t most = ranks.max(std::ssize(passes));
  Meetings meetings(ranks, asked_to_stop, most);
  std::optional<CountProgress> progress;  // gone, with what it drew, before anything else is printed
  if (ranks.rank() == 0) progress.emplace("evaluating " + dataset.split(), dataset.rows(), ranks.size());
  const auto pass_done = [&](std::size_t done) {
    if (progress) progress->show(static_cast<std::int64_t>(done), std::ssize(passes));
  };
  try {
    local = run_passes(model, dataset, passes, collective ? most - std::ssize(passes) : 0, normalisation,
                       bf16, choice, meetings, pass_done);
  } catch (...) {
    if (collective) throw;  // ranks wait for each other inside a pass: an error on one of them ends the job
    meetings.fail(std::current_exception());
  }
  meetings.behind_all();
  progress.reset();
  const double seconds = ranks.max(std::chrono::duration<double>(Clock::now() - start).count());

  const nn::EncoderTraits& traits = model.traits();
  const at::Tensor samples = local.sample.empty() ? at::empty({0}, at::kLong) : at::cat(local.sample);
  const at::Tensor order = ranks.gather_rows(samples);
  COHORT_CHECK(order.size(0) == dataset.rows(), "{} of {} images were evaluated", order.size(0),
               dataset.rows());
  Prediction prediction;
  prediction.features = in_order(local.features, {traits.width}, order, ranks);
  if (choice.patches) {
    const data::ImageLayout& images = dataset.description().images;
    const std::int64_t tokens = model.token_count(images.channels, images.height, images.width);
    prediction.patches = in_order(local.patches, {tokens, traits.width}, order, ranks);
  }
  if (traits.classes > 0) prediction.logits = in_order(local.logits, {traits.classes}, order, ranks);
  const auto keys = static_cast<std::int64_t>(traits.context_keys.size());
  if (keys > 0) prediction.context = in_order(local.context, {keys, traits.width}, order, ranks);
  prediction.images_per_second = static_cast<double>(dataset.rows()) / seconds;
  return prediction;
}

}  // namespace cohort::eval
