// An extraction that loses a rank again and again, and goes on each time with another number of ranks, ends
// with the bytes of the one that nobody disturbed.
#include <algorithm>
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/file.h"

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;

// A model that takes seconds for these images: passes are marked once a second.
constexpr const char* kModel =
    "model.width=192 model.depth=8 train.max_steps=1 eval.every_epochs=0 eval.splits=[unseen_test] "
    "sampler.groups_per_step=4 sampler.images_per_group=2";

std::string extraction(const fs::path& run, const fs::path& out, int ranks) {
  return fmt::format("env OMP_NUM_THREADS=1 {} -n {} {} extract --run {} --split train --out {}",
                     COHORT_MPIEXEC, ranks, COHORT_PROGRAM, run.string(), out.string());
}

/// How many passes are marked as done.
std::ptrdiff_t marks(const fs::path& out) {
  const fs::path file = out.string() + ".partial.passes";
  if (!fs::exists(file)) return 0;
  const std::string content = read_file(file).substr(16);
  return std::count(content.begin(), content.end(), '1');
}

/// Starts the command and kills its last rank once more passes are marked than there were. Exit code 99: it
/// ended before.
test::Outcome killed(const testing::TemporaryFolder& folder, const fs::path& out, const std::string& command,
                     int victim) {
  const fs::path script = folder.write(
      "kill.sh",
      fmt::format("{0} &\njob=$!\n"
                  "until [ $(tail -c +17 {1}.partial.passes 2>/dev/null | tr -d 0 | wc -c) -gt {2} ]; do "
                  "kill -0 $job || exit 99; sleep 0.05; done\n"
                  "kill -KILL $(pgrep -f '^{3} extract.*{1}' | sed -n {4}p)\nwait $job\n",
                  command, out.string(), marks(out), COHORT_PROGRAM, victim));
  return test::spawn("bash " + script.string(), 300);
}

TEST(ExtractKill, GoesOnOnAnyNumberOfRanksToTheSameBytes) {
  const testing::TemporaryFolder folder;
  const fs::path data = folder.path() / "data", run = folder.path() / "run", calm = folder.path() / "calm.h5",
                 out = folder.path() / "disturbed.h5";
  const test::Outcome made = test::spawn(
      fmt::format("{} synth --contexts 12 --images-per-context 1200 --size 32 --hold-out-contexts 6 --out {}",
                  COHORT_DATA_PROGRAM, data.string()));
  ASSERT_EQ(made.exit_code, 0) << made.output;
  const test::Outcome trained = test::spawn(
      fmt::format("{} train {} data.path={} run_dir={} {}", COHORT_PROGRAM,
                  (fs::path(COHORT_TEST_DATA) / ".." / "configs" / "tests" / "nuclei.yaml").string(),
                  data.string(), run.string(), kModel));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const test::Outcome undisturbed = test::spawn(extraction(run, calm, 1));
  ASSERT_EQ(undisturbed.exit_code, 0) << undisturbed.output;

  for (const int ranks : {3, 1, 2}) {
    const test::Outcome outcome = killed(folder, out, extraction(run, out, ranks), ranks);
    ASSERT_NE(outcome.exit_code, 99) << "it ended before it was killed: " << outcome.output;
    EXPECT_NE(outcome.exit_code, 0) << outcome.output;
    EXPECT_FALSE(fs::exists(out)) << "the file has its name only when it is whole";
  }
  const std::ptrdiff_t before = marks(out);
  EXPECT_GE(before, 3);
  const test::Outcome last = test::spawn(extraction(run, out, 2));

  EXPECT_EQ(last.exit_code, 0) << last.output;
  EXPECT_EQ(last.occurrences(fmt::format("goes on: {} of", before)), 1) << last.output;
  EXPECT_TRUE(read_file(out) == read_file(calm)) << "other bytes than without kills";
  EXPECT_FALSE(fs::exists(out.string() + ".partial"));
  EXPECT_FALSE(fs::exists(out.string() + ".partial.passes"));
}

}  // namespace
}  // namespace cohort
