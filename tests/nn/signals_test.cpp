#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>
#include <unistd.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/nn/vit.h"

#include "../support/small_model.h"
#include "comm/signal_thread.h"

namespace cohort {
namespace {

std::atomic<int> handled{0};

extern "C" void count_signal(int /*number*/) {
  ++handled;
}

/// SIGUSR1 for this process, every half millisecond, while it lives.
class Pest {
 public:
  Pest() {
    struct sigaction action {};
    action.sa_handler = count_signal;
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGUSR1, &action, &before_);
    thread_ = std::jthread([](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        ::kill(::getpid(), SIGUSR1);
        std::this_thread::sleep_for(std::chrono::microseconds(500));
      }
    });
  }
  ~Pest() {
    thread_ = {};
    ::sigaction(SIGUSR1, &before_, nullptr);
  }
  Pest(const Pest&) = delete;
  Pest& operator=(const Pest&) = delete;

 private:
  struct sigaction before_ {};
  std::jthread thread_;
};

// On the thread that computes they would end it: "corrupted size vs. prev_size", mostly within a second.
TEST(Signals, DoNotReachThreadsThatCompute) {
  comm::handle_signals_aside();
  nn::VitShape shape = testing::small_shape();
  shape.height = shape.width = 64;
  shape.patch_size = 8;
  shape.embed_dim = 96;
  shape.mlp_ratio = 4.0;
  const auto model = testing::small_model(shape, 1.0);
  const at::Tensor images = testing::normal_values({16, 1, 64, 64}).repeat({8, 1, 1, 1});
  const Pest pest;
  for (int step = 0; step < 3; ++step) testing::encode(*model, images, {}).pooled.square().sum().backward();
  EXPECT_GT(handled, 0);
}

}  // namespace
}  // namespace cohort
