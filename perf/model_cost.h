#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cohort/data/view_maker.h"
#include "cohort/nn/dino_head.h"
#include "cohort/nn/vit.h"

namespace cohort::perf {

/// Of a training step. `recompute`: a forward pass again, under activation checkpointing. `average`: the
/// moving average that a teacher is.
enum class Pass { forward, recompute, backward, optimizer, average };
std::string_view pass_name(Pass pass) noexcept;

/// What a kernel's time is bound by: `product`: a matrix product; `attention`: both products and the softmax
/// of attention; `memory`: all that touches each value a few times.
enum class KernelKind { product, attention, memory };
std::string_view kernel_kind_name(KernelKind kind) noexcept;

/// Outside the blocks: embeddings, final norm, heads, loss, update.
inline constexpr int kRoot = -1;

/// One operation of a training step, or several alike. All numbers are those of all `calls` together.
struct Kernel {
  std::string part;  ///< network: "model", or "student" and "teacher"
  std::string name;  ///< "qkv", "norm 1"
  int unit;          ///< block, counted from 0; kRoot
  Pass pass;
  KernelKind kind;
  double flops;  ///< a multiplication and an addition count 2; of products and attention alone
  double bytes;  ///< read and written, each operand once
  double saved;  ///< bytes that stay until the backward pass
  int calls;     ///< kernels that are launched
};

/// A transformer block. Encoders of images are the product; the other options describe language models, whose
/// published figures the predictions are compared with.
struct BlockWork {
  std::int64_t width = 0, heads = 1, hidden = 0;
  std::int64_t key_value_width = 0;  ///< of grouped-query attention (arXiv 2305.13245); 0: as wide as queries
  bool gated = false;                ///< MLP of three matrices (SwiGLU, arXiv 2002.05202)
  bool causal = false;               ///< attention to the tokens before alone: half of the products
  bool drop_path = false, dropout = false, layer_scale = false;
  std::int64_t kept = 0;  ///< tokens of each sequence that go on after attention; 0: all
  int unit = 0;

  /// Values of the block's matrices.
  [[nodiscard]] double matrix_values() const noexcept;
};

/// Number formats and what else decides how kernels are made. Under bf16 (autocast) products and attention
/// work on 2 bytes, residuals and norms on 4.
struct KernelOptions {
  bool bf16 = false;
  bool bf16_weights = false;    ///< matrices are gathered in bf16: autocast has nothing to convert
  bool bf16_gradients = false;  ///< gradients are collected in bf16
  bool fused_attention = true;  ///< no matrix of T x T values in memory
  bool recomputes = false;      ///< activation checkpointing
};

/// Everything that decides the kernels of one backward pass (a micro-batch) on one rank.
struct StepShape {
  nn::VitShape model;
  std::optional<nn::DinoHeadShape> head = {};  ///< method dino: on student and teacher
  std::vector<data::ViewShape> views;  ///< of one image, large ones first, as data::ViewMaker::shapes()
  std::int64_t images = 1;             ///< of a micro-batch, on this rank
  bool cls_alone = false;              ///< the method uses no other token: the last block makes no other
  KernelOptions options = {};
};

/// Tokens of a view [channels, height, width]: cls, registers, context tokens, patches (ChannelViT: of each
/// channel).
std::int64_t tokens_of(const nn::VitShape& shape, const data::ViewShape& view);

/// Forward, recompute and backward pass of one block on `sequences` of `tokens` each. `trained` false:
/// forward alone, nothing saved. Formulas, per token: a product with a matrix of n values takes 2 n FLOP
/// forward, and as many again for each of the gradients of its input and of the matrix; attention 4 T D FLOP
/// forward (q k^T and the product with v), and 10 T D backward, where the fused kernel forms q k^T again:
/// five products (FlashAttention-2, arXiv 2307.08691, section 3.2). Operations that are bound by memory are
/// listed as eager LibTorch runs them, from src/nn/block.cpp: the residual stream and norms in fp32,
/// conversions for autocast.
std::vector<Kernel> block_kernels(const std::string& part, const BlockWork& block, double sequences,
                                  double tokens, bool trained, const KernelOptions& options);

/// Of one micro-batch: forward, recompute and backward pass of all networks, with embeddings, heads and loss.
std::vector<Kernel> pass_kernels(const StepShape& shape);

/// What follows the backward passes of a step on one rank.
struct UpdateShape {
  double trained_values = 0;   ///< parameters of the trained network that this rank updates
  double followed_values = 0;  ///< parameters of a teacher that this rank averages
  int state_values = 2;        ///< values of optimizer state for each parameter: AdamW 2, SGD and LARS 1
  bool clips = true;           ///< gradients are scaled to a largest norm
};
/// Norms of the gradients, clipping, the optimizer's one fused pass over value, gradient and state, and the
/// moving average's three.
std::vector<Kernel> update_kernels(const UpdateShape& shape);

/// FLOP that the model needs for one micro-batch, for the model FLOPs utilization of PaLM (arXiv 2204.02311,
/// appendix B): products and attention forward once, backward twice that, a teacher's forward alone; nothing
/// computed again counts. Embeddings, context networks and heads are included.
double model_flops(const StepShape& shape);

}  // namespace cohort::perf
