// Steps that are rehearsed: their FLOPs against published tables, what LibTorch runs and sums by hand, and
// their memory against what is stored.
#include "plan/rehearsal.h"

#include <atomic>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include "cohort/nn/vit.h"

#include "../support/options.h"
#include "../support/small_model.h"
#include "plan/meta_device.h"
#include "plan/prediction.h"

namespace cohort::perf {
namespace {

Workload workload_of(const std::vector<std::string>& options, std::int64_t side, std::int64_t classes) {
  train::RunConfig config;
  config.context.keys.clear();
  testing::set_options(config, {"augment.preset=whole", "model.drop_path=0"});
  testing::set_options(config, options);
  return make_workload(config,
                       {.channels = 3, .height = side, .width = side, .images = 1000, .classes = classes});
}

template <class Counts>
double sum_of(const Rehearsal& rehearsal, Pass pass, double Operator::*member, const Counts& counts) {
  double sum = 0;
  for (const Action& action : rehearsal.actions) {
    for (const Operator& op : action.operators) sum += action.pass == pass && counts(op) ? op.*member : 0;
  }
  return sum;
}
double flops_of(const Rehearsal& rehearsal, Pass pass) {
  return sum_of(rehearsal, pass, &Operator::flops, [](const Operator& /*op*/) { return true; });
}

/// Multiply-adds of products that LibTorch ran while it lives: convolutions, linear layers and attention.
class Products {
 public:
  Products() {
    count() = 0;
    const auto start = [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
      add(function);
      return nullptr;
    };
    handle_ = at::addGlobalCallback(at::RecordFunctionCallback(start).needsInputs(true).scopes(
        {at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
  }
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;
  ~Products() { at::removeCallback(handle_); }
  static double flops() { return static_cast<double>(2 * count()); }

 private:
  static std::atomic<std::int64_t>& count() {
    static std::atomic<std::int64_t> products;
    return products;
  }

  static void add(const at::RecordFunction& function) {
    const std::string name = function.name();
    const auto tensor = [&](std::size_t i) { return function.inputs()[i].toTensor(); };
    if (name == "aten::mm" || name == "aten::bmm") {
      count() += tensor(0).numel() * tensor(1).size(-1);
    } else if (name == "aten::addmm") {
      count() += tensor(1).numel() * tensor(2).size(-1);
    } else if (name == "mkldnn::_linear_pointwise") {
      count() += tensor(0).numel() * tensor(1).size(0);
    } else if (name == "aten::conv2d") {  // the patches do not overlap
      count() += tensor(0).numel() * tensor(1).size(0);
    }
  }

  at::CallbackHandle handle_;
};

TEST(ModelFlops, OfVisionTransformersAreThoseOfTheTablesOfTimm) {
  // Multiply-adds of a forward pass at 224 x 224 with 1,000 classes: 4.6 G and 17.6 G (arXiv 2012.12877,
  // table 1, and timm's results for deit_small_patch16_224 and vit_base_patch16_224), 61.6 G (timm,
  // vit_large_patch16_224).
  struct Published {
    const char* name;
    double width, multiply_adds;
  };
  for (const auto& [name, width, multiply_adds] :
       {Published{"vit_small", 384, 4.6e9}, {"vit_base", 768, 17.6e9}, {"vit_large", 1024, 61.6e9}}) {
    const Workload workload = workload_of(
        {std::string("model.name=") + name, "model.patch_size=16", "model.pooling=mean"}, 224, 1000);

    const Rehearsal rehearsal = rehearse(workload, {}, {}, 1);
    const double forward = flops_of(rehearsal, Pass::forward);

    EXPECT_NEAR(forward / 2 / multiply_adds, 1.0, 0.005) << name;
    // Images need no gradient.
    EXPECT_DOUBLE_EQ(rehearsal.model_flops(), 3 * forward - 2.0 * 196 * 768 * width) << name;
  }
}

TEST(ModelFlops, AreThoseOfTheProductsThatLibTorchRuns) {
  const nn::ContextConfig context{.keys = {"site"}, .amortization = nn::Amortization::mean_linear_layer};
  for (const nn::ContextConfig& how : {nn::ContextConfig{}, context}) {
    nn::ModelConfig small{.name = "vit_tiny"};
    small.depth = 3;
    small.patch_size = 8;
    small.registers = 2;
    nn::VitShape shape =
        nn::vit_shape(small, how, std::vector<std::int64_t>(how.keys.size(), 5), 3, 32, 32, 10);
    nn::VisionTransformer model(shape, 1);
    nn::Conditions conditions{.sample = at::arange(4), .training = true};
    if (!how.keys.empty())
      conditions.context = at::zeros({4, 1}, at::kLong), conditions.group = at::zeros(4, at::kLong);
    const Products products;
    const at::Tensor logits = cohort::testing::encode(model, at::randn({4, 3, 32, 32}), conditions).logits;
    const double forward = Products::flops();
    logits.sum().backward();
    const double both = Products::flops();

    std::vector<std::string> options{"model.name=vit_tiny", "model.depth=3",
                                     "model.patch_size=8",  "model.registers=2",
                                     "model.pooling=mean",  "sampler.images_per_group=4"};
    if (!how.keys.empty())
      options.insert(options.end(), {"context.keys=[site]", "context.amortization=mean_linear_layer"});
    const Rehearsal rehearsal = rehearse(workload_of(options, 32, 10), {}, {}, 4);

    const double tokens = static_cast<double>(16 + 3 + how.keys.size());
    const double attention = 4.0 * 4 * tokens * tokens * 192 * 3, patches = 2.0 * 4 * 16 * 192 * 192;
    EXPECT_NEAR((flops_of(rehearsal, Pass::forward) - attention) / forward, 1, 1e-12);
    // Of real runs the gradient of patches' filters is a convolution that is not seen.
    EXPECT_NEAR((flops_of(rehearsal, Pass::backward) - 2.5 * attention - patches) / (both - forward), 1,
                how.keys.empty() ? 1e-12 : 0.01);
  }
}

TEST(ModelFlops, OfDinoCountTheTeacherOnce) {
  const Workload workload = workload_of(
      {"method=dino", "model.name=vit_tiny", "model.patch_size=16", "dino.hidden=64", "dino.bottleneck=16",
       "dino.prototypes=100", "augment.preset=cell_dino", "augment.multi_crop.global_size=32",
       "augment.multi_crop.local_size=16", "augment.multi_crop.local_crops=1"},
      32, 10);
  const auto embedding = [](double patches) { return 2 * patches * 3 * 256 * 192; };
  const auto of_view = [&](double patches) {  // by hand: 12 blocks of width 192, the last for cls alone
    const double tokens = patches + 1, block = 2 * tokens * 12 * 192 * 192 + 4 * tokens * tokens * 192;
    const double last = 2 * (tokens * 3 + 9) * 192 * 192 + 4 * tokens * 192;
    return embedding(patches) + 11 * block + last;
  };
  const double head = 2 * (192 * 64 + 64 * 64 + 64 * 16 + 16 * 100);
  const double teacher = 2 * (of_view(4) + head), student = teacher + of_view(1) + head;
  const double without_gradient = 2 * embedding(4) + embedding(1);

  EXPECT_NEAR(rehearse(workload, {}, {}, 1).model_flops() / (teacher + 3 * student - without_gradient), 1,
              1e-3);
}

TEST(Rehearsal, CheckpointingComputesBlocksAgainAndKeepsLess) {
  const Workload workload = workload_of({"model.name=vit_tiny", "model.patch_size=16"}, 224, 10);
  const Rehearsal plain = rehearse(workload, {}, {}, 8),
                  again = rehearse(workload, {}, {.checkpointing = true}, 8);

  EXPECT_DOUBLE_EQ(flops_of(again, Pass::forward), flops_of(plain, Pass::forward));
  EXPECT_GT(flops_of(again, Pass::backward),
            flops_of(plain, Pass::backward) + 0.9 * flops_of(plain, Pass::forward));
  EXPECT_LT(again.memory.activations, plain.memory.activations / 5);
  Cluster one;
  one.processor.fp32 = one.processor.memory = 1;
  EXPECT_DOUBLE_EQ(predict(workload, one, {.checkpointing = true}, 8).flops, plain.model_flops());
}

TEST(Rehearsal, HasTheMemoryThatIsStored) {
  // AdamW in fp32; timm's vit_small_patch16_224.
  const Workload workload = workload_of({"model.name=vit_small", "model.patch_size=16"}, 224, 1000);
  constexpr double kBytes = 4 * 22050664.0;
  const RehearsedMemory whole = rehearse(workload, {}, {}, 2).memory,
                        full = rehearse(workload, {4, 4}, {.strategy = shard::Strategy::full}, 2).memory;

  EXPECT_NEAR(whole.parameters / kBytes, 1, 0.002);  // padding
  EXPECT_DOUBLE_EQ(whole.gradients, whole.parameters);
  EXPECT_DOUBLE_EQ(whole.state, 2 * whole.parameters);
  EXPECT_EQ(whole.teacher, 0);
  EXPECT_NEAR(full.parameters / kBytes, 0.25, 0.001);
  EXPECT_DOUBLE_EQ(full.state, 2 * full.gradients);
  EXPECT_DOUBLE_EQ(whole.batch, 4 * 2 * 3 * 224 * 224 + 2 * 8 * 2);  // a group and a label for each image
  EXPECT_GT(whole.peak, 4 * whole.parameters + whole.batch + whole.activations);
}

TEST(Rehearsal, MayBeHeldAgain) {
  const Workload workload = workload_of({"model.name=vit_tiny", "model.patch_size=16"}, 32, 10);
  const auto peak = [&](bool bf16) {
    Workload again = workload;
    if (bf16)
      testing::set_options(again.config, {"precision=bf16", "sharding.gather=bf16", "sharding.reduce=bf16"});
    return rehearse(again, {2, 2}, {.strategy = shard::Strategy::full}, 2).memory.peak;
  };
  const double first = peak(false);

  EXPECT_LT(peak(true), first);
  EXPECT_DOUBLE_EQ(peak(false), first);
}

std::vector<Operator> recorded(const std::function<void()>& body) {
  prepare_meta_device();
  std::vector<Operator> operators;
  const OperatorRecording recording([&](const Operator& op) { operators.push_back(op); });
  body();
  return operators;
}

at::Tensor of(at::IntArrayRef sizes) {
  return at::empty(sizes, at::TensorOptions(at::kMeta));
}

TEST(Operators, HaveFlopsAndBytesByHand) {
  const std::vector<Operator> linear = recorded([] { (void)at::linear(of({20, 8}), of({24, 8}), of(24)); });
  ASSERT_EQ(linear.size(), 1U);
  EXPECT_EQ(linear[0].kind, OperatorKind::product);
  EXPECT_EQ(linear[0].flops, 2 * 20 * 8 * 24);
  EXPECT_EQ(linear[0].bytes, 4 * (20 * 8 + 8 * 24 + 24 + 20 * 24));

  const std::vector<Operator> filters = recorded([] {
    (void)at::conv2d(of({2, 3, 8, 8}), of({5, 3, 3, 3}), {}, 2, 1);
  });
  ASSERT_EQ(filters.size(), 1U);
  EXPECT_EQ(filters[0].flops, 2 * 2 * 5 * 4 * 4 * 27);

  const std::vector<Operator> sum = recorded([] { (void)of({10}).add_(of({10})); });
  ASSERT_EQ(sum.size(), 1U);
  EXPECT_EQ(sum[0].kind, OperatorKind::memory);
  EXPECT_EQ(sum[0].bytes, 4 * 30);

  EXPECT_TRUE(recorded([] { (void)of({4, 6}).view({6, 4}).t().narrow(0, 1, 2); }).empty());
}

TEST(Operators, OfAttentionAreOneThatCausalHalves) {
  const auto attended = [](bool causal) {
    return recorded([causal] {
      (void)at::scaled_dot_product_attention(of({2, 3, 10, 8}), of({2, 3, 12, 8}), of({2, 3, 12, 8}), {}, 0,
                                             causal);
    });
  };
  ASSERT_EQ(attended(false).size(), 1U);
  EXPECT_EQ(attended(false)[0].kind, OperatorKind::attention);
  EXPECT_EQ(attended(false)[0].flops, 2 * 2 * 3 * 10 * 12 * 16);
  EXPECT_EQ(attended(true)[0].flops, 2 * 3 * 10 * 12 * 16);
}

TEST(Operators, UnderBf16ProductsAreNarrow) {
  const std::vector<Operator> narrow = recorded([] {
    const MetaBf16Scope scope(true);
    (void)at::linear(of({20, 8}), of({24, 8}));
  });
  ASSERT_EQ(narrow.size(), 3U);  // both operands are converted
  EXPECT_EQ(narrow[0].bytes, 6 * 20 * 8);
  EXPECT_EQ(narrow[2].bytes, 2 * (20 * 8 + 8 * 24 + 20 * 24));
}

TEST(MetaMemory, CountsWhatIsAlive) {
  prepare_meta_device();
  const std::int64_t before = MetaMemory::live();
  {
    const at::Tensor some = of({100});
    MetaMemory::reset_peak();
    (void)of({50});
    EXPECT_EQ(MetaMemory::live() - before, 400);
    EXPECT_EQ(MetaMemory::peak() - before, 600);
  }
  EXPECT_EQ(MetaMemory::live(), before);
}

}  // namespace
}  // namespace cohort::perf
