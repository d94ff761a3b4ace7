#include <algorithm>
#include <ctime>
#include <functional>
#include <memory>
#include <thread>
#include <unistd.h>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/autograd.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "commands.h"
#include "nn/attention.h"
#include "nn/gelu.h"
#include "nn/layer_norm.h"
#include "nn/linear.h"
#include "plan/hardware.h"
#include "timing.h"

namespace cohort::perf {
namespace {

struct CalibrateOptions {
  std::string file;      ///< to write; empty: the terminal
  double seconds = 1.0;  ///< for each measurement
};

// A block of ViT-S/8 on 16 images of 96 x 96.
constexpr std::int64_t kImages = 16, kTokens = 145, kBlockWidth = 384, kHeads = 6, kHidden = 4 * kBlockWidth;
constexpr double kBlockRows = kImages * kTokens;
constexpr std::int64_t kSmall = 1 << 12, kLarge = 1 << 21;  // values of fp32

class Calibration {
 public:
  Calibration(double seconds, comm::Communicator& ranks) : seconds_(seconds), ranks_(ranks) {}

  Processor run() {
    Processor processor;
    processor.name = "this";
    processor.cores = static_cast<int>(std::thread::hardware_concurrency());
    processor.memory_bytes =
        static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
    processor.fp32 = products(at::kFloat);
    processor.bf16 = products(at::kBFloat16);
    processor.attention_part = attention() / processor.fp32;
    processor.memory = streams();
    processor.shortest = smallest_operation();
    if (ranks_.size() > 1) collectives(processor);
    return processor;
  }

 private:
  /// Seconds of work of one thread, by the processor's time: other programs count less. All ranks work at the
  /// same time, as they do in training.
  double median(const std::function<void()>& work) {
    constexpr std::size_t kLeast = 5;
    const auto clock = [] {
      timespec time{};
      ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
      return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
    };
    work();
    ranks_.barrier();
    std::vector<double> samples;
    for (double sum = 0; sum < seconds_ || samples.size() < kLeast; sum += samples.back()) {
      const double begin = clock();
      work();
      samples.push_back(clock() - begin);
    }
    std::nth_element(samples.begin(), samples.begin() + std::ssize(samples) / 2, samples.end());
    return ranks_.max(samples[samples.size() / 2]);
  }

  /// Of the slowest rank, the fastest time: what other programs slow, they slow less often than always.
  double fastest(const std::function<void()>& work) {
    return std::ranges::min(measure(
                                ranks_, seconds_, [] {}, work)
                                .samples);
  }

  /// FLOP/s of the two linear layers of an MLP, forward and backward.
  double products(at::ScalarType type) {
    torch::nn::Linear first(kBlockWidth, kHidden), second(kHidden, kBlockWidth);
    first->to(type);
    second->to(type);
    const at::Tensor input = at::randn({kImages, kTokens, kBlockWidth}).to(type).requires_grad_();
    const double time = median([&] { nn::linear(*second, nn::linear(*first, input)).sum().backward(); });
    return 2 * 6 * kBlockRows * kBlockWidth * kHidden / time;
  }

  /// FLOP/s of attention in fp32, forward and backward as perf/plan/operators.h counts them.
  double attention() {
    const at::Tensor qkv = at::randn({kImages, kTokens, 3 * kBlockWidth}).requires_grad_();
    const double time = median([&] { nn::attention(qkv, kHeads, kTokens).sum().backward(); });
    return 14 * kBlockRows * kTokens * kBlockWidth / time;
  }

  /// Bytes/s of a norm, a GELU and a sum, forward and backward, as perf/plan/operators.h counts them:
  /// operators of their own, of which the network's kernels do the first and the last in one pass.
  double streams() {
    const at::Tensor narrow = at::randn({kImages, kTokens, kBlockWidth}).requires_grad_(),
                     branch = at::randn({kImages, kTokens, kBlockWidth}).requires_grad_(),
                     wide = at::randn({kImages, kTokens, kHidden}).requires_grad_();
    torch::nn::LayerNorm norm(torch::nn::LayerNormOptions({kBlockWidth}));
    const at::Tensor narrow_gradient = at::ones({kImages, kTokens, kBlockWidth}),
                     wide_gradient = at::ones({kImages, kTokens, kHidden});
    const double time = median([&] {
      const nn::NormalisedSum in = nn::add_and_normalise(narrow, branch, *norm);
      torch::autograd::backward({in.sum, in.normalised}, {narrow_gradient, narrow_gradient});
      nn::exact_gelu(wide).backward(wide_gradient);
    });
    const double of_norm = 2 + 3, of_sum = 3 + 3, of_gelu = 2 + 3;
    return 4 * kBlockRows * (kBlockWidth * (of_norm + of_sum) + kHidden * of_gelu) / time;
  }

  double smallest_operation() {
    constexpr int kSmallCalls = 1000;
    const at::Tensor one = at::ones({1});
    return median([&] {
             for (int i = 0; i < kSmallCalls; ++i) (void)one.add(one);
           }) /
           kSmallCalls;
  }

  /// Latency and bandwidth from two sizes.
  void collectives(Processor& processor) {
    const int ranks = ranks_.size();
    const double part = static_cast<double>(ranks - 1) / ranks;
    const auto add = [&](const char* name, double factor, auto&& call) {
      const auto time = [&](std::int64_t values) {
        const at::Tensor whole = at::ones({values * ranks}), piece = at::ones({values});
        return fastest([&] { call(whole, piece).wait(); });
      };
      const double small = time(kSmall), large = time(kLarge);
      const double bytes = 4.0 * static_cast<double>((kLarge - kSmall) * ranks) * factor * part;
      const double bandwidth = bytes / std::max(large - small, 1e-9);
      const double transfer = 4.0 * static_cast<double>(kSmall * ranks) * factor * part / bandwidth;
      processor.collectives[name] = {std::max(small - transfer, 0.0), bandwidth};
    };
    add("all_gather", 1,
        [&](const at::Tensor& whole, const at::Tensor& piece) { return ranks_.all_gather(whole, piece); });
    add("reduce_scatter", 1, [&](const at::Tensor& whole, const at::Tensor& piece) {
      return ranks_.reduce_scatter(piece, whole);
    });
    add("all_reduce", 2,
        [&](const at::Tensor& whole, const at::Tensor&) { return ranks_.all_reduce(whole); });
  }

  double seconds_;
  comm::Communicator& ranks_;
};

/// Collective. Measures what cohort-perf plan has to know of this machine, and writes it as a file of
/// hardware. With one rank nothing is told of collectives.
ExitCode calibrate(const CalibrateOptions& options, comm::Communicator& ranks) {
  const Processor processor = Calibration(options.seconds, ranks).run();
  const std::string text = fmt::format(
      "# Measured by cohort-perf calibrate on {} ranks: for cohort-perf plan --hardware FILE --gpu this\n{}",
      ranks.size(), hardware_file(processor));
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    if (options.file.empty()) {
      fmt::print("{}", text);
    } else {
      write_file_atomically(options.file, text);
    }
  });
  return ExitCode::done;
}

}  // namespace

void add_calibrate(CLI::App& app, Job& job) {
  const auto options = std::make_shared<CalibrateOptions>();
  CLI::App* command = &add_command(app, {"calibrate",
                                         "Measure this machine's CPUs for cohort-perf plan --hardware",
                                         {"mpirun -n 2 cohort-perf calibrate --out here.yaml"},
                                         endings_on_ranks()});
  command->add_option("--out", options->file, "file to write; else the terminal");
  command->add_option("--seconds", options->seconds, "time for each measurement")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([options, &job] {
    job.with_ranks = [options](comm::Communicator& ranks) { return calibrate(*options, ranks); };
  });
}

}  // namespace cohort::perf
