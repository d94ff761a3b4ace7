#include "comm/shared_memory.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "comm/exchange.h"
#include "comm/mpi_transport.h"
#include "comm/shared_place.h"
#include "support/temporary_folder.h"

namespace cohort::comm {
namespace {

OperationQueue make_queue() {
  static std::uint64_t made = 0;
  return {duplicate_comm(MPI_COMM_WORLD), "test", combined_id(1, ++made)};
}

/// All ranks of a test run on one node, which may have no room for what they share.
bool no_room() {
  return !lack_of_room("/dev/shm", std::uint64_t{64} << 20).empty();
}

/// A queue with shared memory.
class SharedExchange : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (no_room()) GTEST_SKIP() << "/dev/shm is small";
  }

  int rank_ = rank_in(MPI_COMM_WORLD), size_ = size_of(MPI_COMM_WORLD);
  OperationQueue queue_ = make_queue();
  std::unique_ptr<SharedMemory> memory_ = SharedMemory::open(queue_, rank_, size_);

  /// Sums of these depend on their order.
  [[nodiscard]] at::Tensor values(std::int64_t count) const {
    return (torch::sin(torch::arange(count, at::kDouble) * (rank_ + 1.37)) * 100).to(GetParam());
  }

  /// Within a chunk, over its end by one element, and in more chunks than there are slots.
  [[nodiscard]] std::vector<std::int64_t> counts() const {
    const auto chunk = static_cast<std::int64_t>(memory_->slot_bytes() / c10::elementSize(GetParam()));
    const auto slots = static_cast<std::int64_t>(SharedMemory::slots());
    return {0, 1, 3, 1000, chunk + 1, 2 * chunk + 7, (2 * slots + 1) * chunk + 5};
  }
};
INSTANTIATE_TEST_SUITE_P(Dtypes, SharedExchange,
                         ::testing::Values(at::kFloat, at::kDouble, at::kBFloat16, at::kLong, at::kInt,
                                           at::kByte),
                         [](const auto& tested) { return std::string(c10::toString(tested.param)); });

TEST_P(SharedExchange, AllReducesToTheBitsOfMessages) {
  ASSERT_NE(memory_, nullptr);
  const auto check = [&](std::int64_t count, Reduce op) {
    at::Tensor through_memory = values(count), through_messages = through_memory.clone();
    queue_.run(mpi::all_reduce(through_memory, op, memory_.get()));
    queue_.run({"exchange", 0, mpi::exchanged_all_reduce(through_messages, op)});
    EXPECT_TRUE(through_memory.equal(through_messages)) << count;
  };
  for (const std::int64_t count : counts()) check(count, Reduce::sum);
  for (const Reduce op : {Reduce::max, Reduce::min}) check(1000, op);
}

TEST_P(SharedExchange, ReduceScattersToTheBitsOfMessages) {
  ASSERT_NE(memory_, nullptr);
  for (const std::int64_t count : counts()) {
    const at::Tensor input = values(count).repeat({size_});
    at::Tensor through_memory = torch::zeros({count}, GetParam()), through_messages = through_memory.clone();
    queue_.run(mpi::reduce_scatter(through_memory, input, Reduce::sum, size_, memory_.get()));
    queue_.run(mpi::reduce_scatter(through_messages, input, Reduce::sum, size_, nullptr));
    EXPECT_TRUE(through_memory.equal(through_messages)) << count;
  }
}

TEST_P(SharedExchange, GathersAlsoInPlace) {
  ASSERT_NE(memory_, nullptr);
  for (const std::int64_t count : counts()) {
    at::Tensor through_memory = torch::zeros({count * size_}, GetParam()),
               through_messages = through_memory.clone();
    const at::Tensor input = values(count);
    queue_.run(mpi::all_gather(through_messages, input, nullptr));
    queue_.run(mpi::all_gather(through_memory, input, memory_.get()));
    EXPECT_TRUE(through_memory.equal(through_messages)) << count;
    at::Tensor in_place = torch::zeros({count * size_}, GetParam());
    const at::Tensor mine = in_place.narrow(0, rank_ * count, count).copy_(input);
    queue_.run(mpi::all_gather(in_place, mine, memory_.get()));
    EXPECT_TRUE(in_place.equal(through_messages)) << count;
  }
}

TEST_P(SharedExchange, BroadcastsFromEveryRank) {
  ASSERT_NE(memory_, nullptr);
  for (const std::int64_t count : counts()) {
    for (int root = 0; root < size_; ++root) {
      at::Tensor through_memory = values(count), through_messages = through_memory.clone();
      queue_.run(mpi::broadcast(through_memory, root, memory_.get()));
      queue_.run(mpi::broadcast(through_messages, root, nullptr));
      EXPECT_TRUE(through_memory.equal(through_messages)) << count << " from " << root;
    }
  }
}

// A rank that comes late finds what the others have written so far; nothing of it is overwritten before.
TEST_P(SharedExchange, WaitsForALateRank) {
  ASSERT_NE(memory_, nullptr);
  const std::int64_t count = counts().back();
  for (int late = 0; late < size_; ++late) {
    at::Tensor through_memory = values(count), through_messages = through_memory.clone();
    if (rank_ == late) std::this_thread::sleep_for(std::chrono::milliseconds(30));
    queue_.run(mpi::all_reduce(through_memory, Reduce::sum, memory_.get()));
    queue_.run({"exchange", 0, mpi::exchanged_all_reduce(through_messages, Reduce::sum)});
    EXPECT_TRUE(through_memory.equal(through_messages)) << late;
  }
}

/// While it lives, files of this process cannot grow beyond `bytes`.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;
  ~FileLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(SharedMemory, IsNotThereWithoutRoom) {
  OperationQueue queue = make_queue();
  const int rank = rank_in(MPI_COMM_WORLD), size = size_of(MPI_COMM_WORLD);
  std::optional<FileLimit> limit;
  if (rank == 0) limit.emplace(4096);
  EXPECT_EQ(SharedMemory::open(queue, rank, size), nullptr);
  if (no_room()) return;
  limit.reset();
  EXPECT_NE(SharedMemory::open(queue, rank, size), nullptr);
}

TEST(SharedMemory, TheReasonIsNamedWhereItCannotBe) {
  const cohort::testing::TemporaryFolder folder;
  EXPECT_EQ(lack_of_room(folder.path(), 0), "");
  EXPECT_EQ(lack_of_room(folder.path() / "none", 0), (folder.path() / "none").string() + " is missing");
  const std::string small = lack_of_room(folder.path(), std::uint64_t{1} << 62);
  EXPECT_NE(small.find("ranks of this host need 4096.0 PiB"), std::string::npos) << small;
}

TEST(SharedMemory, LeavesNoFile) {
  OperationQueue queue = make_queue();
  const auto memory = SharedMemory::open(queue, rank_in(MPI_COMM_WORLD), size_of(MPI_COMM_WORLD));
  queue.run(mpi::barrier());
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", ignored))
    EXPECT_FALSE(entry.path().filename().string().starts_with(fmt::format("cohort-{}-", ::getpid())));
}

}  // namespace
}  // namespace cohort::comm
