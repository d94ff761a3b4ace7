#include <stdexcept>

#include <gtest/gtest.h>
#include <mpi.h>
#include <torch/types.h>

#include "cohort/comm/communicator.h"

#include "support/ranks.h"

namespace cohort::comm {
namespace {

TEST(ControlPlane, SumAndMax) {
  Communicator ranks = test::world();
  const int n = ranks.size(), rank = ranks.rank();
  EXPECT_EQ(ranks.sum(std::int64_t{1} << 40), std::int64_t{n} << 40);
  EXPECT_EQ(ranks.max(std::int64_t{-5} - rank), -5);
  EXPECT_EQ(ranks.sum(0.5), 0.5 * n);
  EXPECT_EQ(ranks.max(static_cast<double>(rank)), n - 1.0);
}

TEST(ControlPlane, BroadcastText) {
  Communicator ranks = test::world();
  const int root = ranks.size() - 1;
  const std::string text(100'000, 'x');
  EXPECT_EQ(ranks.broadcast_text(ranks.rank() == root ? text : "not this", root), text);
  EXPECT_EQ(ranks.broadcast_text("", root), "");
}

TEST(ControlPlane, GatherTexts) {
  Communicator ranks = test::world();
  const auto texts = ranks.gather_texts(std::string(static_cast<std::size_t>(ranks.rank()) * 3, 'a'));
  ASSERT_EQ(std::ssize(texts), ranks.size());
  for (std::size_t rank = 0; rank < texts.size(); ++rank) EXPECT_EQ(texts[rank], std::string(rank * 3, 'a'));
}

TEST(ControlPlane, GatherRowsOfDifferentSizes) {
  Communicator ranks = test::world();
  const auto rows_of = [](int rank) { return torch::full({2 * rank, 3}, rank + 0.5); };  // rank 0 has none
  std::vector<at::Tensor> parts;
  for (int rank = 0; rank < ranks.size(); ++rank) parts.push_back(rows_of(rank));
  const at::Tensor gathered = ranks.gather_rows(rows_of(ranks.rank()));
  EXPECT_TRUE(gathered.equal(torch::cat(parts)));
}

TEST(ControlPlane, GatherRowsOfOneDimensionAndAnyType) {
  Communicator ranks = test::world();
  const at::Tensor gathered = ranks.gather_rows(torch::full({1}, ranks.rank() % 2 == 1, at::kBool));
  ASSERT_EQ(gathered.sizes(), at::IntArrayRef({ranks.size()}));
  for (int rank = 0; rank < ranks.size(); ++rank) EXPECT_EQ(gathered[rank].item<bool>(), rank % 2 == 1);
}

TEST(Groups, SplitByColor) {
  Communicator ranks = test::world();
  Communicator half = ranks.split(ranks.rank() % 2, "half");
  EXPECT_EQ(half.name(), "half");
  EXPECT_EQ(half.rank(), ranks.rank() / 2);
  std::int64_t sum = 0;
  for (int rank = ranks.rank() % 2; rank < ranks.size(); rank += 2) sum += rank;
  EXPECT_EQ(half.sum(std::int64_t{ranks.rank()}), sum);
}

TEST(Groups, SplitAfterQueuedOperations) {
  Communicator ranks = test::world();
  at::Tensor values = torch::ones({50'000});
  Work work = ranks.all_reduce(values);
  Communicator all = ranks.split(0, "all");
  EXPECT_EQ(all.size(), ranks.size());
  EXPECT_EQ(all.rank(), ranks.rank());
  work.wait();
  EXPECT_EQ(values[0].item<float>(), static_cast<float>(ranks.size()));
}

TEST(Groups, DuplicateHasAnOrderOfItsOwn) {
  Communicator ranks = test::world();
  Communicator other = ranks.duplicate("other");
  at::Tensor a = torch::ones({10}), b = torch::full({10}, 2.0F);
  const bool first = ranks.rank() % 2 == 0;  // opposite orders on different ranks
  Work one = first ? ranks.all_reduce(a) : other.all_reduce(b);
  Work two = first ? other.all_reduce(b) : ranks.all_reduce(a);
  one.wait();
  two.wait();
  EXPECT_EQ(a[0].item<float>(), static_cast<float>(ranks.size()));
  EXPECT_EQ(b[0].item<float>(), 2.0F * static_cast<float>(ranks.size()));
}

TEST(Groups, MpiHandleIsUsable) {
  Communicator ranks = test::world();
  int size = 0;
  MPI_Comm_size(MPI_Comm_f2c(ranks.mpi_handle()), &size);
  EXPECT_EQ(size, ranks.size());
}

TEST(Groups, MovedCommunicatorWorks) {
  Communicator ranks = test::world();
  Communicator moved = std::move(ranks);
  EXPECT_EQ(moved.sum(std::int64_t{1}), moved.size());
  moved = moved.duplicate("again");
  EXPECT_EQ(moved.sum(std::int64_t{1}), moved.size());
}

std::string thrown_text(Communicator& ranks, const std::exception_ptr& error) {
  try {
    ranks.agree(error);
  } catch (const std::exception& agreed) {
    return agreed.what();
  }
  return "";
}

TEST(Agree, NobodyFails) {
  Communicator ranks = test::world();
  EXPECT_NO_THROW(ranks.agree(nullptr));
}

TEST(Agree, OneRankFails) {
  Communicator ranks = test::world();
  const int failing = ranks.size() - 1;
  try {
    together(ranks, [&] {
      if (ranks.rank() == failing) throw DataError({"shard is damaged", "train-3.h5", "fetch it again"});
    });
    FAIL() << "nothing was thrown";
  } catch (const DataError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::data);
    EXPECT_EQ(error.text().what, "shard is damaged");
    EXPECT_EQ(error.text().fix, "fetch it again");
    const std::string rank = "rank " + std::to_string(failing) + " of " + std::to_string(ranks.size()) + ": ";
    EXPECT_EQ(error.text().where, (ranks.size() > 1 ? rank : "") + "train-3.h5");
  }
}

// From three ranks on.
TEST(Agree, FirstOfTwoFailingRanksSpeaks) {
  Communicator ranks = test::world();
  std::exception_ptr error;
  if (ranks.rank() == 1) error = std::make_exception_ptr(UsageError({"first", {}, {}}));
  if (ranks.rank() == 2) error = std::make_exception_ptr(DataError({"second", {}, {}}));
  EXPECT_THROW(ranks.agree(error), UsageError);
  EXPECT_NE(thrown_text(ranks, error).find("first"), std::string::npos);
}

TEST(Agree, KeepsTypesOfOtherErrors) {
  Communicator ranks = test::world();
  const bool fails = ranks.rank() == ranks.size() - 1;
  EXPECT_THROW(ranks.agree(fails ? std::make_exception_ptr(Bug("broken promise")) : nullptr), Bug);
  EXPECT_THROW(ranks.agree(fails ? std::make_exception_ptr(NumericalError({"nan", {}, {}})) : nullptr),
               NumericalError);
  EXPECT_THROW(ranks.agree(fails ? std::make_exception_ptr(std::bad_alloc()) : nullptr), std::runtime_error);
}

TEST(Agree, ShowsTheFirstLineOfTorchErrors) {
  Communicator ranks = test::world();
  std::exception_ptr error;
  if (ranks.rank() == 0) {
    try {
      torch::zeros({2, 3}).mm(torch::zeros({2, 3}));
    } catch (...) {
      error = std::current_exception();
    }
  }
  const std::string text = thrown_text(ranks, error);
  EXPECT_NE(text.find("mat1 and mat2 shapes cannot be multiplied"), std::string::npos) << text;
  EXPECT_EQ(text.find("frame #"), std::string::npos) << text;
}

TEST(Agree, AnAgreedErrorKeepsItsRank) {
  Communicator ranks = test::world();
  const std::string first = thrown_text(ranks, std::make_exception_ptr(UsageError({"x", "y", "z"})));
  std::exception_ptr agreed;
  try {
    ranks.agree(std::make_exception_ptr(UsageError({"x", "y", "z"})));
  } catch (...) {
    agreed = std::current_exception();
  }
  EXPECT_EQ(thrown_text(ranks, agreed), first);
}

}  // namespace
}  // namespace cohort::comm
