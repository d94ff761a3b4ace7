// Whole runs with the shipped settings against the same runs written down as their formulas read
// (plain_*.h): weights, moments, teacher and centre, also where steps were left out or repeated.
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/store.h"
#include "cohort/nn/vit.h"
#include "cohort/train/stage_observer.h"
#include "cohort/train/trainer.h"

#include "plain_dino.h"
#include "plain_mae.h"
#include "plain_simsiam.h"
#include "plain_supervised.h"
#include "plain_two_views.h"
#include "support/golden.h"
#include "support/ranks.h"
#include "tiny_run.h"

namespace cohort::train {
namespace {

const std::filesystem::path kConfigs = std::filesystem::path(COHORT_TEST_DATA) / ".." / "configs";

/// The tiny dataset in colour.
void write_coloured_dataset(const std::filesystem::path& folder, comm::Communicator& ranks) {
  data::Description description = testing::tiny_description();
  description.images.channels = 3;
  description.channels = {"red", "green", "blue"};
  const std::vector<data::Row> rows = testing::tiny_rows();
  const auto pixels = [&](std::int64_t index, std::span<std::byte> out) {
    const data::Row& row = rows[static_cast<std::size_t>(index)];
    RandomStream random({.seed = 7, .purpose = Purpose::synthetic, .sample = index});
    for (std::byte& value : out) {
      const std::uint64_t light = random.below(60) + (row.labels.front() == 1 ? 80 : 0);
      value = static_cast<std::byte>(20 * static_cast<std::uint64_t>(row.contexts.front()) + light);
    }
  };
  (void)data::write_dataset(folder, description, rows, pixels, {}, ranks);
}

/// Poisons the model in some steps, counted from 1, as a fault of the hardware would, and leaves it as it
/// was.
class Poison final : public StageObserver {
 public:
  explicit Poison(std::set<std::int64_t> steps) : steps_(std::move(steps)) {}
  void aim_at(nn::Encoder& model) { target_ = model.parameters().front(); }

  void ends(Stage stage) noexcept override {
    if (stage != Stage::copy || !steps_.contains(step_)) return;
    const at::NoGradGuard no_gradients;
    before_ = target_.detach().clone();
    target_.fill_(std::numeric_limits<float>::quiet_NaN());
  }
  void took(Stage /*stage*/, double /*busy*/, double /*waiting*/) noexcept override {}
  void step_ended(std::int64_t step) noexcept override {
    const at::NoGradGuard no_gradients;
    const bool is_poisoned = before_.defined() && !target_.isfinite().all().item<bool>();
    if (is_poisoned) target_.copy_(before_);
    before_.reset();
    step_ = step + 1;
  }

 private:
  std::set<std::int64_t> steps_;
  std::int64_t step_ = 1;
  at::Tensor target_, before_;
};

/// The part of a key in the bias of attention changes nothing, so that its gradient is rounding and its
/// update a coin's.
bool is_rounding(const std::string& name) {
  return name.ends_with("attn.qkv.bias");
}
at::Tensor without_rounding(const std::string& name, const at::Tensor& values) {
  if (!is_rounding(name)) return values;
  const std::vector<at::Tensor> parts = values.chunk(3);
  return at::cat({parts[0], parts[2]});
}

/// What batch normalisation takes away again: its gradient is nothing but rounding. So is the mean of what
/// SimSiam's predictor normalises, a linear function of rows whose mean is 0.
bool is_taken_away(std::string_view method, const std::string& name) {
  return name.ends_with("backbone.norm.bias") || name.ends_with("predictor.0.bias") ||
         name.ends_with("projector.0.bias") || name.ends_with("projector.3.bias") ||
         (method == "simsiam" && name.ends_with("predictor.1.running_mean"));
}

class KnownRun : public ::testing::TestWithParam<const char*> {
 protected:
  KnownRun() {
    // On more ranks tests of invariance compare runs with those of one.
    if (world.size() <= 2) write_coloured_dataset(folder.path() / "tiny", world);
  }

  /// The shipped settings of the method with a small model on small images.
  RunConfig shipped(const std::vector<std::string>& more = {}) const {
    const std::string method = GetParam();
    std::vector<std::string> settings{fmt::format("data.path={}", (folder.path() / "tiny").string()),
                                      fmt::format("run_dir={}", (folder.path() / "run").string()),
                                      "sampler.groups_per_step=12",
                                      "sampler.images_per_group=4",
                                      "model.name=vit_tiny",
                                      "model.patch_size=4",
                                      "model.width=16",
                                      "model.depth=2",
                                      "model.heads=2",
                                      "model.dropout=0.1",
                                      "model.drop_path=0.2",
                                      "context.keys=[site]",
                                      "checkpoint.keep_last=100",
                                      "eval.every_epochs=0"};
    if (method == "dino") {
      for (const char* setting : {"augment.preset=camelyon_dino", "augment.multi_crop.global_size=8",
                                  "augment.multi_crop.local_size=4", "augment.multi_crop.local_crops=2",
                                  "dino.prototypes=24", "dino.hidden=16", "dino.bottleneck=8"})
        settings.emplace_back(setting);
    } else if (method == "mae") {
      for (const char* setting :
           {"augment.flip_horizontal=true", "mae.decoder_width=8", "mae.decoder_depth=1",
            "mae.decoder_heads=2", "schedule.warmup_epochs=3", "model.patch_size=2"})
        settings.emplace_back(setting);
    } else if (method != "supervised") {
      // A larger epsilon keeps small what is rounding alone.
      for (const char* setting : {"augment.preset=camelyon_dino", "augment.multi_crop.global_size=8",
                                  "augment.multi_crop.local_crops=0", "optimizer.epsilon=1"})
        settings.emplace_back(setting);
      for (const char* setting : {".hidden=16", ".outputs=8"}) settings.push_back(method + setting);
      // Four norms in a row: of few images some deviations are tiny, and rounding is divided by all four.
      if (method == "matrix_ssl")  // rounding is divided by small eigenvalues
        settings.insert(settings.end(), {"matrix_ssl.epsilon=0.1", "sampler.groups_per_step=4",
                                         "sampler.images_per_group=12"});
      if (method == "simsiam")
        settings.insert(settings.end(), {"simsiam.bottleneck=16", "sampler.groups_per_step=4",
                                         "sampler.images_per_group=12"});
    } else {
      for (const char* setting :
           {"eval.splits=[test]", "supervised.label_smoothing=0.1", "optimizer.clip_norm=1",
            "optimizer.layer_decay=0.75", "augment.flip_horizontal=true"})
        settings.emplace_back(setting);
    }
    settings.insert(settings.end(), more.begin(), more.end());
    return load_run_config(kConfigs / "method" / (method + ".yaml"), settings);
  }

  static bool has_batch_norm() {
    const std::string_view method = GetParam();
    return method == "simclr" || method == "byol" || method == "barlow_twins" || method == "matrix_ssl" ||
           method == "spectral_contrastive" || method == "simsiam";
  }

  std::unique_ptr<PlainRun> plain(const RunConfig& config) const {
    if (GetParam() == std::string_view("dino")) return std::make_unique<PlainDino>(config);
    if (GetParam() == std::string_view("supervised")) return std::make_unique<PlainSupervised>(config);
    if (GetParam() == std::string_view("mae")) return std::make_unique<PlainMae>(config);
    if (GetParam() == std::string_view("simsiam")) return std::make_unique<PlainSimsiam>(config);
    return std::make_unique<PlainTwoViews>(config);
  }

  void train(const RunConfig& config, Poison* poison = nullptr) {
    Trainer trainer(config, world, false, poison);
    if (poison != nullptr) poison->aim_at(trainer.model());
    EXPECT_EQ(trainer.run(), ExitCode::done);
    world.barrier();
  }

  /// All that the checkpoint of `step` holds.
  PlainRun::Tensors saved(const RunConfig& config, std::int64_t step) {
    checkpoint::Store store(config.run_dir / "checkpoints", world);
    std::vector<checkpoint::Slice> slices;
    for (const auto& [name, tensor] : store.contents(step).tensors) {
      const at::Tensor values = at::empty(tensor.shape);
      slices.push_back({name, tensor.shape, 0, values.view({-1})});
    }
    store.load(step, slices);
    PlainRun::Tensors tensors;
    for (const checkpoint::Slice& slice : slices) tensors[slice.name] = slice.values.view(slice.shape);
    return tensors;
  }

  void expect_known(const PlainRun::Tensors& actual, const PlainRun::Tensors& expected, double bound) {
    ASSERT_EQ(actual.size(), expected.size());
    for (const auto& [name, values] : expected) {
      ASSERT_TRUE(actual.contains(name)) << name;
      if (has_batch_norm() && is_taken_away(GetParam(), name)) continue;
      EXPECT_LE(testing::relative_difference(without_rounding(name, actual.at(name)),
                                             without_rounding(name, values)),
                bound)
          << name;
    }
  }

  comm::Communicator world = test::world();
  testing::SharedFolder folder{world};
};

// Warm-up and the teacher's temperature end within these steps; the held layer has moved once at the first
// checkpoint.
TEST_P(KnownRun, ShippedSettingsGiveWhatTheFormulasSay) {
  if (world.size() > 2) GTEST_SKIP() << "compared with one rank by tests of invariance";
  const std::int64_t last = GetParam() == std::string_view("dino") ? 63 : 33;
  const RunConfig config = shipped({fmt::format("train.max_steps={}", last), "checkpoint.every_steps=3"});
  train(config);
  const auto run = plain(config);
  for (std::int64_t done = 1; done <= last; ++done) {
    run->step(done - 1);
    if (done != 3 && done != 30 && done != last) continue;
    SCOPED_TRACE(fmt::format("after step {}", done));
    expect_known(saved(config, done), run->copy(), 2e-5);
  }
}

TEST_P(KnownRun, StepsThatAreLeftOutLeaveNoTrace) {
  if (world.size() > 2) GTEST_SKIP() << "compared with one rank by tests of invariance";
  const RunConfig config =
      shipped({"train.max_steps=10", "checkpoint.every_steps=1", "numerics.on_trouble=skip"});
  const std::set<std::int64_t> bad{2, 5, 6};
  Poison poison(bad);
  train(config, &poison);
  EXPECT_EQ(lines_of(config.run_dir, "trouble").size(), bad.size());

  const auto run = plain(config);
  PlainRun::Tensors before;
  for (std::int64_t done = 1; done <= 10; ++done) {
    SCOPED_TRACE(fmt::format("after step {}", done));
    if (!bad.contains(done)) run->step(done - 1);
    expect_known(saved(config, done), run->copy(), 2e-5);
    if (bad.contains(done)) {
      for (const auto& [name, values] : saved(config, done))
        EXPECT_TRUE(at::equal(values, before.at(name))) << name;
    }
    before = saved(config, done);
  }
}

// Checkpoints of steps 3 and 6; step 5 sends the run back to the first.
TEST_P(KnownRun, AfterARollbackTheStepsInBetweenLeaveNoTrace) {
  if (world.size() > 2) GTEST_SKIP() << "compared with one rank by tests of invariance";
  const RunConfig config =
      shipped({"train.max_steps=8", "checkpoint.every_steps=3", "numerics.on_trouble=rollback"});
  Poison poison({5});
  train(config, &poison);

  const auto run = plain(config);
  PlainRun::Tensors of_step_3;
  for (std::int64_t step = 0; step < 8; ++step) {
    if (step == 4) {
      run->go_back_to(of_step_3);
    } else {
      run->step(step);
    }
    if (step == 2) of_step_3 = run->copy();
  }
  expect_known(saved(config, 8), run->copy(), 2e-5);
}

INSTANTIATE_TEST_SUITE_P(Methods, KnownRun,
                         ::testing::Values("supervised", "dino", "mae", "simclr", "byol", "barlow_twins",
                                           "matrix_ssl", "spectral_contrastive", "simsiam"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace cohort::train
