// Methods that learn without labels, and from fields, on 1, 2, 3 and 4 ranks under every strategy: the losses
// and the weights of one rank that holds everything; bit for bit where a run is reproducible, one that was
// killed and goes on with other ranks included.
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "../support/options.h"
#include "trained_result.h"

namespace cohort {
namespace {

constexpr int kSteps = 3;

struct Row {
  std::string name;
  std::vector<std::string> options;
  double bound = 1e-5;  ///< of rounding: fp32 sums over ranks in another order differ by about 1e-7 relative
};

void PrintTo(const Row& row, std::ostream* out) {
  *out << row.name;
}

train::RunConfig configuration(const Row& row, const std::vector<std::string>& more = {}) {
  train::RunConfig config = e2e::nuclei_run();
  config.sampler.images_per_group = 4;
  config.model.width = 24;
  config.model.depth = 2;
  config.model.drop_path = 0.1;
  config.train.max_steps = kSteps;
  // Batch normalisation of rows that hardly differ makes gradients of hundreds, and Adam turns their rounding
  // into whole steps. An update by SGD is a multiple of the gradient.
  config.optimizer.name = "sgd";
  config.optimizer.clip_norm = 1;
  config.optimizer.lr = 0.005;
  testing::set_options(config, row.options);
  testing::set_options(config, more);
  return config;
}

/// What batch normalisation takes away again: its gradient is nothing but rounding.
bool is_taken_away(const std::string& name) {
  return name.ends_with("/backbone.norm.bias") || name.ends_with("/predictor.0.bias") ||
         name.ends_with("/projector.0.bias") || name.ends_with("/projector.3.bias") ||
         name.ends_with(".conv.bias") || name.ends_with("_global.0.bias") ||
         name.ends_with("_local.0.bias") || name.ends_with("_pooling.out_proj.bias") ||
         name.ends_with("alignment.output_projection.bias");
}

void expect_close(const e2e::Result& expected, const e2e::Result& actual, double bound) {
  ASSERT_EQ(actual.losses.size(), expected.losses.size());
  for (std::size_t step = 0; step < expected.losses.size(); ++step)
    EXPECT_NEAR(actual.losses[step], expected.losses[step], bound * std::abs(expected.losses[step])) << step;
  for (const auto& [name, weight] : expected.state) {
    if (is_taken_away(name)) continue;
    const double scale = std::max(weight.abs().max().item<double>(), 1e-3);
    EXPECT_LE((weight - actual.state.at(name)).abs().max().item<double>() / scale, bound) << name;
  }
}

void expect_same_bits(const e2e::Result& expected, const e2e::Result& actual) {
  EXPECT_EQ(actual.losses, expected.losses);
  for (const auto& [name, weight] : expected.state)
    EXPECT_TRUE(at::equal(weight, actual.state.at(name))) << name;
}

/// Four ranks, of which the first ones train while the others wait.
class Ranks {
 public:
  Ranks() : session_(argc_, argv_, std::chrono::seconds(60)), world(session_.world()) {
    for (int size = 1; size <= world.size(); ++size)
      first_.push_back(world.split(world.rank() < size ? 0 : 1, "the first " + std::to_string(size)));
  }

  [[nodiscard]] bool has(int size) const { return world.rank() < size; }
  comm::Communicator& first(int size) { return first_.at(static_cast<std::size_t>(size - 1)); }

  /// What the first `size` ranks have trained, on rank 0; nothing on the others.
  e2e::Result train(int size, const train::RunConfig& config) {
    e2e::Result result;
    if (has(size)) result = e2e::train_on(first(size), config);
    world.barrier();
    return world.rank() == 0 ? result : e2e::Result{};
  }

 private:
  int argc_ = 0;
  char** argv_ = nullptr;
  const comm::Session session_;

 public:
  comm::Communicator world;

 private:
  std::vector<comm::Communicator> first_;
};

/// Of one rank that holds everything.
const e2e::Result& plain(Ranks& ranks, const Row& row) {
  static std::map<std::string, e2e::Result> results;
  const auto [found, is_new] = results.try_emplace(row.name);
  if (is_new) found->second = ranks.train(1, configuration(row));
  return found->second;
}

class Strategies : public ::testing::TestWithParam<std::tuple<Row, std::string>> {
 protected:
  Ranks ranks_;
};

TEST_P(Strategies, GiveTheResultOfOneRank) {
  const auto& [row, strategy] = GetParam();
  ASSERT_EQ(ranks_.world.size(), 4);
  const e2e::Result& expected = plain(ranks_, row);
  if (ranks_.world.rank() == 0) {
    ASSERT_EQ(expected.losses.size(), std::size_t{kSteps});
    EXPECT_NE(expected.losses.front(), expected.losses.back());
  }
  for (const int size : {2, 3, 4}) {
    SCOPED_TRACE(std::to_string(size) + " ranks");
    const std::string shared_by = std::to_string(size == 4 ? 2 : size);
    expect_close(expected,
                 ranks_.train(size, configuration(row, {"sharding.strategy=" + strategy,
                                                        "sharding.shard_size=" + shared_by})),
                 row.bound);
  }
}

class Methods : public ::testing::TestWithParam<Row> {
 protected:
  Ranks ranks_;
};

TEST_P(Methods, GiveTheSameWithMicroBatches) {
  expect_close(plain(ranks_, GetParam()),
               ranks_.train(2, configuration(GetParam(), {"train.micro_batches=3",
                                                          "sharding.activation_checkpointing=true"})),
               GetParam().bound);
}

TEST_P(Methods, GiveTheSameBitsWhereTheyAreReproducible) {
  const e2e::Result expected = ranks_.train(1, configuration(GetParam(), {"reproducible=true"}));
  expect_same_bits(expected, ranks_.train(3, configuration(GetParam(), {"reproducible=true"})));
  expect_same_bits(
      expected, ranks_.train(4, configuration(GetParam(), {"reproducible=true", "sharding.strategy=full"})));
}

// Two steps on two ranks, the rest on four, from the checkpoint of the second.
TEST_P(Methods, GoOnWithOtherRanksToTheSameBits) {
  const std::vector<std::string> options{"reproducible=true", "checkpoint.every_steps=2",
                                         "checkpoint.keep_last=10"};
  comm::Communicator& world = ranks_.world;
  train::RunConfig config = configuration(GetParam(), options);
  const e2e::Result expected = ranks_.train(2, config);
  std::unique_ptr<testing::TemporaryFolder> temporary;
  if (world.rank() == 0) temporary = std::make_unique<testing::TemporaryFolder>();
  config.run_dir = world.broadcast_text(temporary ? temporary->path().string() : "") + "/run";
  if (ranks_.has(2)) {
    EXPECT_EQ(train::Trainer(config, ranks_.first(2)).run(), ExitCode::done);
  }
  world.barrier();
  if (world.rank() == 0) std::filesystem::remove_all(config.run_dir / "checkpoints" / "step-00000003");
  world.barrier();
  {
    train::Trainer trainer(config, world);
    EXPECT_EQ(trainer.first_step(), 2);
    EXPECT_EQ(trainer.run(), ExitCode::done);
  }
  world.barrier();
  const auto state = e2e::state_of(config.run_dir, world);
  if (world.rank() == 0) expect_same_bits(expected, {e2e::losses_of(config.run_dir), {}, state});
  world.barrier();
}

/// Of a projector that is small.
Row two_views(const std::string& method) {
  return {method, {"method=" + method, method + ".hidden=16", method + ".outputs=8"}};
}
Row two_views_of_resnet(const std::string& method) {
  Row row = two_views(method);
  row.name += "_on_resnet";
  row.bound = 5e-4;  // of its gradients against fp64, too: batch normalisation divides by small deviations
  for (const char* option : {"model.name=resnet18", "model.resnet.width=4", "context.keys=[]"})
    row.options.emplace_back(option);
  return row;
}
Row simsiam() {
  Row row = two_views("simsiam");
  row.options.emplace_back("simsiam.bottleneck=16");  // fewer, and the predictor makes rows of zeros
  // Four norms in a row: of few images some deviations are tiny, and rounding is divided by all four.
  row.options.emplace_back("sampler.images_per_group=16");
  return row;
}

Row matrix_ssl() {
  Row row = two_views("matrix_ssl");
  // Eigenvalues of views that hardly differ are small, and rounding is divided by them: by this at least, and
  // of few images by the norms as well.
  row.options.emplace_back("matrix_ssl.epsilon=0.1");
  row.options.emplace_back("sampler.images_per_group=16");
  return row;
}

Row masked(const std::string& name, const std::vector<std::string>& options) {
  Row row{name, {"method=mae", "mae.decoder_width=16", "mae.decoder_depth=1", "mae.decoder_heads=2"}};
  row.options.insert(row.options.end(), options.begin(), options.end());
  return row;
}

/// DINO with switches of DINOv2.
Row dinov2(const std::string& name, const std::string& keys, const std::vector<std::string>& switches) {
  Row row{name,
          {"method=dino", "dino.prototypes=48", "dino.hidden=32", "dino.bottleneck=16",
           "dino.freeze_last_layer=0", "context.keys=[" + keys + "]"}};
  row.options.insert(row.options.end(), switches.begin(), switches.end());
  return row;
}

/// Supervised learning of a field, of images drawn with one of each kind (tests/data/fields).
Row field_row(const std::string& name, const std::vector<std::string>& options, bool with_contexts = true) {
  const auto data = std::filesystem::path(COHORT_TEST_DATA) / "data" / "fields";
  Row row{name, {"data.path=" + data.string(), "model.patch_size=8"}};
  row.options.insert(row.options.end(), options.begin(), options.end());
  if (!with_contexts) row.options.emplace_back("context.keys=[]");
  return row;
}
Row segmentation(const std::string& name, std::vector<std::string> options, bool with_contexts = true) {
  options.emplace_back("supervised.task=segmentation");
  return field_row("segmentation_" + name, options, with_contexts);
}
Row segmentation_of_resnet(const std::string& head) {
  Row row = segmentation(head + "_on_resnet",
                         {"supervised.head=" + head, "model.name=resnet18", "model.resnet.width=4",
                          "supervised.pyramid_width=8", "supervised.loss=dice_cross_entropy"},
                         /*with_contexts=*/false);
  row.bound = 5e-4;  // as above
  return row;
}
/// Of images with one to three boxes each (tests/data/boxes).
Row detection(const std::string& name, std::vector<std::string> options, bool with_contexts = true) {
  const auto data = std::filesystem::path(COHORT_TEST_DATA) / "data" / "boxes";
  for (const std::string& option :
       {"data.path=" + data.string(), std::string("supervised.task=detection"),
        std::string("supervised.head=yolo"), std::string("supervised.yolo_width=16")})
    options.push_back(option);
  Row row = field_row("detection" + name, options, with_contexts);
  row.bound = 5e-4;  // as above
  return row;
}

/// Of shapes and sentences (tests/data/shapes), with dropout in the tower of texts and a frozen layer in it.
Row texts(const std::string& name, const std::string& method, const std::vector<std::string>& options,
          bool with_contexts = true) {
  const auto data = std::filesystem::path(COHORT_TEST_DATA) / "data" / "shapes";
  Row row = field_row(name, {"data.path=" + data.string(), "method=" + method}, with_contexts);
  for (const char* option : {".hidden=16", ".outputs=8", ".text.width=16", ".text.depth=2", ".text.heads=2",
                             ".text.hidden=16", ".text.positions=64", ".text.frozen_layers=1"})
    row.options.push_back(method + option);
  row.options.insert(row.options.end(), options.begin(), options.end());
  return row;
}
Row texts_of_resnet(const std::string& method) {
  Row row = texts(method + "_on_resnet", method, {"model.name=resnet18", "model.resnet.width=4"},
                  /*with_contexts=*/false);
  row.bound = 5e-4;  // as above
  return row;
}

const auto kRows = ::testing::Values(
    two_views("simclr"), two_views("byol"), two_views("barlow_twins"), matrix_ssl(),
    two_views("spectral_contrastive"), simsiam(), two_views_of_resnet("simclr"), two_views_of_resnet("byol"),
    masked("mae", {}), masked("mae_fourier", {"mae.fourier_weight=0.1"}),
    masked("m_mae", {"mae.regularizer=tcr", "mae.regularizer_weight=0.1"}),
    dinov2("koleo_global", "context", {"dino.koleo_weight=0.1"}),
    dinov2("koleo_group", "", {"dino.koleo_weight=0.1", "dino.koleo_scope=group"}),
    dinov2("sinkhorn", "", {"dino.centering=sinkhorn"}),
    dinov2("sinkhorn_koleo", "context", {"dino.centering=sinkhorn", "dino.koleo_weight=0.1"}),
    field_row("multilabel", {"supervised.task=multilabel", "supervised.head=mlp", "supervised.hidden=16"}),
    field_row("regression", {"supervised.task=regression", "supervised.loss=huber"}, /*with_contexts=*/false),
    segmentation("linear", {}), segmentation("dice", {"supervised.loss=dice"}),
    texts("convirt", "convirt", {"convirt.scope=global"}), texts("clip_star", "clip_star", {}),
    texts_of_resnet("clip_star"), texts("lovt", "lovt", {}),
    texts("lovt_global", "lovt",
          {"lovt.scope=global", "lovt.norm_padding=exclude", "lovt.text.frozen_embeddings=false"},
          /*with_contexts=*/false),
    segmentation("mask_transformer", {"supervised.head=mask_transformer", "supervised.decoder_width=16",
                                      "supervised.decoder_heads=2"}),
    segmentation("fpn", {"supervised.head=fpn", "supervised.pyramid_width=8"}, /*with_contexts=*/false),
    segmentation_of_resnet("fpn"), segmentation_of_resnet("unet"), detection("", {}),
    detection("_on_resnet", {"model.name=resnet18", "model.resnet.width=4", "model.resnet.stem=small"},
              /*with_contexts=*/false));

INSTANTIATE_TEST_SUITE_P(
    All, Strategies, ::testing::Combine(kRows, ::testing::Values("replicate", "optimizer", "full", "hybrid")),
    [](const auto& test) { return std::get<0>(test.param).name + "_" + std::get<1>(test.param); });
INSTANTIATE_TEST_SUITE_P(All, Methods, kRows, [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace cohort
