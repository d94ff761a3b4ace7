#include "model_cost.h"

#include <algorithm>
#include <array>
#include <utility>

namespace cohort::perf {
namespace {

constexpr double kFp32 = 4;

/// Collects kernels of one unit of one network.
class Collector {
 public:
  Collector(std::string part, int unit, const KernelOptions& options, bool trained)
      : part_(std::move(part)),
        unit_(unit),
        options_(options),
        trained_(trained),
        element_(options.bf16 ? 2.0 : kFp32) {}

  [[nodiscard]] double element() const { return element_; }
  [[nodiscard]] bool trained() const { return trained_; }
  std::vector<Kernel> take() { return std::move(kernels_); }

  void forward(std::string name, KernelKind kind, double flops, double bytes, double saved, int calls = 1) {
    add(std::move(name), Pass::forward, kind, flops, bytes, trained_ ? saved : 0.0, calls);
  }
  void backward(std::string name, KernelKind kind, double flops, double bytes, int calls = 1) {
    if (trained_) add(std::move(name), Pass::backward, kind, flops, bytes, 0.0, calls);
  }

  /// rows [n, in] times a matrix [in, out] with a bias. Backward: gradients of the rows (unless they are
  /// data), of the matrix and of the bias, and collecting both.
  void product(const std::string& name, double rows, double in, double out, bool saves_input,
               bool input_has_gradient = true) {
    const double flops = 2 * rows * in * out, bytes = element_ * (rows * in + in * out + rows * out);
    forward(name, KernelKind::product, flops, bytes, saves_input ? element_ * rows * in : 0);
    if (input_has_gradient) backward(name + ": gradient of rows", KernelKind::product, flops, bytes);
    backward(name + ": gradient of matrix", KernelKind::product, flops, bytes);
    backward(name + ": gradient of bias", KernelKind::memory, 0, element_ * rows * out);
    collect_gradient(name, in * out);
  }

  /// A matrix' gradient goes, converted to fp32, into the unit's flat gradient; its bias comes along.
  void collect_gradient(const std::string& name, double values) {
    const bool converts = options_.bf16 && !options_.bf16_weights;
    const double from = options_.bf16_weights ? 2.0 : kFp32, to = options_.bf16_gradients ? 2.0 : kFp32;
    backward(name + ": collect", KernelKind::memory, 0, values * ((converts ? 6 : 0) + from + to),
             converts ? 4 : 2);
  }

  /// Each value of `count` is read and written: `read` and `write` bytes of it.
  void stream(const std::string& name, double count, double read, double write, double saved = 0,
              int calls = 1) {
    forward(name, KernelKind::memory, 0, count * (read + write), count * saved, calls);
  }
  void stream_back(const std::string& name, double count, double bytes, int calls = 1) {
    backward(name, KernelKind::memory, 0, count * bytes, calls);
  }

  /// Layer norm of [rows, width] in fp32 with what autocast converts before and after it.
  void norm(const std::string& name, double rows, double width) {
    const double count = rows * width;
    stream(name, count, kFp32, kFp32, kFp32);
    if (options_.bf16) stream(name + ": to bf16", count, kFp32, 2);
    if (options_.bf16) stream_back(name + ": to fp32", count, 2 + kFp32);
    stream_back(name, count, 3 * kFp32);
    stream_back(name + ": gradient of weights", count, 2 * kFp32, 2);
  }

  /// residual + branch
  void add_residual(const std::string& name, double count) {
    stream(name, count, kFp32 + element_, kFp32);
    if (options_.bf16) stream_back(name + ": to bf16", count, kFp32 + 2);
    stream_back(name + ": sum of gradients", count, 3 * kFp32);
  }

 private:
  void add(std::string name, Pass pass, KernelKind kind, double flops, double bytes, double saved,
           int calls) {
    kernels_.push_back({part_, std::move(name), unit_, pass, kind, flops, bytes, saved, calls});
  }

  std::string part_;
  int unit_;
  KernelOptions options_;
  bool trained_;
  double element_;
  std::vector<Kernel> kernels_;
};

double width_of_keys(const BlockWork& block) {
  return static_cast<double>(block.key_value_width > 0 ? block.key_value_width : block.width);
}

/// `queries` of the tokens of each sequence attend to all of them.
void attention(Collector& to, const BlockWork& block, double sequences, double tokens, double queries,
               bool fused) {
  const auto width = static_cast<double>(block.width), heads = static_cast<double>(block.heads);
  const double rows = sequences * tokens, asking = sequences * queries, element = to.element(),
               seen = block.causal ? 0.5 : 1.0;
  const double qkv = width + 2 * width_of_keys(block);
  // A matrix of scores is written and read by each of the operations that the fused kernel is made of.
  const double scores = fused ? 0 : element * asking * tokens * heads;
  to.forward("attention", KernelKind::attention, seen * 4 * asking * tokens * width,
             element * (rows * qkv + asking * width) + 4 * scores,
             element * rows * qkv + (fused ? kFp32 * asking * heads : scores), fused ? 1 : 4);
  to.backward("attention", KernelKind::attention, seen * (fused ? 10 : 8) * asking * tokens * width,
              2 * element * (rows * qkv + asking * width) + 5 * scores, fused ? 3 : 6);
  to.stream_back("q, k, v: gradients into one", rows * qkv, element * 2, 1);
}

void mlp(Collector& to, const BlockWork& block, double rows) {
  const auto width = static_cast<double>(block.width), hidden = static_cast<double>(block.hidden);
  const double element = to.element(), count = rows * hidden;
  to.product("fc1", rows, width, hidden, true);
  if (block.gated) to.product("gate", rows, width, hidden, false);
  to.stream("activation", count, (block.gated ? 3 : 1) * element, (block.gated ? 2 : 1) * element,
            (block.gated ? 3 : 1) * element, block.gated ? 2 : 1);
  to.stream_back("activation", count, (block.gated ? 8 : 3) * element, block.gated ? 3 : 1);
  if (block.dropout) to.stream("dropout", count, 2 * element, 2 * element, 1, 2);
  to.product("fc2", rows, hidden, width, true);
}

/// What may stand between a branch and its sum with the residual stream.
void finish_branch(Collector& to, const BlockWork& block, double count, const char* number) {
  const double element = to.element();
  const auto scale = [&](const std::string& name, double saved, int calls) {
    to.stream(name + number, count, calls * element, calls * element, saved, calls);
    to.stream_back(name + number, count, 2 * calls * element, calls);
  };
  if (block.layer_scale) scale("layer scale ", element, 1);
  if (block.drop_path) scale("drop path ", 0, 2);
  to.add_residual(std::string("residual ") + number, count);
}

/// One forward pass of the network on all views of one size.
struct ViewGroup {
  double sequences, tokens, patches, patch_values;
};

std::vector<ViewGroup> groups_of(const StepShape& shape, std::size_t first, std::size_t last) {
  std::vector<ViewGroup> groups;
  const auto before = static_cast<double>(nn::tokens_before_patches(shape.model));
  for (std::size_t v = first; v < last; ++v) {
    if (v > first && shape.views[v] == shape.views[v - 1]) {
      groups.back().sequences += static_cast<double>(shape.images);
      continue;
    }
    const auto tokens = static_cast<double>(tokens_of(shape.model, shape.views[v]));
    const auto patch = static_cast<double>(shape.model.patch_size);
    const auto channels =
        static_cast<double>(shape.model.family == nn::Family::channelvit ? 1 : shape.views[v].channels);
    groups.push_back({static_cast<double>(shape.images), tokens, tokens - before, channels * patch * patch});
  }
  return groups;
}

void embed(Collector& to, const StepShape& shape, const ViewGroup& group) {
  const auto width = static_cast<double>(shape.model.embed_dim);
  const double patches = group.sequences * group.patches, rows = group.sequences * group.tokens;
  to.stream("images", patches * group.patch_values, kFp32, to.element());
  to.product("patch embedding", patches, group.patch_values, width, true, /*input_has_gradient=*/false);
  to.stream("tokens and positions", rows * width, 2 * kFp32, 2 * kFp32, 0, 2);
  to.stream_back("tokens and positions", rows * width, 2 * kFp32 + to.element(), 3);
}

void context_networks(Collector& to, const nn::VitShape& model, const ViewGroup& group) {
  const auto keys = static_cast<double>(model.context.keys.size());
  if (keys == 0) return;
  const auto width = static_cast<double>(model.embed_dim);
  const double count = group.sequences * group.patches * width;
  using enum nn::Amortization;
  const nn::Amortization how = model.context.amortization;
  if (how == dictionary || how == dictionary_layer) return;
  to.stream("context: mean of patches", count, kFp32, 0, 0, 12);
  if (how != mean_detach && how != mean_linear_detach && how != mean_detach_layer &&
      how != mean_linear_detach_layer)
    to.stream_back("context: mean of patches", count, 2 * kFp32, 12);
  if (how == mean_linear || how == mean_linear_detach || how == mean_linear_layer ||
      how == mean_linear_detach_layer)
    for (double k = 0; k < keys; ++k) to.product("context network", group.sequences, width, width, true);
}

BlockWork block_of(const nn::VitShape& model, std::int64_t number) {
  BlockWork block{.width = model.embed_dim, .heads = model.heads};
  block.hidden = static_cast<std::int64_t>(static_cast<double>(model.embed_dim) * model.mlp_ratio);
  block.drop_path = model.drop_path > 0 && number > 0;
  block.dropout = model.dropout > 0;
  block.layer_scale = model.layer_scale > 0;
  block.unit = static_cast<int>(number);
  return block;
}

void append(std::vector<Kernel>& to, std::vector<Kernel> more) {
  to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

/// Of kernels that follow each other in the forward pass of one unit: again, before its backward pass; then
/// only `input` bytes are saved.
void recompute(std::vector<Kernel>& unit, double input) {
  std::vector<Kernel> again;
  for (Kernel& kernel : unit) {
    if (kernel.pass != Pass::forward) continue;
    again.push_back(kernel);
    again.back().pass = Pass::recompute;
    again.back().saved = 0;
    kernel.saved = 0;
  }
  if (again.empty()) return;
  unit.front().saved = input;
  append(unit, std::move(again));
}

/// Backbone on one group of views.
std::vector<Kernel> backbone_kernels(const std::string& part, const StepShape& shape, const ViewGroup& group,
                                     bool trained) {
  const nn::VitShape& model = shape.model;
  const auto width = static_cast<double>(model.embed_dim);
  KernelOptions options = shape.options;
  options.recomputes = options.recomputes && trained;
  options.bf16_weights = false;  // the root unit's stay fp32
  Collector root(part, kRoot, options, trained);
  embed(root, shape, group);
  context_networks(root, model, group);
  root.norm("final norm", group.sequences * (shape.cls_alone ? 1 : group.tokens), width);
  options.bf16_weights = shape.options.bf16_weights;
  std::vector<Kernel> kernels = root.take();
  for (std::int64_t l = 0; l < model.depth; ++l) {
    // A teacher drops nothing: its conditions are those of inference.
    BlockWork block = block_of(model, l);
    block.drop_path = block.drop_path && trained;
    block.dropout = block.dropout && trained;
    block.kept = shape.cls_alone && l + 1 == model.depth ? 1 : 0;
    std::vector<Kernel> unit = block_kernels(part, block, group.sequences, group.tokens, trained, options);
    if (nn::is_layerwise(model.context.amortization) && !model.context.keys.empty() && l + 1 < model.depth) {
      Collector context(part, static_cast<int>(l), options, trained);
      context_networks(context, model, group);
      const double count = group.sequences * group.tokens * width;
      context.stream("context: new tokens", count, kFp32, kFp32);
      context.stream_back("context: new tokens", count, 3 * kFp32, 3);
      append(unit, context.take());
      if (options.recomputes) {
        std::erase_if(unit, [](const Kernel& kernel) { return kernel.pass == Pass::recompute; });
        recompute(unit, kFp32 * count);
      }
    }
    append(kernels, std::move(unit));
  }
  return kernels;
}

/// Of the blocks' matrices, once for all forward passes of a micro-batch.
std::vector<Kernel> weight_conversions(const std::string& part, const StepShape& shape, bool trained) {
  std::vector<Kernel> kernels;
  if (!shape.options.bf16 || shape.options.bf16_weights) return kernels;
  for (std::int64_t l = 0; l < shape.model.depth; ++l) {
    Collector to(part, static_cast<int>(l), shape.options, trained);
    const double values = block_of(shape.model, l).matrix_values();
    to.stream("weights to bf16", values, kFp32, 2, shape.options.recomputes ? 0 : 2, 4);
    std::vector<Kernel> unit = to.take();
    if (shape.options.recomputes && trained) recompute(unit, 0);
    append(kernels, std::move(unit));
  }
  return kernels;
}

void dino_head(Collector& to, const nn::DinoHeadShape& head, double rows) {
  const auto hidden = static_cast<double>(head.hidden), bottleneck = static_cast<double>(head.bottleneck),
             prototypes = static_cast<double>(head.prototypes);
  const std::array<double, 4> widths{static_cast<double>(head.width), hidden, hidden, bottleneck};
  for (std::size_t i = 0; i < 3; ++i) {
    to.product("head " + std::to_string(i + 1), rows, widths[i], widths[i + 1], true);
    if (i == 2) break;
    if (head.batch_norm) to.stream("batch norm", rows * hidden, 5 * kFp32, 3 * kFp32, 2 * kFp32, 8);
    if (head.batch_norm) to.stream_back("batch norm", rows * hidden, 10 * kFp32, 12);
    to.stream("head: GELU", rows * hidden, to.element(), to.element(), to.element());
    to.stream_back("head: GELU", rows * hidden, 3 * to.element());
  }
  const double values = prototypes * bottleneck;
  to.stream("prototypes to unit length", values, 2 * kFp32, kFp32, kFp32, 2);
  to.stream_back("prototypes to unit length", values, 7 * kFp32, 6);
  if (to.element() < kFp32) to.stream("prototypes to bf16", values, kFp32, 2, 2);
  to.product("prototypes", rows, bottleneck, prototypes, true);
}

/// src/method/dino_loss.cpp: `rows` [views of all images] x prototypes; a teacher's softmax and its sums, a
/// student's log-softmax and the products with the teacher's probabilities.
void dino_loss(Collector& to, double rows, double prototypes) {
  const double count = rows * prototypes, from = to.element();
  to.stream("logits to fp32", count, from, from < kFp32 ? kFp32 : 0, 0);
  if (!to.trained()) {
    to.stream("centre", count, 4 * kFp32, 2 * kFp32, 0, 8);
    to.stream("probabilities", count, 3 * kFp32, 3 * kFp32, 0, 3);
    to.stream("entropy", count, 2 * kFp32, kFp32, 0, 2);
    return;
  }
  to.stream("log-softmax", count, 2 * kFp32, 2 * kFp32, kFp32, 2);
  to.stream("cross-entropy", count, 2 * kFp32, kFp32, kFp32, 8);
  to.stream_back("cross-entropy", count, 3 * kFp32, 6);
  to.stream_back("log-softmax", count, 5 * kFp32 + from, 3);
}

std::vector<Kernel> network_kernels(const std::string& part, const StepShape& shape, std::size_t views,
                                    bool trained) {
  std::vector<Kernel> kernels = weight_conversions(part, shape, trained);
  double rows = 0;
  for (const ViewGroup& group : groups_of(shape, 0, views)) {
    append(kernels, backbone_kernels(part, shape, group, trained));
    rows += group.sequences;
  }
  KernelOptions options = shape.options;
  options.bf16_weights = false;
  Collector root(part, kRoot, options, trained);
  if (shape.head) {
    dino_head(root, *shape.head, rows);
    dino_loss(root, rows, static_cast<double>(shape.head->prototypes));
  } else {
    root.product("head", rows, static_cast<double>(shape.model.embed_dim),
                 static_cast<double>(shape.model.classes), true);
    root.stream("loss", rows * static_cast<double>(shape.model.classes), 4 * kFp32, 3 * kFp32, kFp32, 12);
    root.stream_back("loss", rows * static_cast<double>(shape.model.classes), 4 * kFp32, 4);
  }
  append(kernels, root.take());
  return kernels;
}

}  // namespace

std::string_view pass_name(Pass pass) noexcept {
  constexpr std::array<std::string_view, 5> kNames{"forward", "recompute", "backward", "optimizer",
                                                   "average"};
  return kNames[static_cast<std::size_t>(pass)];
}

std::string_view kernel_kind_name(KernelKind kind) noexcept {
  constexpr std::array<std::string_view, 3> kNames{"product", "attention", "memory"};
  return kNames[static_cast<std::size_t>(kind)];
}

double BlockWork::matrix_values() const noexcept {
  const auto wide = static_cast<double>(width);
  return wide * (2 * wide + 2 * width_of_keys(*this)) + (gated ? 3 : 2) * wide * static_cast<double>(hidden);
}

std::int64_t tokens_of(const nn::VitShape& shape, const data::ViewShape& view) {
  const std::int64_t places = (view.height / shape.patch_size) * (view.width / shape.patch_size);
  return nn::tokens_before_patches(shape) +
         places * (shape.family == nn::Family::channelvit ? view.channels : 1);
}

std::vector<Kernel> block_kernels(const std::string& part, const BlockWork& block, double sequences,
                                  double tokens, bool trained, const KernelOptions& options) {
  const auto width = static_cast<double>(block.width);
  const double queries = block.kept > 0 ? static_cast<double>(block.kept) : tokens;
  const double rows = sequences * tokens, kept = sequences * queries;
  Collector to(part, block.unit, options, trained);
  to.norm("norm 1", rows, width);
  to.product("qkv", rows, width, width + 2 * width_of_keys(block), true);
  attention(to, block, sequences, tokens, queries, options.fused_attention);
  to.product("proj", kept, width, width, true);
  if (block.dropout) to.stream("dropout", kept * width, 2 * to.element(), 2 * to.element(), 1, 2);
  finish_branch(to, block, kept * width, "1");
  to.norm("norm 2", kept, width);
  mlp(to, block, kept);
  if (block.dropout) to.stream("dropout", kept * width, 2 * to.element(), 2 * to.element(), 1, 2);
  finish_branch(to, block, kept * width, "2");
  std::vector<Kernel> kernels = to.take();
  if (options.recomputes && trained) recompute(kernels, kFp32 * rows * width);
  return kernels;
}

std::vector<Kernel> pass_kernels(const StepShape& shape) {
  if (!shape.head) return network_kernels("model", shape, shape.views.size(), true);
  constexpr std::size_t kTeacherViews = 2;
  std::vector<Kernel> kernels = network_kernels("teacher", shape, kTeacherViews, false);
  append(kernels, network_kernels("student", shape, shape.views.size(), true));
  return kernels;
}

std::vector<Kernel> update_kernels(const UpdateShape& shape) {
  std::vector<Kernel> kernels;
  const auto add = [&](const char* name, Pass pass, KernelKind kind, double bytes, int calls) {
    kernels.push_back({"", name, kRoot, pass, kind, 0, bytes, 0, calls});
  };
  const double trained = shape.trained_values;
  add("norm of gradients", Pass::optimizer, KernelKind::memory, kFp32 * trained, 1);
  if (shape.clips) add("clipping", Pass::optimizer, KernelKind::memory, 2 * kFp32 * trained, 1);
  add("update", Pass::optimizer, KernelKind::memory, kFp32 * trained * (3 + 2 * shape.state_values), 2);
  if (shape.followed_values > 0)
    add("moving average", Pass::average, KernelKind::memory, 7 * kFp32 * shape.followed_values, 3);
  return kernels;
}

double model_flops(const StepShape& shape) {
  double flops = 0;
  for (const Kernel& kernel : pass_kernels(shape)) {
    if (kernel.pass == Pass::forward) flops += kernel.flops * (kernel.part == "teacher" ? 1 : 3);
  }
  return flops;
}

}  // namespace cohort::perf
