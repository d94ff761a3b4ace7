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
#include "cohort/method/method.h"
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

/// fp32 on the CPU.
at::Tensor kept(const at::Tensor& values) {
  return values.defined() ? values.to(at::kCPU, at::kFloat).contiguous() : values;
}

PassAnswers answers_of_pass(nn::Encoder& model, const data::Batch& batch, bool bf16,
                            const FeatureChoice& choice) {
  const at::Device device = model.parameters().front().device();
  const nn::Conditions conditions = evaluation_conditions(batch, device);
  const nn::Bf16Scope scope(bf16, device.type());
  const auto output = encode(model, batch.views.front().to(device), conditions, choice);
  PassAnswers answers{0, batch.sample, kept(output.logits), kept(output.pooled), {}, kept(output.context)};
  if (choice.patches) {
    const std::int64_t others = model.traits().other_tokens;
    answers.patches = kept(output.tokens.narrow(1, others, output.tokens.size(1) - others));
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
  const data::Dataset& dataset;
  const augment::Normalisation normalisation;
  const data::BatchColumns columns;
  const bool is_collective;  ///< forward passes are
  const IsDone& is_done;
  const AskedToStop& asked_to_stop;
  /// The forward pass number `pass`; nothing: one that helps other ranks with theirs, whose results nobody
  /// keeps.
  const std::function<void(const data::Batch& batch, std::optional<std::int64_t> pass)> forward;
};

/// The `count` passes of `share`, then `extra` ones that help others.
void run_passes(const Inquiry& ask, Share share, std::int64_t count, std::int64_t extra, Meetings& meetings,
                const std::function<void(std::int64_t)>& done) {
  const auto view = augment::evaluation_view(ask.dataset.description(), ask.normalisation);
  std::deque<std::int64_t> numbers;  // of the batches that were made ahead
  std::mutex mutex;
  data::Loader loader(
      [&](std::int64_t, Workers& workers) {
        const NumberedPass pass = share.next();
        const std::lock_guard lock(mutex);
        numbers.push_back(pass.number);
        return data::make_batch(ask.dataset, pass.groups, ask.columns, *view, workers);
      },
      0, count, {});
  const auto next_number = [&] {
    const std::lock_guard lock(mutex);
    const std::int64_t number = numbers.front();
    numbers.pop_front();
    return number;
  };
  const at::NoGradGuard no_gradients;
  for (std::int64_t i = 0; i < count; ++i) {
    meetings.before_pass();
    const data::Batch batch = loader.next();
    ask.forward(batch, next_number());
    done(i + 1);
  }
  if (extra == 0) return;
  const data::Group single{.rows = {0}};
  Workers alone(1);
  const data::Batch batch = data::make_batch(ask.dataset, std::span(&single, 1), ask.columns, *view, alone);
  for (; extra > 0; --extra) {
    meetings.before_pass();
    ask.forward(batch, std::nullopt);
  }
}

/// Collective. All passes over the images of the dataset. Returns images per second over all ranks.
double run_all_passes(const Inquiry& ask, const std::string& group_by, const EvalConfig& config,
                      comm::Communicator& ranks) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  std::optional<Share> share;
  std::int64_t left = 0, mine = 0;
  comm::together(ranks, [&] {
    for (const std::string& key : ask.columns.context_keys) (void)ask.dataset.context_runs(key);
    const Passes passes(ask.dataset, group_by, config);
    left = rows_left_in(passes, ask.is_done);
    share.emplace(passes, ask.is_done, left, ranks.rank(), ranks.size());
    for (Share counted = *share; !counted.next().groups.empty();) ++mine;
  });
  const std::int64_t most = ranks.max(mine);
  Meetings meetings(ranks, ask.asked_to_stop, most);
  std::optional<CountProgress> progress;  // gone, with what it drew, before anything else is printed
  if (ranks.rank() == 0) progress.emplace("evaluating " + ask.dataset.split(), left, ranks.size());
  const auto pass_done = [&](std::int64_t done) {
    if (progress) progress->show(done, mine);
  };
  try {
    run_passes(ask, *std::move(share), mine, ask.is_collective ? most - mine : 0, meetings, pass_done);
  } catch (...) {
    if (ask.is_collective)
      throw;  // ranks wait for each other inside a pass: an error on one of them ends the job
    meetings.fail(std::current_exception());
  }
  meetings.behind_all();
  return static_cast<double>(left) / ranks.max(std::chrono::duration<double>(Clock::now() - start).count());
}

/// What the model sees, where it is.
data::Batch on_device(data::Batch batch, const at::Device& device) {
  batch.for_each_tensor([&](at::Tensor& tensor, data::Batch::Use use) {
    if (use == data::Batch::Use::model) tensor = tensor.to(device);
  });
  return batch;
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
  const auto forward = [&](const data::Batch& batch, std::optional<std::int64_t> pass) {
    PassAnswers answers = answers_of_pass(model, batch, bf16, choice);
    if (!pass) return;
    answers.pass = *pass;
    sink.take(std::move(answers));
  };
  return run_all_passes({dataset,
                         normalisation,
                         {model.traits().context_keys, ""},
                         model.runner().is_collective(),
                         sink.has,
                         asked_to_stop,
                         forward},
                        group_by, config, ranks);
}

namespace {

data::BatchColumns columns_for(const nn::Encoder& encoder, const std::vector<std::string>& fields) {
  return {.context_keys = encoder.traits().context_keys, .label = "", .fields = fields};
}

/// fp32 on the CPU; numbers of images as they are.
method::Answers answers_to(method::Method& method, const data::Batch& batch, bool bf16,
                           const at::Device& device) {
  const nn::Conditions conditions = evaluation_conditions(batch, device);
  method::Answers answers;
  {
    const nn::Bf16Scope scope(bf16, device.type());
    answers = method.answer(on_device(batch, device), conditions);
  }
  for (auto& [name, values] : answers)
    values = values.is_floating_point() ? kept(values) : values.to(at::kCPU);
  return answers;
}

}  // namespace

double answer_passes(method::Method& method, const data::Dataset& dataset,
                     const std::vector<std::string>& fields, const std::string& group_by,
                     const EvalConfig& config, augment::Normalisation normalisation, bool bf16,
                     comm::Communicator& ranks, const MethodSink& sink, const AskedToStop& asked_to_stop) {
  const nn::Encoder& encoder = *method.encoders().front().encoder;
  const at::Device device = encoder.parameters().front().device();
  const auto forward = [&](const data::Batch& batch, std::optional<std::int64_t> pass) {
    const method::Answers answers = answers_to(method, batch, bf16, device);
    if (pass) sink.take(*pass, batch, answers);
  };
  return run_all_passes({dataset, normalisation, columns_for(encoder, fields),
                         encoder.runner().is_collective(), sink.has, asked_to_stop, forward},
                        group_by, config, ranks);
}

method::Answers first_answers(method::Method& method, const data::Dataset& dataset,
                              const std::vector<std::string>& fields, augment::Normalisation normalisation) {
  const nn::Encoder& encoder = *method.encoders().front().encoder;
  const auto view = augment::evaluation_view(dataset.description(), normalisation);
  const data::Group single{.rows = {0}};
  Workers alone(1);
  const at::NoGradGuard no_gradients;
  return answers_to(
      method, data::make_batch(dataset, std::span(&single, 1), columns_for(encoder, fields), *view, alone),
      /*bf16=*/false, encoder.parameters().front().device());
}

}  // namespace cohort::eval
