// Ctrl-C ends a process at once, whatever its other threads are doing.
#include "comm/interrupt.h"

#include <array>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::comm {
namespace {

struct Ended {
  int signal = 0;  ///< 0: it left by itself
  std::string output;
};

/// Runs `body` in a process of its own, with its stderr.
Ended in_process(const std::function<void()>& body) {
  std::array<int, 2> pipe{};
  EXPECT_EQ(::pipe(pipe.data()), 0);
  const pid_t process = ::fork();
  if (process == 0) {
    ::signal(SIGINT, SIG_DFL);
    ::dup2(pipe[1], STDERR_FILENO);
    ::close(pipe[0]);
    body();
    ::_exit(0);
  }
  ::close(pipe[1]);
  Ended ended;
  std::array<char, 256> part{};
  for (ssize_t n = 0; (n = ::read(pipe[0], part.data(), part.size())) > 0;)
    ended.output.append(part.data(), static_cast<std::size_t>(n));
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(process, &status, 0);
  ended.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return ended;
}

void allocate_for_ever(unsigned seed) {
  std::array<void*, 64> held{};
  for (;;) {
    void*& place = held.at(static_cast<std::size_t>(::rand_r(&seed)) % held.size());
    std::free(place);
    place = std::malloc(16 + static_cast<std::size_t>(::rand_r(&seed)) % 100'000);
  }
}

TEST(Interrupt, SaysOneLineAndEnds) {
  const Ended ended = in_process([] {
    end_by_interrupt("cohort eval");
    std::raise(SIGINT);
  });
  EXPECT_EQ(ended.signal, SIGINT);
  EXPECT_EQ(ended.output, "cohort eval: ended by Ctrl-C\n");
}

TEST(Interrupt, OtherRanksSayNothing) {
  const Ended ended = in_process([] {
    end_by_interrupt("cohort eval");
    end_silently_by_interrupt();
    std::raise(SIGINT);
  });
  EXPECT_EQ(ended.signal, SIGINT);
  EXPECT_EQ(ended.output, "");
}

TEST(Interrupt, OfAProcessThatIgnoresItDoesNothing) {
  const Ended ended = in_process([] {
    ::signal(SIGINT, SIG_IGN);
    end_by_interrupt("cohort eval");
    std::raise(SIGINT);
  });
  EXPECT_EQ(ended.signal, 0);
  EXPECT_EQ(ended.output, "");
}

// Nothing is taken apart under threads that use it: never SIGABRT or SIGSEGV.
TEST(Interrupt, ThreadsAtWorkDoNotMatter) {
  for (unsigned round = 0; round < 10; ++round) {
    const Ended ended = in_process([&] {
      end_by_interrupt("cohort eval");
      for (unsigned i = 0; i < 3; ++i) std::thread(allocate_for_ever, round * 3 + i + 1).detach();
      ::usleep(1000 * (round % 4));
      ::kill(::getpid(), SIGINT);
      for (;;) ::pause();
    });
    ASSERT_EQ(ended.signal, SIGINT) << ended.output;
    ASSERT_EQ(ended.output, "cohort eval: ended by Ctrl-C\n");
  }
}

}  // namespace
}  // namespace cohort::comm
