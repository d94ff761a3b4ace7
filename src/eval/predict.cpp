#include "cohort/eval/predict.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/count_progress.h"
#include "cohort/core/error.h"
#include "cohort/data/batch.h"
#include "cohort/data/context_sampler.h"
#include "cohort/data/loader.h"
#include "cohort/nn/autocast.h"

#include "eval/passes.h"

namespace cohort::eval {
namespace {

using IsDone = std::function<bool(std::int64_t pass)>;

/// A pass and its number among all.
struct NumberedPass {
  std::int64_t number = 0;
  data::StepPlan groups;
};

/// The passes of one rank, which follow each other, of those that are not done: a pass belongs to the rank
/// that its middle row falls on when their rows are cut evenly.
class Share {
 public:
  Share(Passes passes, const IsDone& is_done, std::int64_t rows_left, int rank, int size)
      : passes_(std::move(passes)), is_done_(is_done), rows_left_(rows_left), rank_(rank), size_(size) {}

  /// Without groups: there is no more.
  NumberedPass next() {
    for (;; ++number_) {
      data::StepPlan groups = passes_.next();
      if (groups.empty()) return {};
      if (is_done_ && is_done_(number_)) continue;
      const std::int64_t count = images_in(groups), middle = 2 * before_ + count;
      before_ += count;
      if (middle * size_ / (2 * rows_left_) == rank_) return {number_++, std::move(groups)};
    }
  }

 private:
  Passes passes_;
  const IsDone& is_done_;
  std::int64_t rows_left_, before_ = 0, number_ = 0;
  int rank_, size_;
};

std::int64_t rows_left_in(Passes passes, const IsDone& is_done) {
  std::int64_t left = 0, number = 0;
  for (auto groups = passes.next(); !groups.empty(); groups = passes.next(), ++number)
    if (!is_done || !is_done(number)) left += images_in(groups);
  return left;
}

nn::Encoder::Output encode(nn::Encoder& model, const at::Tensor& images, const nn::Conditions& conditions,
                           const FeatureChoice& choice) {
  constexpr unsigned kWanted = nn::Encoder::pooled | nn::Encoder::tokens | nn::Encoder::logits;
  return choice.layer < 0 ? model.encode(images, conditions, kWanted)
                          : model.encode_at(choice.layer, images, conditions, kWanted);
}

PassAnswers run_pass(nn::Encoder& model, const data::Batch& batch, bool bf16, const FeatureChoice& choice) {
  const at::Device device = model.parameters().front().device();
  const nn::Conditions conditions = evaluation_conditions(batch, device);
  const nn::Bf16Scope scope(bf16, device.type());
  const auto output = encode(model, batch.views.front().to(device), conditions, choice);
  const auto keep = [](const at::Tensor& values) {
    return values.defined() ? values.to(at::kCPU, at::kFloat).contiguous() : values;
  };
  PassAnswers answers{0, batch.sample, keep(output.logits), keep(output.pooled), {}, keep(output.context)};
  if (choice.patches) {
    const std::int64_t others = model.traits().other_tokens;
    answers.patches = keep(output.tokens.narrow(1, others, output.tokens.size(1) - others));
  }
  return answers;
}

/// Where the ranks meet, so that all of them go on or all throw the same: before each pass, and behind the
/// last one.
class Meetings {
 public:
  /// `passes`: of the rank that has most.
  Meetings(comm::Communicator& ranks, const AskedToStop& asked_to_stop, std::int64_t passes)
      : ranks_(ranks), asked_(asked_to_stop), left_(passes) {}

  void before_pass() {
    --left_;
    meet(asked_ && asked_()
             ? std::make_exception_ptr(Error(ExitCode::stopped, {"asked to stop", "evaluation", ""}))
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

/// How a model is asked.
struct Inquiry {
  nn::Encoder& model;
  const data::Dataset& dataset;
  const augment::Normalisation normalisation;
  const bool bf16;
  const FeatureChoice& choice;
};

/// The `count` passes of `share`. `extra` more, whose results nobody keeps, help other ranks with theirs when
/// forward passes are collective.
void run_passes(const Inquiry& ask, Share share, std::int64_t count, std::int64_t extra,
                const AnswerSink& sink, Meetings& meetings, const std::function<void(std::int64_t)>& done) {
  const data::BatchColumns columns{ask.model.traits().context_keys, ""};
  const auto view = augment::evaluation_view(ask.dataset.description(), ask.normalisation);
  std::deque<std::int64_t> numbers;  // of the batches that were made ahead
  std::mutex mutex;
  data::Loader loader(
      [&](std::int64_t, Workers& workers) {
        const NumberedPass pass = share.next();
        const std::lock_guard lock(mutex);
        numbers.push_back(pass.number);
        return data::make_batch(ask.dataset, pass.groups, columns, *view, workers);
      },
      0, count, {});
  const at::NoGradGuard no_gradients;
  for (std::int64_t i = 0; i < count; ++i) {
    meetings.before_pass();
    PassAnswers answers = run_pass(ask.model, loader.next(), ask.bf16, ask.choice);
    {
      const std::lock_guard lock(mutex);
      answers.pass = numbers.front();
      numbers.pop_front();
    }
    sink.take(std::move(answers));
    done(i + 1);
  }
  if (extra == 0) return;
  const data::Group single{.rows = {0}};
  Workers alone(1);
  const data::Batch batch = data::make_batch(ask.dataset, std::span(&single, 1), columns, *view, alone);
  for (; extra > 0; --extra) {
    meetings.before_pass();
    (void)run_pass(ask.model, batch, ask.bf16, ask.choice);
  }
}

}  // namespace

std::int64_t count_passes(const data::Dataset& dataset, const std::string& group_by,
                          const EvalConfig& config) {
  Passes passes(dataset, group_by, config);
  std::int64_t count = 0;
  while (!passes.next().empty()) ++count;
  return count;
}

double predict_passes(nn::Encoder& model, const data::Dataset& dataset, const std::string& group_by,
                      const EvalConfig& config, augment::Normalisation normalisation, bool bf16,
                      comm::Communicator& ranks, const AnswerSink& sink, const FeatureChoice& choice,
                      const AskedToStop& asked_to_stop) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  std::optional<Share> share;
  std::int64_t left = 0, mine = 0;
  comm::together(ranks, [&] {
    for (const std::string& key : model.traits().context_keys) (void)dataset.context_runs(key);
    const Passes passes(dataset, group_by, config);
    left = rows_left_in(passes, sink.has);
    share.emplace(passes, sink.has, left, ranks.rank(), ranks.size());
    for (Share counted = *share; !counted.next().groups.empty();) ++mine;
  });
  const bool collective = model.runner().is_collective();
  const std::int64_t most = ranks.max(mine);
  Meetings meetings(ranks, asked_to_stop, most);
  std::optional<CountProgress> progress;  // gone, with what it drew, before anything else is printed
  if (ranks.rank() == 0) progress.emplace("evaluating " + dataset.split(), left, ranks.size());
  const auto pass_done = [&](std::int64_t done) {
    if (progress) progress->show(done, mine);
  };
  try {
    run_passes({model, dataset, normalisation, bf16, choice}, *std::move(share), mine,
               collective ? most - mine : 0, sink, meetings, pass_done);
  } catch (...) {
    if (collective) throw;  // ranks wait for each other inside a pass: an error on one of them ends the job
    meetings.fail(std::current_exception());
  }
  meetings.behind_all();
  return static_cast<double>(left) / ranks.max(std::chrono::duration<double>(Clock::now() - start).count());
}

}  // namespace cohort::eval
