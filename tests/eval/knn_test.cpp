#include "cohort/eval/knn.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/data/dataset.h"

#include "support/ranks.h"
#include "support/small_model.h"
#include "support/stored_rows.h"
#include "support/tiny_dataset.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kClasses = 3, kWidth = 5;

/// The logits of all queries, by each of config.neighbours.
std::vector<at::Tensor> knn_logits(const at::Tensor& bank, const std::vector<std::int32_t>& labels,
                                   const at::Tensor& queries, std::int64_t classes, const KnnConfig& config,
                                   comm::Communicator& ranks) {
  const StoredRows of_bank = testing::stored(bank, ranks), of_queries = testing::stored(queries, ranks);
  std::vector<at::Tensor> logits;
  for (std::size_t i = 0; i < config.neighbours.size(); ++i)
    logits.push_back(at::zeros({queries.size(0), classes}));
  classify_by_neighbours({of_bank, testing::labels_of(labels)}, of_queries, classes, config, ranks,
                         [&](std::size_t number, const at::Tensor& rows, const at::Tensor& answers) {
                           logits[number].index_copy_(0, rows, answers);
                         });
  for (at::Tensor& of_k : logits) ranks.all_reduce(of_k).wait();
  return logits;
}

std::vector<std::int32_t> some_labels(std::int64_t count) {
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < count; ++i)
    labels.push_back(i % 11 == 4 ? -1 : static_cast<std::int32_t>(i * 7 % 3));
  return labels;
}

/// Shares of the votes, image by image, in double precision.
std::vector<double> shares_by_formula(const at::Tensor& bank, const std::vector<std::int32_t>& labels,
                                      const at::Tensor& query, std::int64_t k, double temperature) {
  const at::Tensor q = query.to(at::kDouble) / query.to(at::kDouble).norm();
  std::vector<std::pair<double, std::int32_t>> similar;
  for (std::int64_t i = 0; i < bank.size(0); ++i) {
    const at::Tensor b = bank[i].to(at::kDouble) / bank[i].to(at::kDouble).norm();
    const std::int32_t label = labels[static_cast<std::size_t>(i)];
    if (label >= 0) similar.emplace_back(-q.dot(b).item<double>(), label);
  }
  std::sort(similar.begin(), similar.end());
  std::vector<double> shares(kClasses);
  double all = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    const auto& [similarity, label] = similar[static_cast<std::size_t>(i)];
    const double votes = std::exp(-similarity / temperature);
    shares[static_cast<std::size_t>(label)] += votes;
    all += votes;
  }
  for (double& share : shares) share /= all;
  return shares;
}

/// The tiny dataset's test split with a second context key.
class TwoKeys {
 public:
  explicit TwoKeys(comm::Communicator& ranks) : folder_(ranks) {
    data::Description description = testing::tiny_description();
    description.contexts.push_back({"year", {"old", "new", "never"}});
    std::vector<data::Row> rows = testing::tiny_rows();
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i].contexts.push_back(i % 3 == 0 ? 0 : 1);
    const auto black = [](std::int64_t, std::span<std::byte> pixels) {
      std::ranges::fill(pixels, std::byte{});
    };
    (void)data::write_dataset(folder_.path() / "two", description, rows, black, {}, ranks);
  }
  [[nodiscard]] data::Dataset dataset() const { return data::Dataset::open(folder_.path() / "two", "test"); }
  [[nodiscard]] data::ColumnReader reader() const {
    return {folder_.path() / "two", data::Description::read(folder_.path() / "two"), "test"};
  }

 private:
  testing::SharedFolder folder_;
};

/// Of answers [N, classes], the accuracy of the images of one value.
double accuracy_of(const at::Tensor& logits, const std::vector<std::int32_t>& labels,
                   const std::vector<std::int32_t>& contexts, std::int32_t value) {
  double right = 0, all = 0;
  const at::Tensor answers = logits.argmax(1);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (contexts[i] != value) continue;
    right += answers[static_cast<std::int64_t>(i)].item<std::int64_t>() == labels[i] ? 1 : 0;
    all += 1;
  }
  return right / all;
}

/// `logits`: of all images.
void expect_scores_by_two_keys(const Evaluation& evaluation, const data::Dataset& dataset,
                               const at::Tensor& logits) {
  EXPECT_EQ(evaluation.context_key, "year");
  ASSERT_EQ(evaluation.card.contexts.size(), 2U);
  for (const ScoredContexts& scored : evaluation.card.contexts) {
    const std::vector<std::string>& values = dataset.description().context(scored.key).values;
    EXPECT_EQ(scored.groups.size(), scored.key == "year" ? 2U : 4U);
    for (const ScoredGroup& group : scored.groups) {
      const auto value =
          static_cast<std::int32_t>(std::find(values.begin(), values.end(), group.name) - values.begin());
      EXPECT_DOUBLE_EQ(group.scores.front().value,
                       accuracy_of(logits, dataset.labels("corner"), dataset.contexts(scored.key), value))
          << scored.key << " " << group.name;
    }
  }
}

TEST(Knn, ScoresTheContextsOfSeveralKeys) {
  comm::Communicator world = test::world();
  const TwoKeys two(world);
  const data::Dataset dataset = two.dataset();
  data::ColumnReader reader = two.reader();
  const at::Tensor values = testing::normal_values({testing::kTinyTest, kWidth});
  const StoredRows features = testing::stored(values, world);
  const std::vector<std::int32_t>& labels = dataset.labels("corner");
  const KnnConfig knn{.neighbours = {3}, .leave_own_out = true};
  EvalConfig keys;
  keys.contexts = {"year", "site"};

  const std::vector<Evaluation> found =
      evaluate_by_neighbours({features, testing::labels_of(labels)}, features, dataset, reader,
                             {"corner", "site"}, keys, knn, world);

  ASSERT_EQ(found.size(), 1U);
  expect_scores_by_two_keys(found[0], dataset, knn_logits(values, labels, values, 2, knn, world).front());
  ASSERT_FALSE(found[0].card.cases.empty());
  if (world.rank() == 0) {
    const Case& first = found[0].card.cases.front();
    EXPECT_EQ(first.id, dataset.id(first.row));
  }
  keys.contexts = {"month"};
  EXPECT_THROW((void)evaluate_by_neighbours({features, testing::labels_of(labels)}, features, dataset, reader,
                                            {"corner", "site"}, keys, knn, world),
               UsageError);
}

TEST(EvaluateFeatures, ScoresTheContextsOfSeveralKeys) {
  comm::Communicator world = test::world();
  const TwoKeys two(world);
  const data::Dataset dataset = two.dataset();
  data::ColumnReader reader = two.reader();
  const at::Tensor values = testing::normal_values({testing::kTinyTest, kWidth});
  const StoredRows features = testing::stored(values, world);
  const auto classify = [](const at::Tensor& rows) { return rows.narrow(1, 0, 2).contiguous(); };
  EvalConfig keys;
  keys.contexts = {"year", "site"};

  const Evaluation found =
      evaluate_features(features, classify, dataset, reader, {"corner", "site"}, keys, world);

  expect_scores_by_two_keys(found, dataset, classify(values));
}

TEST(Knn, VotesAreThoseOfTheFormula) {
  comm::Communicator world = test::world();
  const at::Tensor bank = testing::normal_values({40, kWidth}),
                   queries = testing::normal_values({9, kWidth}, 1);
  const auto labels = some_labels(40);

  const auto logits =
      knn_logits(bank, labels, queries, kClasses, {.neighbours = {1, 6}, .temperature = 0.3}, world);

  ASSERT_EQ(logits.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    ASSERT_EQ(logits[i].sizes(), (at::IntArrayRef{9, kClasses}));
    for (std::int64_t row = 0; row < 9; ++row) {
      const auto shares = shares_by_formula(bank, labels, queries[row], i == 0 ? 1 : 6, 0.3);
      for (std::int64_t c = 0; c < kClasses; ++c) {
        EXPECT_NEAR(std::exp(logits[i][row][c].item<double>()), shares[static_cast<std::size_t>(c)], 1e-5)
            << "row " << row << ", class " << c;
      }
    }
  }
}

// Several blocks of queries and of the bank.
TEST(Knn, HasTheSameBitsOnAnyNumberOfRanks) {
  comm::Communicator world = test::world();
  comm::Communicator alone = world.split(world.rank(), "alone");
  const at::Tensor bank = testing::normal_values({9000, kWidth}),
                   queries = testing::normal_values({2500, kWidth}, 1);
  const auto labels = some_labels(9000);

  const auto together = knn_logits(bank, labels, queries, kClasses, {}, world);
  const auto single = knn_logits(bank, labels, queries, kClasses, {}, alone);

  for (std::size_t i = 0; i < together.size(); ++i) EXPECT_TRUE(together[i].equal(single[i]));
  const auto shares = shares_by_formula(bank, labels, queries[2400], 10, 0.07);
  EXPECT_NEAR(std::exp(together[0][2400][1].item<double>()), shares[1], 1e-4);
}

// Two whole blocks of the bank and three images more, fewer than neighbours are asked for. Every image lies
// in a direction of its own block, and its label is the block's; each query has its neighbours in one block.
TEST(Knn, NeighboursOfEveryBlockOfTheBankHaveTheirOwnLabels) {
  comm::Communicator world = test::world();
  constexpr std::int64_t kBlock = 8192, kBlocks = 3, kBank = 2 * kBlock + 3, kQueries = 1500;
  const at::Tensor block_of = at::arange(kBank).div(kBlock, "floor");
  const at::Tensor bank =
      at::one_hot(block_of, kBlocks).to(at::kFloat) * 3 + 0.2 * testing::normal_values({kBank, kBlocks});
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < kBank; ++i) labels.push_back(static_cast<std::int32_t>(2 - i / kBlock));
  const at::Tensor wanted = at::arange(kQueries) % kBlocks;
  const at::Tensor queries = at::one_hot(wanted, kBlocks).to(at::kFloat);

  const auto logits = knn_logits(bank, labels, queries, kBlocks, {.neighbours = {1, 3}}, world);

  for (const at::Tensor& of_k : logits) {
    EXPECT_TRUE(of_k.argmax(1).equal(2 - wanted));
    EXPECT_GT(of_k.gather(1, (2 - wanted).unsqueeze(1)).exp().min().item<double>(), 0.999);
  }
}

// The best of all blocks together: neighbours alternate between blocks.
TEST(Knn, NeighboursInSeveralBlocksVoteTogether) {
  comm::Communicator world = test::world();
  const std::int64_t count = 8192 + 4096;
  const at::Tensor bank = testing::normal_values({count, kWidth}),
                   queries = testing::normal_values({2, kWidth}, 1);
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < count; ++i) labels.push_back(i < 8192 ? static_cast<std::int32_t>(i % 2) : 2);

  const auto logits =
      knn_logits(bank, labels, queries, kClasses, {.neighbours = {50}, .temperature = 0.3}, world);

  for (std::int64_t row = 0; row < 2; ++row) {
    const auto shares = shares_by_formula(bank, labels, queries[row], 50, 0.3);
    for (std::int64_t c = 0; c < kClasses; ++c) {
      EXPECT_NEAR(std::exp(logits[0][row][c].item<double>()), shares[static_cast<std::size_t>(c)], 1e-4)
          << "row " << row << ", class " << c;
    }
  }
}

TEST(Knn, ALowTemperatureGivesTheNearestAlone) {
  comm::Communicator world = test::world();
  const at::Tensor bank = testing::normal_values({40, kWidth}),
                   queries = testing::normal_values({9, kWidth}, 1);
  const auto labels = some_labels(40);

  const auto cold =
      knn_logits(bank, labels, queries, kClasses, {.neighbours = {6}, .temperature = 1e-4}, world);
  const auto nearest = knn_logits(bank, labels, queries, kClasses, {.neighbours = {1}}, world);

  EXPECT_TRUE(cold[0].isfinite().all().item<bool>());
  EXPECT_TRUE(cold[0].argmax(1).equal(nearest[0].argmax(1)));
}

TEST(Knn, MoreNeighboursThanLabelledImagesAreRefused) {
  comm::Communicator world = test::world();
  const at::Tensor bank = testing::normal_values({12, kWidth});
  try {
    knn_logits(bank, some_labels(12), bank, kClasses, {.neighbours = {3, 12}}, world);
    FAIL() << "twelve neighbours of eleven";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().what, "12 neighbours are asked for, but only 11 training images have a label");
  }
}

TEST(Knn, NumbersOfNeighboursAreCheckedWithoutFeatures) {
  EXPECT_NO_THROW(check_neighbours({.neighbours = {3, 12}}, 12));
  EXPECT_THROW(check_neighbours({.neighbours = {13, 3}}, 12), UsageError);
  EXPECT_THROW(check_neighbours({.neighbours = {12}, .leave_own_out = true}, 12), UsageError);
}

TEST(Knn, ImagesOfTheBankAreJudgedByTheOthers) {
  comm::Communicator world = test::world();
  constexpr std::int64_t kBank = 30;
  const at::Tensor bank = testing::normal_values({kBank, kWidth});
  const auto labels = some_labels(kBank);

  const at::Tensor logits =
      knn_logits(bank, labels, bank, kClasses, {.neighbours = {5}, .leave_own_out = true}, world).front();

  for (std::int64_t i = 0; i < kBank; ++i) {
    std::vector<std::int32_t> others = labels;
    others[static_cast<std::size_t>(i)] = -1;
    const at::Tensor expected =
        knn_logits(bank, others, bank.narrow(0, i, 1), kClasses, {.neighbours = {5}}, world).front();
    EXPECT_TRUE(at::allclose(logits.narrow(0, i, 1), expected, 1e-5, 1e-6)) << "image " << i;
  }
  const auto labelled = std::count_if(labels.begin(), labels.end(), [](auto label) { return label >= 0; });
  EXPECT_THROW(
      knn_logits(bank, labels, bank, kClasses, {.neighbours = {labelled}, .leave_own_out = true}, world),
      UsageError);
}

}  // namespace
}  // namespace cohort::eval
