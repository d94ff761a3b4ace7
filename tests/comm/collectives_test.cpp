#include <gtest/gtest.h>
#include <torch/types.h>

#include "cohort/comm/communicator.h"

#include "support/ranks.h"

namespace cohort::comm {
namespace {

// What rank r holds: whole numbers, exact in floating point in every order of summation; sums of u8 wrap.
at::Tensor values_of(int rank, std::int64_t count, at::ScalarType dtype) {
  return (torch::arange(count, at::kLong).remainder(97) * (rank + 1) + rank).to(dtype);
}

at::Tensor all_versions(int size, std::int64_t count, at::ScalarType dtype) {  // [size, count]
  std::vector<at::Tensor> versions;
  for (int rank = 0; rank < size; ++rank) versions.push_back(values_of(rank, count, dtype));
  return torch::stack(versions);
}

at::Tensor expected(int size, std::int64_t count, at::ScalarType dtype, Reduce op) {
  const at::Tensor versions = all_versions(size, count, dtype);
  if (op == Reduce::max) return versions.amax(0);
  if (op == Reduce::min) return versions.amin(0);
  return versions.sum(0, false, dtype);
}

constexpr std::int64_t kSeveralSegments =
    2'200'003;  // elements: two segments of 16 MiB in f64, cut into pieces unevenly

class Collectives : public testing::TestWithParam<at::ScalarType> {
 protected:
  Communicator ranks_ = test::world();
  at::ScalarType dtype_ = GetParam();
};
INSTANTIATE_TEST_SUITE_P(Dtypes, Collectives,
                         testing::Values(at::kFloat, at::kDouble, at::kLong, at::kInt, at::kByte),
                         [](const auto& tested) { return std::string(c10::toString(tested.param)); });

TEST_P(Collectives, AllReduce) {
  for (const Reduce op : {Reduce::sum, Reduce::max, Reduce::min}) {
    for (const std::int64_t count : {0, 1, 3, 1000, 100'003}) {
      at::Tensor values = values_of(ranks_.rank(), count, dtype_);
      ranks_.all_reduce(values, op).wait();
      EXPECT_TRUE(values.equal(expected(ranks_.size(), count, dtype_, op))) << count;
    }
  }
}

TEST_P(Collectives, AllGather) {
  at::Tensor gathered = torch::zeros({ranks_.size() * 1001}, dtype_);
  ranks_.all_gather(gathered, values_of(ranks_.rank(), 1001, dtype_)).wait();
  EXPECT_TRUE(gathered.view({ranks_.size(), 1001}).equal(all_versions(ranks_.size(), 1001, dtype_)));
}

TEST_P(Collectives, ReduceScatter) {
  for (const Reduce op : {Reduce::sum, Reduce::max, Reduce::min}) {
    const std::int64_t count = 517;
    at::Tensor mine = torch::zeros({count}, dtype_);
    ranks_.reduce_scatter(mine, values_of(ranks_.rank(), count * ranks_.size(), dtype_), op).wait();
    const at::Tensor whole = expected(ranks_.size(), count * ranks_.size(), dtype_, op);
    EXPECT_TRUE(mine.equal(whole.narrow(0, ranks_.rank() * count, count)));
  }
}

TEST_P(Collectives, BroadcastFromEveryRank) {
  for (int root = 0; root < ranks_.size(); ++root) {
    at::Tensor values = values_of(ranks_.rank(), 333, dtype_);
    ranks_.broadcast(values, root).wait();
    EXPECT_TRUE(values.equal(values_of(root, 333, dtype_)));
  }
}

TEST(LargeCollectives, AllReduceOfSeveralSegments) {
  Communicator ranks = test::world();
  at::Tensor values = values_of(ranks.rank(), kSeveralSegments, at::kDouble);
  ranks.all_reduce(values).wait();
  EXPECT_TRUE(values.equal(expected(ranks.size(), kSeveralSegments, at::kDouble, Reduce::sum)));
}

TEST(LargeCollectives, ReduceScatterOfSeveralSegments) {
  Communicator ranks = test::world();
  const std::int64_t count = kSeveralSegments / ranks.size();
  at::Tensor mine = torch::zeros({count}, at::kDouble);
  ranks.reduce_scatter(mine, values_of(ranks.rank(), count * ranks.size(), at::kDouble)).wait();
  const at::Tensor whole = expected(ranks.size(), count * ranks.size(), at::kDouble, Reduce::sum);
  EXPECT_TRUE(mine.equal(whole.narrow(0, ranks.rank() * count, count)));
}

// Sums of these depend on their order: equal bits prove that every rank takes the same one.
TEST(LargeCollectives, AllReduceGivesTheSameBitsEverywhere) {
  Communicator ranks = test::world();
  for (const std::int64_t count : {7L, 5000L, 300'001L, kSeveralSegments}) {
    at::Tensor values = torch::sin(torch::arange(count, at::kFloat) * (ranks.rank() + 1.37)) * 1e3;
    ranks.all_reduce(values).wait();
    at::Tensor of_root = values.clone();
    ranks.broadcast(of_root).wait();
    EXPECT_TRUE(values.equal(of_root)) << count;
  }
}

TEST(Asynchronous, ManyOperationsInFlight) {
  Communicator ranks = test::world();
  std::vector<at::Tensor> tensors;
  std::vector<Work> works;
  for (int i = 0; i < 100; ++i) {
    tensors.push_back(values_of(ranks.rank(), 1 + 37 * i, at::kFloat) + i);
    works.push_back(ranks.all_reduce(tensors.back()));
  }
  for (Work& work : works) work.wait();
  for (int i = 0; i < 100; ++i) {
    const at::Tensor sum = expected(ranks.size(), 1 + 37 * i, at::kFloat, Reduce::sum) + i * ranks.size();
    EXPECT_TRUE(tensors[static_cast<std::size_t>(i)].equal(sum)) << i;
  }
}

TEST(Asynchronous, WaitsInAnyOrderAndMoreThanOnce) {
  Communicator ranks = test::world();
  at::Tensor first = torch::ones({1000}), second = torch::ones({10});
  Work one = ranks.all_reduce(first), two = ranks.all_reduce(second);
  two.wait();
  one.wait();
  one.wait();
  EXPECT_EQ(first.sum().item<float>(), 1000.0F * static_cast<float>(ranks.size()));
  EXPECT_EQ(second.sum().item<float>(), 10.0F * static_cast<float>(ranks.size()));
}

TEST(Asynchronous, ControlPlaneBetweenTensors) {
  Communicator ranks = test::world();
  for (int i = 0; i < 20; ++i) {
    at::Tensor before = values_of(ranks.rank(), 2000, at::kDouble), after = before.clone();
    Work one = ranks.all_reduce(before);
    EXPECT_EQ(ranks.sum(std::int64_t{i}), i * ranks.size());
    Work two = ranks.all_reduce(after, Reduce::max);
    EXPECT_EQ(ranks.broadcast_text(ranks.rank() == 0 ? "text" : ""), "text");
    one.wait();
    two.wait();
    EXPECT_TRUE(before.equal(expected(ranks.size(), 2000, at::kDouble, Reduce::sum)));
    EXPECT_TRUE(after.equal(expected(ranks.size(), 2000, at::kDouble, Reduce::max)));
  }
}

TEST(Asynchronous, WorkOwnsItsTensors) {
  Communicator ranks = test::world();
  at::Tensor gathered = torch::empty({ranks.size() * 100'000});
  Work work = ranks.all_gather(gathered, torch::full({100'000}, ranks.rank() + 1.0));
  work.wait();
  EXPECT_EQ(gathered.sum().item<double>(), 100'000.0 * ranks.size() * (ranks.size() + 1) / 2);
}

// The communication thread carries the operation out while this rank does something else.
TEST(Asynchronous, CompletesWithoutWait) {
  Communicator ranks = test::world();
  Communicator other = ranks.duplicate("other");
  at::Tensor values = torch::ones({100'000});
  {
    const Work work = ranks.all_reduce(values);  // its destructor waits
    other.barrier();
  }
  EXPECT_EQ(values[99'999].item<float>(), static_cast<float>(ranks.size()));
}

TEST(Preconditions, AreChecked) {
  Communicator ranks = test::world();
  at::Tensor wrong = torch::zeros({3 * ranks.size() + 1});
  EXPECT_THROW(ranks.all_gather(wrong, torch::zeros({3})).wait(), Bug);
  EXPECT_THROW(ranks.reduce_scatter(torch::zeros({3}), wrong).wait(), Bug);
  EXPECT_THROW(ranks.all_reduce(torch::zeros({4, 4}).t().narrow(0, 0, 2)).wait(), Bug);
  EXPECT_THROW(ranks.broadcast(torch::zeros({4}), ranks.size()).wait(), Bug);
  if (ranks.size() > 1) {
    EXPECT_THROW(ranks.all_reduce(torch::zeros({4}, at::kHalf)).wait(), Bug);
  }
}

}  // namespace
}  // namespace cohort::comm
