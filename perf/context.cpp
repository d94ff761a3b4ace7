// cohort-perf context: what the context tokens of a batch cost.
#include "cohort/nn/context.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "cohort/core/trace.h"

#include "commands.h"
#include "table.h"
#include "timing.h"

namespace cohort::perf {
namespace {

struct ContextOptions {
  std::int64_t images = 16, patches = 144, width = 384;  ///< of each rank
  std::int64_t keys = 1, values = 32;  ///< context keys, and values of each in the vocabulary
  double seconds = 1.0;                ///< for each way
  Output output;
};

/// [B, N, D] of every rank, one after the other; backward each rank gets its part of the summed gradient.
/// What a contextual model would do that knows no better.
struct GatherAll : torch::autograd::Function<GatherAll> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& patches,
                            std::int64_t ranks) {
    auto& group = *reinterpret_cast<comm::Communicator*>(ranks);
    context->saved_data["ranks"] = ranks;
    std::vector<std::int64_t> sizes = patches.sizes().vec();
    sizes[0] *= group.size();
    at::Tensor all = at::empty(sizes, patches.options());
    group.all_gather(all.view({-1}), patches.contiguous().view({-1})).wait();
    return all;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    auto& group = *reinterpret_cast<comm::Communicator*>(context->saved_data["ranks"].toInt());
    std::vector<std::int64_t> sizes = gradients[0].sizes().vec();
    sizes[0] /= group.size();
    at::Tensor mine = at::empty(sizes, gradients[0].options());
    group.reduce_scatter(mine.view({-1}), gradients[0].contiguous().view({-1})).wait();
    return {mine, at::Tensor()};
  }
};

/// What was sent while something ran, as the communicators record it (core/trace.h).
struct Sent {
  std::int64_t collectives = 0, bytes = 0;
};

template <class Body>
Sent count_sent(Body&& body) {
  start_trace();
  body();
  Sent sent;
  for (const TraceRecord& record : stop_trace()) {
    if (record.kind != TraceKind::communication || record.bytes == 0) continue;
    ++sent.collectives;
    sent.bytes += record.bytes;
  }
  return sent;
}

/// Patch tokens of this rank, and the ways to the context tokens of its images.
class Exchange {
 public:
  Exchange(const ContextOptions& options, comm::Communicator& ranks)
      : ranks_(ranks),
        inference_(nn::ContextConfig{.keys = keys_of(options), .amortization = nn::Amortization::mean_linear},
                   std::vector(static_cast<std::size_t>(options.keys), options.values), options.width) {
    at::manual_seed(1);
    for (const at::Tensor& parameter : inference_.parameters()) {
      const at::NoGradGuard no_gradients;
      parameter.normal_(0, 0.02);
    }
    at::manual_seed(static_cast<std::uint64_t>(2 + ranks.rank()));
    patches_ = at::randn({options.images, options.patches, options.width}).requires_grad_();
    const at::Tensor context =
        at::randint(options.values, {options.images, options.keys}, at::TensorOptions(at::kLong));
    conditions_ = {.context = context, .group = at::zeros({options.images}, at::kLong), .ranks = &ranks};
  }

  // All give [B, K, D], with gradients of the patches.
  at::Tensor group_scope() { return tokens(patches_, nn::Scope::group, conditions_); }
  at::Tensor global_scope() { return tokens(patches_, nn::Scope::global, conditions_); }
  at::Tensor gathered() {
    nn::Conditions all = conditions_;
    all.ranks = nullptr;
    all.context = ranks_.gather_rows(conditions_.context);
    const at::Tensor whole = GatherAll::apply(patches_, reinterpret_cast<std::int64_t>(&ranks_));
    const std::int64_t mine = patches_.size(0);
    return tokens(whole, nn::Scope::global, all).narrow(0, ranks_.rank() * mine, mine);
  }
  void backward(const at::Tensor& tokens) {
    patches_.mutable_grad() = at::Tensor();
    tokens.square().sum().backward();
  }
  [[nodiscard]] at::Tensor gradient() const { return patches_.grad().clone(); }

 private:
  static std::vector<std::string> keys_of(const ContextOptions& options) {
    std::vector<std::string> keys;
    for (std::int64_t i = 0; i < options.keys; ++i) keys.push_back("key" + std::to_string(i));
    return keys;
  }
  at::Tensor tokens(const at::Tensor& patches, nn::Scope scope, nn::Conditions conditions) {
    conditions.scope = scope;
    return inference_.forward(patches, conditions);
  }

  comm::Communicator& ranks_;
  nn::ContextInference inference_;
  at::Tensor patches_;
  nn::Conditions conditions_;
};

struct Way {
  std::string name;
  std::function<at::Tensor()> tokens;
  double expected;  ///< bytes that a rank calls collectives with, forward and backward
};

Table& make_table(Results& results, const ContextOptions& options) {
  return results.table(
      "",
      {fmt::format("context tokens of {} images of {} patches on each rank, width {}, {} keys of {} values, "
                   "mean_linear, forward and backward:",
                   options.images, options.patches, options.width, options.keys, options.values),
       "group scope; global scope: one all-reduce of sums and counts [values of all keys, D+1] each way; "
       "gather: all patches [B,N,D]",
       "to every rank, and their gradients back. collectives and bytes: counted by the recorder of the "
       "communicators, on this rank"},
      {{"way", "", 14, 0, Role::key},
       {"collectives", "", 11},
       {"sent", "B", 14},
       {"expected", "B", 14},
       {"of gather", "%", 10, 4},
       {"time p50", "ms", 10, 3, Role::lower},
       {"p99", "ms", 10, 3},
       {"#wrong", "", 6}},
      {{"bytes in collectives", "", {"sent"}}, {"time", "", {"time p50"}}});
}

/// Values that differ by more than rounding.
std::int64_t differing(const at::Tensor& a, const at::Tensor& b) {
  return at::isclose(a, b, 1e-3, 1e-5).logical_not().sum().item<std::int64_t>();
}

/// Collective. Bytes and time of context inference in group and global scope against gathering all patches.
/// ExitCode::bug when the ways differ, or another number of bytes was sent than the formula says.
ExitCode context(const ContextOptions& options, comm::Communicator& ranks) {
  Exchange exchange(options, ranks);
  const auto images = static_cast<double>(options.images), size = static_cast<double>(ranks.size());
  const bool alone = ranks.size() == 1;
  const double patches = 4.0 * images * static_cast<double>(options.patches * options.width),
               table_bytes = 4.0 * static_cast<double>(options.keys * options.values * (options.width + 1));
  const std::vector<Way> ways{
      {"group scope", [&] { return exchange.group_scope(); }, 0},
      {"global scope", [&] { return exchange.global_scope(); }, alone ? 0 : 2 * table_bytes},
      {"gather", [&] { return exchange.gathered(); }, alone ? 0 : patches + size * patches}};
  std::vector<Sent> sent;
  std::vector<at::Tensor> tokens, gradients;
  std::vector<std::function<void()>> runs;
  for (const Way& way : ways) {
    const auto run = [&] { exchange.backward(way.tokens()); };
    sent.push_back(count_sent([&] {
      tokens.push_back(way.tokens());
      exchange.backward(tokens.back());
    }));
    gradients.push_back(exchange.gradient());
    runs.emplace_back(run);
  }
  const std::int64_t wrong =
      ranks.sum(differing(tokens[1], tokens[2]) + differing(gradients[1], gradients[2]));
  const std::vector<Times> times = measure_in_turns(
      ranks, options.seconds, [] {}, runs);
  Results results("context", options.output, ranks);
  Table& table = make_table(results, options);
  std::int64_t miscounted = 0;
  for (std::size_t i = 0; i < ways.size(); ++i) {
    std::vector<double> milliseconds = times[i].samples;
    for (double& value : milliseconds) value *= 1e3;
    const auto expected = static_cast<std::int64_t>(ways[i].expected);
    if (i < 2 && sent[i].bytes != expected) ++miscounted;
    Cell share;
    if (sent[2].bytes > 0)
      share = 100.0 * static_cast<double>(sent[i].bytes) / static_cast<double>(sent[2].bytes);
    table.add({ways[i].name, sent[i].collectives, sent[i].bytes, expected, share, times[i].median * 1e3,
               times[i].p99 * 1e3, i == 0 ? 0 : wrong},
              milliseconds);
  }
  results.finish();
  return wrong == 0 && miscounted == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace

void add_context(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ContextOptions>();
  CLI::App* command =
      &add_command(app, {"context",
                         "Bytes and time of the context exchange against gathering all patches",
                         {"mpirun -n 4 cohort-perf context --width 384"},
                         endings_on_ranks()});
  const auto add = [&](const char* name, std::int64_t& value, const char* text) {
    command->add_option(name, value, text)->check(CLI::PositiveNumber)->capture_default_str();
  };
  add("--images", options->images, "on each rank");
  add("--patches", options->patches, "of an image");
  add("--width", options->width, "of a patch token");
  add("--keys", options->keys, "context keys");
  add("--values", options->values, "of each key in the vocabulary");
  command->add_option("--seconds", options->seconds, "time for each way")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_output(command, options->output);
  command->callback([options, &job] {
    job.with_ranks = [options](comm::Communicator& ranks) { return context(*options, ranks); };
  });
}

}  // namespace cohort::perf
