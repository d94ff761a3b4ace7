// Counts of FLOPs and bytes, against published tables, the operations that LibTorch runs, and sums by hand.
#include "model_cost.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <string>

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include "cohort/nn/vit.h"

#include "../support/small_model.h"

namespace cohort::perf {
namespace {

nn::VitShape shape_of(const std::string& name, std::int64_t patch, std::int64_t side, std::int64_t classes,
                      const nn::ContextConfig& context = {}) {
  return nn::vit_shape({.name = name, .patch_size = patch}, context,
                       std::vector<std::int64_t>(context.keys.size(), 5), 3, side, side, classes);
}

StepShape step_of(nn::VitShape model, std::int64_t images = 1) {
  const data::ViewShape view{model.channels, model.height, model.width};
  return {.model = std::move(model), .views = {view}, .images = images};
}

double flops_of(const std::vector<Kernel>& kernels, Pass pass) {
  double sum = 0;
  for (const Kernel& kernel : kernels) sum += kernel.pass == pass ? kernel.flops : 0;
  return sum;
}

double bytes_of(const std::vector<Kernel>& kernels, const std::string& name, Pass pass) {
  double sum = 0;
  for (const Kernel& kernel : kernels) sum += kernel.pass == pass && kernel.name == name ? kernel.bytes : 0;
  return sum;
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
  const std::vector<std::pair<const char*, double>> published{
      {"vit_small", 4.6e9}, {"vit_base", 17.6e9}, {"vit_large", 61.6e9}};
  for (const auto& [name, multiply_adds] : published) {
    const StepShape shape = step_of(shape_of(name, 16, 224, 1000));

    const double forward = flops_of(pass_kernels(shape), Pass::forward);

    EXPECT_NEAR(forward / 2 / multiply_adds, 1.0, 0.005) << name;
    EXPECT_DOUBLE_EQ(model_flops(shape), 3 * forward);
  }
}

TEST(ModelFlops, AreThoseOfTheProductsThatLibTorchRuns) {
  const nn::ContextConfig context{.keys = {"site"}, .amortization = nn::Amortization::mean_linear_layer};
  for (const nn::ContextConfig& how : {nn::ContextConfig{}, context}) {
    nn::VitShape model_shape = shape_of("vit_tiny", 8, 32, 10, how);
    model_shape.depth = 3;
    model_shape.registers = 2;
    const StepShape shape = step_of(model_shape, 4);
    nn::VisionTransformer model(model_shape, 1);
    nn::Conditions conditions{.sample = at::arange(4), .training = true};
    if (!how.keys.empty())
      conditions.context = at::zeros({4, 1}, at::kLong), conditions.group = at::zeros(4, at::kLong);
    const at::Tensor images = at::randn({4, 3, 32, 32});

    const Products products;
    at::Tensor logits = cohort::testing::encode(model, images, conditions).logits;
    const double forward = Products::flops();
    logits.sum().backward();
    const double both = Products::flops();

    // Fused attention on the CPU shows no product of its own; the convolution's backward pass neither.
    double attention = 0, convolution = 0;
    const std::vector<Kernel> kernels = pass_kernels(shape);
    for (const Kernel& kernel : kernels) {
      if (kernel.pass == Pass::forward && kernel.kind == KernelKind::attention) attention += kernel.flops;
      if (kernel.pass == Pass::backward && kernel.kind == KernelKind::attention) attention += kernel.flops;
      if (kernel.pass == Pass::backward && kernel.name.starts_with("patch embedding"))
        convolution += kernel.flops;
    }
    const double forward_attention = 4.0 * 4 * tokens_of(model_shape, shape.views[0]) *
                                     static_cast<double>(tokens_of(model_shape, shape.views[0])) * 192 * 3;
    EXPECT_DOUBLE_EQ(flops_of(kernels, Pass::forward) - forward_attention, forward);
    EXPECT_DOUBLE_EQ(attention, 3.5 * forward_attention);
    EXPECT_NEAR(
        (flops_of(kernels, Pass::forward) + flops_of(kernels, Pass::backward) - attention - convolution) /
            both,
        1.0, how.keys.empty() ? 1e-12 : 0.01);
  }
}

TEST(ModelFlops, OfABlockThatKeepsTheClsTokenAreThoseOfItsProducts) {
  nn::VitShape model_shape = shape_of("vit_tiny", 8, 32, 10);
  model_shape.depth = 2;
  StepShape shape = step_of(model_shape, 4);
  shape.cls_alone = true;
  nn::VisionTransformer model(model_shape, 1);
  const nn::Conditions conditions{.sample = at::arange(4), .training = true};

  const Products products;
  (void)cohort::testing::encode(model, at::randn({4, 3, 32, 32}), conditions,
                                nn::Encoder::pooled | nn::Encoder::logits);

  constexpr double kTokens = 17, kAttention = 4.0 * 4 * 192 * kTokens * (kTokens + 1);
  EXPECT_DOUBLE_EQ(flops_of(pass_kernels(shape), Pass::forward) - kAttention, Products::flops());
}

TEST(ModelFlops, OfDinoCountTheTeacherOnce) {
  StepShape shape = step_of(shape_of("vit_tiny", 16, 32, 0));
  shape.views = {{3, 32, 32}, {3, 32, 32}, {3, 16, 16}};
  shape.head = nn::DinoHeadShape{.width = 192, .hidden = 64, .bottleneck = 16, .prototypes = 100};
  const auto of_view = [](double patches) {  // by hand: 12 blocks of width 192, cls and `patches` patches
    const double tokens = patches + 1;
    return 2 * patches * 3 * 256 * 192 + 12 * (2 * tokens * 12 * 192 * 192 + 4 * tokens * tokens * 192);
  };
  const double head = 2 * (192 * 64 + 64 * 64 + 64 * 16 + 16 * 100);

  const double teacher = 2 * (of_view(4) + head), student = teacher + of_view(1) + head;

  EXPECT_DOUBLE_EQ(model_flops(shape), teacher + 3 * student);
}

TEST(ModelCost, OfChannelVitHasTokensForEachChannel) {
  nn::VitShape shape = shape_of("vit_tiny", 16, 32, 10);
  shape.family = nn::Family::channelvit;
  shape.channels = 5;

  EXPECT_EQ(tokens_of(shape, {5, 32, 32}), 1 + 5 * 4);
}

TEST(ModelCost, BytesAndSavedValuesOfABlockByHand) {
  // 2 sequences of 10 tokens, width 8, hidden 32, fp32: 20 rows.
  const BlockWork block{.width = 8, .heads = 2, .hidden = 32};
  const std::vector<Kernel> kernels = block_kernels("model", block, 2, 10, true, {});
  double saved = 0;
  for (const Kernel& kernel : kernels) saved += kernel.saved;

  EXPECT_DOUBLE_EQ(bytes_of(kernels, "qkv", Pass::forward), 4.0 * (20 * 8 + 8 * 24 + 20 * 24));
  EXPECT_DOUBLE_EQ(bytes_of(kernels, "norm 1", Pass::forward), 4.0 * 20 * 8 * 2);
  // Two inputs and two outputs of norms, q k v, the attention's output, input and output of the GELU, and one
  // number for each row and head.
  EXPECT_DOUBLE_EQ(saved, 4.0 * 20 * (8 * (2 + 2 + 3 + 1 + 4 + 4) + 2));
  EXPECT_DOUBLE_EQ(block.matrix_values(), 12 * 64);
}

TEST(ModelCost, Bf16HalvesProductsAndKeepsNormsWide) {
  const BlockWork block{.width = 8, .heads = 2, .hidden = 32};
  const std::vector<Kernel> kernels = block_kernels("model", block, 2, 10, true, {.bf16 = true});

  EXPECT_DOUBLE_EQ(bytes_of(kernels, "qkv", Pass::forward), 2.0 * (20 * 8 + 8 * 24 + 20 * 24));
  EXPECT_DOUBLE_EQ(bytes_of(kernels, "norm 1", Pass::forward), 4.0 * 20 * 8 * 2);
  EXPECT_DOUBLE_EQ(bytes_of(kernels, "norm 1: to bf16", Pass::forward), 6.0 * 20 * 8);
}

TEST(ModelCost, CheckpointingComputesBlocksTwiceAndSavesTheirInputs) {
  StepShape shape = step_of(shape_of("vit_tiny", 16, 32, 10), 2);
  const std::vector<Kernel> plain = pass_kernels(shape);
  shape.options.recomputes = true;
  const std::vector<Kernel> again = pass_kernels(shape);
  const auto of_blocks = [](const std::vector<Kernel>& kernels, Pass pass, auto member) {
    double sum = 0;
    for (const Kernel& kernel : kernels) {
      if (kernel.unit != kRoot && kernel.pass == pass) sum += kernel.*member;
    }
    return sum;
  };

  EXPECT_DOUBLE_EQ(of_blocks(plain, Pass::recompute, &Kernel::flops), 0);
  EXPECT_DOUBLE_EQ(of_blocks(again, Pass::recompute, &Kernel::flops),
                   of_blocks(plain, Pass::forward, &Kernel::flops));
  EXPECT_DOUBLE_EQ(of_blocks(again, Pass::recompute, &Kernel::bytes),
                   of_blocks(plain, Pass::forward, &Kernel::bytes));
  EXPECT_DOUBLE_EQ(of_blocks(again, Pass::forward, &Kernel::saved), 12 * 4.0 * 2 * 5 * 192);
  EXPECT_DOUBLE_EQ(of_blocks(again, Pass::recompute, &Kernel::saved), 0);
  EXPECT_DOUBLE_EQ(model_flops(shape), model_flops(step_of(shape_of("vit_tiny", 16, 32, 10), 2)));
}

TEST(ModelCost, OfAnUpdateByHand) {
  const std::vector<Kernel> kernels = update_kernels({.trained_values = 10, .followed_values = 4});
  const double bytes = std::accumulate(kernels.begin(), kernels.end(), 0.0,
                                       [](double sum, const Kernel& kernel) { return sum + kernel.bytes; });

  // fp32: norm 1, clipping 2, AdamW reads 4 and writes 3; the average: scale 2, scale a copy 2, add 3.
  EXPECT_DOUBLE_EQ(bytes, 4.0 * 10 * (1 + 2 + 7) + 4.0 * 4 * 7);
}

}  // namespace
}  // namespace cohort::perf
