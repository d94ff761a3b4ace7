#include "cohort/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <unistd.h>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/nn/module.h>

#include "cohort/checkpoint/saver.h"
#include "cohort/comm/flight_recorder.h"
#include "cohort/core/file.h"
#include "cohort/core/host.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/core/trace.h"
#include "cohort/eval/picture.h"
#include "cohort/nn/autocast.h"
#include "cohort/train/metrics.h"
#include "cohort/train/model.h"

#include "train/batch_feeder.h"
#include "train/best_score.h"
#include "train/engine.h"
#include "train/environment.h"
#include "train/judgement.h"
#include "train/learning_rate.h"
#include "train/numerics.h"
#include "train/parts.h"
#include "train/plateau.h"
#include "train/rank_times.h"
#include "train/run_end.h"
#include "train/run_folder.h"
#include "train/run_record.h"
#include "train/same_inputs.h"
#include "train/stage_clock.h"
#include "train/state.h"
#include "train/step_totals.h"
#include "train/step_trace.h"
#include "train/stop_request.h"
#include "train/training_views.h"

namespace cohort::train {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kRankTimesEvery = 100;  // steps

/// Collective. The options, once all ranks have the same.
const RunConfig& checked(const RunConfig& config, comm::Communicator& ranks) {
  comm::set_activity(0, "start of training");
  check_same_program(program_identity(), ranks);
  check_same_options(config, ranks);
  return config;
}

// What `body` returns; the time it takes is a span of the trace.
template <class Body>
auto traced(TraceKind kind, std::string_view name, Body&& body) {
  const TraceSpan span(kind, name);
  return body();
}

/// The micro-batches of a rank's `groups`.
std::vector<data::Batch> divided(const data::Batch& batch, std::int64_t groups, std::int64_t passes) {
  std::vector<data::Batch> parts;
  for (std::int64_t pass = 0; pass < passes; ++pass)
    parts.push_back(data::groups_of(batch, groups, groups * pass / passes, groups * (pass + 1) / passes));
  return parts;
}

}  // namespace

struct Trainer::Impl {
  Impl(const RunConfig& run_config, comm::Communicator& all_ranks, bool overwrite, StageObserver* observer);

  void restore();
  void open_run_folder();
  ExitCode run();
  void train_step(BatchFeeder& feeder, std::int64_t step);
  StepShare compute(const FedBatch& batch, const method::Step& where);
  void answer(Trouble trouble, const FedBatch& batch, const method::Step& where, const StepTotals& totals,
              double norm);
  Cause find_cause(const FedBatch& batch, const method::Step& where, const StepTotals& totals);
  void go_back();
  [[nodiscard]] TrainingState state(bool with_best);
  void show_views(const data::Batch& batch, std::int64_t groups);
  void show_pictures(std::int64_t steps_done);
  void record_rank_times(std::int64_t steps_done);
  [[nodiscard]] bool evaluation_due(std::int64_t steps_done) const;
  Verdict evaluate(std::int64_t steps_done, bool saved);
  Verdict weigh(const Judgement& judgement, std::int64_t steps_done, bool saved);
  void save(std::int64_t steps_done);
  ExitCode leave(std::int64_t steps_done);
  ExitCode finish(std::int64_t steps_done);
  [[nodiscard]] std::int64_t epoch_of(std::int64_t step) const {
    return step / parts->data.steps_per_epoch();
  }
  [[nodiscard]] method::Step step_of(std::int64_t step) {
    return {step, total_steps, epoch_of(step), parts->data.global_images(), config.seed, &ranks};
  }
  [[nodiscard]] bool speaks() const { return ranks.rank() == 0; }

  const RunConfig config;
  comm::Communicator& ranks;
  RunFolder folder{config.run_dir};
  std::unique_ptr<Parts> parts;
  BestScore best;  // refuses a name before anything is removed
  Plateau plateau;
  std::int64_t total_steps;
  Material material;
  std::string trained_on;  // material.signature as checkpoints carry it
  Start start;
  bool complete = false, evaluates_start = false;
  Engine engine;
  NumericsGuard guard{config.numerics};
  checkpoint::Saver saver;
  RunRecord record;
  StageClock stages;
  std::vector<std::string> hosts;  // by rank
  StopRequest request{config.train.stop, config.run_dir, speaks()};
  StepTrace trace{config.train.trace.steps, folder.trace(), ranks};
  data::Batch shown;                    // a group of the first step since the start
  bool stop = false, save_now = false;  // what all ranks agreed on in the last step
};

Trainer::Impl::Impl(const RunConfig& run_config, comm::Communicator& all_ranks, bool overwrite,
                    StageObserver* observer)
    : config(checked(run_config, all_ranks)),
      ranks(all_ranks),
      parts(make_parts(config, ranks)),
      best(config, parts->score_names(config), parts->task_scores(config)),
      plateau(config.schedule.plateau, best.identity(), best.lower_is_better()),
      total_steps(planned_steps(config, parts->data.steps_per_epoch())),
      material(material_of(config, parts->data)),
      trained_on(data::signature_text(material.signature)),
      start(choose_start(config, overwrite, material, ranks)),
      engine(config_from(start, config), *parts->method, material.signature, parts->device,
             material.steps_per_epoch, ranks),
      saver(folder.checkpoints(), ranks, config.checkpoint),
      record(folder,
             {total_steps, parts->data.global_images(), config.train.log_every_steps,
              isatty(STDERR_FILENO) == 1},
             speaks()),
      stages(observer),
      hosts(ranks.gather_texts(host_name())) {
  restore();
  open_run_folder();
}

void Trainer::Impl::restore() {
  if (start.checkpoints.empty()) return;
  checkpoint::Store store(start.checkpoints, ranks);
  load_state(store, start.step, state(start.checkpoints == folder.checkpoints()), ranks);
  guard.restored();
  best.restored();
  plateau.restored();
}

// The best evaluation and plateaus are those of this run alone, and a step that is undone does not undo them.
TrainingState Trainer::Impl::state(bool with_best) {
  TrainingState state = engine.state();
  if (guard.norms().defined()) state.optional.push_back({"/numerics/gradient_norms", guard.norms()});
  if (with_best && best.is_used()) state.optional.push_back(best.buffer());
  if (with_best && plateau.is_used()) state.optional.push_back(plateau.buffer());
  return state;
}

void Trainer::Impl::open_run_folder() {
  const std::string where =
      start_json(config, c10::DeviceTypeName(parts->device.type(), true), start.step, total_steps, ranks);
  comm::together(ranks, [&] {
    if (!speaks()) return;
    complete =
        is_complete(end_of_run(folder.metrics()), {start.step, total_steps}, reason_to_end_early(config));
    evaluates_start = evaluation_due(start.step) ||
                      (best.is_used() && has_evaluation(folder.metrics(), start.step));  // of a shorter run
    start_log_file(folder.log());
    std::filesystem::remove_all(folder.failure());
    if (complete) return;
    write_file_atomically(folder.config(), dump_with_absolute_paths(config));
    record.begin(start.step, evaluates_start, config.train.tensorboard, where);
  });
  complete = ranks.max(std::int64_t{complete}) == 1;
  evaluates_start = ranks.max(std::int64_t{evaluates_start}) == 1;
  comm::set_failure_folder(folder.failure());
}

ExitCode Trainer::Impl::run() {
  if (complete) {
    log_info(fmt::format("{}: this run is complete ({} steps{}); nothing to do", folder.path.string(),
                         start.step, start.step < total_steps ? ", " + reason_to_end_early(config) : ""));
    return ExitCode::done;
  }
  log_info(run_table(config, *parts, {start.step, total_steps, ranks.size()}));
  if (const auto warning = warning_of_short_epochs(config, parts->data, ranks.size()); !warning.empty())
    log_warning(warning);
  if (!start.checkpoints.empty()) {
    log_info(fmt::format("going on from {}",
                         (start.checkpoints / fmt::format("step-{:08}", start.step)).string()));
    const bool saved = start.checkpoints == folder.checkpoints();
    const Verdict verdict = evaluates_start ? evaluate(start.step, saved) : Verdict::go_on;
    if (verdict == Verdict::given_up) return leave(start.step);
    point_to_best(checkpoint::Store(folder.checkpoints(), ranks), best, ranks);
    if (verdict == Verdict::over) return finish(start.step);
  }
  const auto make = [this](std::int64_t step, Workers& workers) {
    return parts->data.batch(step, ranks.rank(), ranks.size(), workers);
  };
  BatchFeeder feeder(make, start.step, std::max(start.step, total_steps), config.data.loader, parts->device,
                     device_views(config, parts->data.dataset().description(), parts->device));
  for (std::int64_t step = start.step; step < total_steps; ++step) {
    const std::int64_t done = step + 1;
    trace.begin_step(done);
    train_step(feeder, step);
    trace.end_step(done);
    const bool last = done == total_steps;
    if (step == start.step) stages.take();  // it warms everything up
    if (last || stop || done % kRankTimesEvery == 0) record_rank_times(done);
    const bool saved = last || stop || save_now || saver.is_due(done);
    if (saved) save(done);
    if (last || evaluation_due(done)) show_pictures(done);
    if (stop && !last) return leave(done);
    const Verdict verdict = evaluation_due(done) ? evaluate(done, saved) : Verdict::go_on;
    if (verdict == Verdict::over) return finish(done);
    if (verdict == Verdict::go_on) continue;
    if (!saved) save(done);
    return leave(done);
  }
  return finish(std::max(start.step, total_steps));
}

void Trainer::Impl::train_step(BatchFeeder& feeder, std::int64_t step) {
  const TraceSpan span(TraceKind::step, "step ", step + 1);
  const auto begin = Clock::now();
  stages.enter(step + 1, Stage::data);
  const FedBatch batch = traced(TraceKind::data, "data", [&] {
    data::Batch host = feeder.next();
    stages.enter(step + 1, Stage::copy);
    return feeder.with_copy(std::move(host));
  });
  if (step == start.step) show_views(batch.on_device, config.sampler.groups_per_step / ranks.size());
  const method::Step where = step_of(step);
  StepShare share = compute(batch, where);
  stages.enter(step + 1, Stage::optimizer);
  share.data_wait = feeder.take_wait();
  share.read_seconds = batch.host.read_seconds;
  share.view_seconds = batch.host.view_seconds;
  const StopRequest::Wish wish = request.look();
  share.stop = wish.stop;
  share.save = wish.save || (speaks() && saver.is_time());
  const double norm = traced(TraceKind::optimizer, "clip", [&] { return engine.clip_gradients(); });
  const StepTotals totals = sum_over_ranks(share, ranks);
  stop = totals.stop;
  save_now = totals.save;
  if (const Trouble trouble = guard.judge(totals.loss, norm); trouble != Trouble::none) {
    answer(trouble, batch, where, totals, norm);
    return stages.end_step();
  }
  const double lr = engine.update(where, norm, plateau.reductions());
  guard.passed(norm);
  stages.enter(step + 1, Stage::ema);
  engine.after_step(where);
  stages.enter(step + 1, Stage::other);
  record.step(step_record(totals, where, lr, norm, Clock::now() - begin));
  stages.end_step();
}

StepShare Trainer::Impl::compute(const FedBatch& batch, const method::Step& where) {
  StepShare share;
  const std::int64_t groups = config.sampler.groups_per_step / ranks.size(),
                     passes = parts->data.backward_passes(ranks.size());
  stages.enter(where.step + 1, Stage::other);
  engine.begin_step(passes);
  parts->method->begin_step(batch.host, where);
  const std::vector<data::Batch> micro_batches = divided(batch.on_device, groups, passes);
  stages.enter(where.step + 1, Stage::forward);
  {
    const nn::Bf16Scope scope(config.precision == Precision::bf16, parts->device.type());
    parts->method->prepare(micro_batches, where);
  }
  for (const data::Batch& part : micro_batches) {
    stages.enter(where.step + 1, Stage::forward);
    const at::Tensor loss = traced(TraceKind::forward, "forward", [&] {
      const nn::Bf16Scope scope(config.precision == Precision::bf16, parts->device.type());
      return parts->method->loss(part, where, share.metrics);
    });
    stages.enter(where.step + 1, Stage::backward);
    traced(TraceKind::backward, "backward", [&] {
      loss.backward();
      engine.finish_backward();
    });
    share.losses.push_back(loss.item<double>());
  }
  share.comm_wait = engine.take_wait();
  share.calls = engine.take_calls();
  share.memory_bytes = peak_memory_bytes();
  share.device_memory_bytes = peak_memory_bytes(parts->device);
  return share;
}

// A step whose numbers are bad: ends the run, or undoes the step.
void Trainer::Impl::answer(Trouble trouble, const FedBatch& batch, const method::Step& where,
                           const StepTotals& totals, double norm) {
  record.clear_terminal();
  const Cause cause = find_cause(batch, where, totals);
  const std::int64_t done = where.step + 1;
  const NumericalError error =
      trouble_error(trouble, totals.loss, norm, guard.usual_norm(), done, folder.path.string(), cause);
  if (config.numerics.on_trouble == OnTrouble::stop || guard.is_one_too_many()) throw error;
  if (config.numerics.on_trouble == OnTrouble::rollback) go_back();
  engine.skip(done);
  const std::string action(config::enum_name(config.numerics.on_trouble));
  log_warning(fmt::format("{}: {}; numerics.on_trouble={}", error.text().what, cause_text(cause), action));
  record.write(trouble_json(error.text().what, cause, action, done, where.epoch));
}

// Computes the step a second time: a fault of the hardware hardly ever strikes twice.
Cause Trainer::Impl::find_cause(const FedBatch& batch, const method::Step& where, const StepTotals& totals) {
  engine.watch_gradients(true);
  const StepShare share = compute(batch, where);
  const double norm = engine.clip_gradients();
  const StepTotals again = sum_over_ranks(share, ranks);
  Findings mine;
  comm::together(ranks, [&] {
    mine.own_loss_is_finite = std::all_of(share.losses.begin(), share.losses.end(),
                                          [](double loss) { return std::isfinite(loss); });
    mine.image = parts->data.first_bad_image(batch.on_device);
    mine.gradient = engine.first_bad_gradient();
  });
  engine.watch_gradients(false);
  return cause_of(totals, again, guard.judge(again.loss, norm) != Trouble::none, mine, ranks);
}

// To the last checkpoint, whose weights the run goes on with.
void Trainer::Impl::go_back() {
  saver.wait();
  checkpoint::Store store(folder.checkpoints(), ranks);
  const std::int64_t step = step_to_go_back_to(store, ranks);
  load_state(store, step, state(false), ranks);
  guard.restored();
  log_info(fmt::format("back to the weights of step {}", step));
  save_now = true;
}

// What the model sees, for a look at augmentation and normalisation.
void Trainer::Impl::show_views(const data::Batch& batch, std::int64_t groups) {
  comm::together(ranks, [&] {
    if (!speaks()) return;
    const data::Description& description = parts->data.dataset().description();
    std::vector<at::Tensor> stored;
    for (const at::Tensor& view : batch.views)
      stored.push_back(augment::denormalise(view.to(at::kCPU), description, config.data.normalisation));
    write_file_atomically(folder.views(), eval::view_sheet(batch.views, stored, description));
  });
  shown = data::groups_of(batch, groups, 0, 1);
  shown.stored = shown.recipes = at::Tensor();  // what views were made of
  shown.for_each_tensor([](at::Tensor& tensor, data::Batch::Use) { tensor = tensor.clone(); });
}

// Collective.
void Trainer::Impl::show_pictures(std::int64_t steps_done) {
  const TraceSpan span(TraceKind::evaluation, "pictures");
  stages.enter(steps_done, Stage::evaluation);
  const auto pictures = [&] {
    const nn::Bf16Scope scope(config.precision == Precision::bf16, parts->device.type());
    return parts->method->pictures(shown, step_of(steps_done - 1));
  }();
  stages.pause();
  if (!pictures) return;
  comm::together(ranks, [&] {
    if (!speaks()) return;
    write_file_atomically(folder.pictures(), eval::view_sheet(pictures->columns));
    record.write(pictures_json(pictures->caption, steps_done, epoch_of(steps_done - 1)));
  });
}

// Collective.
void Trainer::Impl::record_rank_times(std::int64_t steps_done) {
  const StageTimes mine = stages.take();
  if (mine.steps == 0) return;
  const RankTimes times = gather_rank_times(mine, ranks);
  if (speaks()) record.rank_times(times, steps_done, hosts);
}

bool Trainer::Impl::evaluation_due(std::int64_t steps_done) const {
  if (steps_done == 0 || parts->splits.empty()) return false;
  const std::int64_t every = config.eval.every_epochs * parts->data.steps_per_epoch();
  return steps_done == total_steps || (every > 0 && steps_done % every == 0);
}

// `saved`: the run's folder has a checkpoint of this step.
Verdict Trainer::Impl::evaluate(std::int64_t steps_done, bool saved) {
  const TraceSpan span(TraceKind::evaluation, "evaluate");
  stages.enter(steps_done, Stage::evaluation);
  record.clear_terminal();
  Judgement judgement;
  try {
    judgement = judge(*parts->method, *parts->model, parts->splits, config, ranks,
                      [this] { return request.look().stop; });
  } catch (const Error& error) {
    if (error.exit_code() != ExitCode::stopped) throw;
    return Verdict::given_up;
  }
  if (speaks()) write_judgement(judgement, steps_done, epoch_of(steps_done - 1), record);
  return best.is_used() ? weigh(judgement, steps_done, saved) : Verdict::go_on;
}

// What is saved of this step knows nothing of its evaluation, which a run that goes on from there makes
// again, with the same outcome.
Verdict Trainer::Impl::weigh(const Judgement& judgement, std::int64_t steps_done, bool saved) {
  const double score = same_on_all(score_named(config.checkpoint.best_by, judgement), ranks);
  const bool is_best = best.is_best(score), is_last = best.is_last(score);
  if ((is_best || is_last) && !saved) save(steps_done);
  if (is_best) {
    saver.wait();
    keep_best({steps_done, epoch_of(steps_done - 1), config.checkpoint.best_by, score},
              checkpoint::Store(folder.checkpoints(), ranks), record, ranks);
  }
  best.note(score, steps_done);
  if (plateau.is_used() && plateau.note(score))
    log_info(fmt::format("{} no longer gets better: the learning rate falls, for the {}. time",
                         printable(config.checkpoint.best_by), plateau.reductions()));
  return is_last && steps_done < total_steps ? Verdict::over : Verdict::go_on;
}

void Trainer::Impl::save(std::int64_t steps_done) {
  const TraceSpan span(TraceKind::checkpoint, "save step ", steps_done);
  stages.enter(steps_done, Stage::checkpoint);
  comm::together(ranks, [&] { record.sync(); });
  saver.save(state_to_save(state(true), ranks),
             {steps_done, epoch_of(steps_done), config.seed, dump_with_absolute_paths(config),
              material.identity, trained_on, parts->encoders});
  stages.pause();
  request.saved();
}

ExitCode Trainer::Impl::leave(std::int64_t steps_done) {
  trace.finish();
  saver.wait();
  record.clear_terminal();
  comm::together(ranks, [&] {
    if (!speaks()) return;
    record.write(stop_json(steps_done, name_of(request.reason())));
    record.sync();
    request.stopped();
  });
  log_info(fmt::format("stopped by {} after step {}; the same command goes on from there",
                       describe(request.reason()), steps_done));
  return ExitCode::stopped;
}

ExitCode Trainer::Impl::finish(std::int64_t steps_done) {
  trace.finish();
  record.clear_terminal();
  saver.wait();
  const bool is_early = steps_done < total_steps, trained = start.step < steps_done;
  comm::together(ranks, [&] {
    if (!speaks()) return;
    write_weights(folder, {trained ? folder.checkpoints() : start.checkpoints, steps_done},
                  parts->encoders.front().name, ranks);
    write_end({.step = steps_done,
               .ranks = ranks.size(),
               .parameters = count_parameters(*parts->model),
               .reason = is_early ? reason_to_end_early(config) : ""},
              steps_done * parts->data.global_images(), folder, record);
  });
  return ExitCode::done;
}

Trainer::Trainer(const RunConfig& config, comm::Communicator& ranks, bool overwrite, StageObserver* observer)
    : impl_(std::make_unique<Impl>(config, ranks, overwrite, observer)) {}

Trainer::~Trainer() = default;

ExitCode Trainer::run() {
  return impl_->run();
}

std::int64_t Trainer::first_step() const noexcept {
  return impl_->start.step;
}

std::int64_t Trainer::total_steps() const noexcept {
  return impl_->total_steps;
}

nn::Encoder& Trainer::model() noexcept {
  return *impl_->parts->model;
}

}  // namespace cohort::train
