#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/report/report.h"

#include "run_folder.h"

namespace cohort::report {
namespace {

using testing::TemporaryFolder;
using Paths = std::vector<std::filesystem::path>;

std::filesystem::path write_seed(const TemporaryFolder& folder, const std::string& recipe, int seed,
                                 double accuracy, bool has_auc = true) {
  const std::string name = fmt::format("{}-{}", recipe, seed);
  return write_run(folder, name, evaluation_line(3, "unseen_test", accuracy, has_auc),
                   fmt::format("run_dir: runs/{}\nseed: {}\nmodel: {{name: {}}}\n", name, seed, recipe));
}

// Accuracies 80, 82, 84: mean 82, deviation 2, half interval 4.303 · 2/√3 = 4.97. Differences 2, 1, 3: 2
// ± 2.48.
TEST(SeedTable, GivesMeansIntervalsAndDifferencesBySeed) {
  const TemporaryFolder folder;
  Paths runs;
  for (const auto& [seed, accuracy] : {std::pair{1, 0.80}, {2, 0.82}, {3, 0.84}})
    runs.push_back(write_seed(folder, "vit", seed, accuracy));
  for (const auto& [seed, accuracy] : {std::pair{3, 0.87}, {1, 0.82}, {2, 0.83}})
    runs.push_back(write_seed(folder, "contextvit", seed, accuracy));

  EXPECT_EQ(
      seed_table(runs),
      R"(┌─────────────┬──────────────────┬──────┬────────────┬────────────┬────────────────┬────────────┬────────────────┐
│ split       │ recipe           │ runs │ accuracy ↑ │   balanced │          AUC ↑ │      worst │         loss ↓ │
│             │                  │      │            │ accuracy ↑ │                │  context ↑ │                │
├─────────────┼──────────────────┼──────┼────────────┼────────────┼────────────────┼────────────┼────────────────┤
│ unseen_test │ vit              │    3 │ 82.0 ± 5.0 │ 80.0 ± 5.0 │  0.870 ± 0.050 │ 57.0 ± 5.0 │  0.400 ± 0.000 │
│ unseen_test │ contextvit       │    3 │ 84.0 ± 6.6 │ 82.0 ± 6.6 │  0.890 ± 0.066 │ 59.0 ± 6.6 │  0.400 ± 0.000 │
│ unseen_test │ contextvit - vit │    3 │ +2.0 ± 2.5 │ +2.0 ± 2.5 │ +0.020 ± 0.025 │ +2.0 ± 2.5 │ +0.000 ± 0.000 │
└─────────────┴──────────────────┴──────┴────────────┴────────────┴────────────────┴────────────┴────────────────┘
accuracies in percent; mean ± half of the 95 % interval (Student's t) over seeds; differences between runs of the same seed
)");
}

TEST(SeedTable, ASingleRunHasNoIntervalAndMissingScoresAreNone) {
  const TemporaryFolder folder;

  const std::string text =
      seed_table(Paths{write_seed(folder, "vit", 1, 0.8, false), write_seed(folder, "contextvit", 1, 0.8)});

  EXPECT_NE(text.find("│    1 │       80.0 │       78.0 │  0.400 │      55.0 │     – │\n"), std::string::npos)
      << text;
}

TEST(SeedTable, DifferencesAreOfSeedsThatBothHave) {
  const TemporaryFolder folder;
  const Paths runs{write_seed(folder, "vit", 1, 0.8), write_seed(folder, "vit", 2, 0.7),
                   write_seed(folder, "contextvit", 2, 0.75), write_seed(folder, "contextvit", 7, 0.1)};

  const std::string text = seed_table(runs);

  EXPECT_NE(text.find("│ contextvit - vit │    1 │         +5.0 │"), std::string::npos) << text;
}

TEST(SeedTable, OneSeedTwiceIsRefused) {
  const TemporaryFolder folder;
  const auto first = write_seed(folder, "vit", 1, 0.8);
  const auto again = write_run(folder, "again", evaluation_line(3, "unseen_test", 0.8),
                               "run_dir: runs/again\nseed: 1\nmodel: {name: vit}\n");
  try {
    static_cast<void>(seed_table(Paths{first, again}));
    FAIL() << "the same run was counted twice";
  } catch (const UsageError& error) {
    EXPECT_NE(error.text().what.find("two runs have the same configuration and seed 1"), std::string::npos);
  }
}

TEST(SeedTable, FineTuningsOfOneKindAreOneRecipe) {
  const TemporaryFolder folder;
  Paths runs;
  for (const char* recipe : {"tuned_a", "tuned_b"}) {
    for (int seed = 1; seed <= 2; ++seed) {
      const std::string name = fmt::format("{}-{}", recipe, seed);
      runs.push_back(
          write_run(folder, name, evaluation_line(3, "test", 0.8 + 0.01 * seed),
                    fmt::format("run_dir: r/{0}\nseed: {1}\nmodel: {{weights: r/{0}/start.safetensors}}\n",
                                name, seed)));
    }
  }

  const std::string text = seed_table(runs);

  EXPECT_NE(text.find("│ tuned_a           │    2 │"), std::string::npos) << text;
  EXPECT_NE(text.find("│ tuned_b - tuned_a │    2 │ +0.0 ± 0.0"), std::string::npos) << text;
}

}  // namespace
}  // namespace cohort::report
