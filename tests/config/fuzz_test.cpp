// Mutations of a good configuration: whatever they hold, the reader accepts them or throws UsageError.
#include <cstdlib>
#include <sys/resource.h>

#include <gtest/gtest.h>

#include "cohort/config/load.h"
#include "cohort/core/error.h"
#include "cohort/core/random.h"

#include "../support/temporary_folder.h"
#include "example_options.h"

namespace cohort::config {
namespace {

constexpr const char* kSeedVariable = "COHORT_FUZZ_SEED";

std::uint64_t fuzz_seed() {
  const char* text = std::getenv(kSeedVariable);
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

const std::vector<std::string>& snippets() {
  static const std::vector<std::string> texts{":",
                                              ": ",
                                              "\n",
                                              "\n  ",
                                              "- ",
                                              "[",
                                              "]",
                                              "{",
                                              "}",
                                              ",",
                                              "\"",
                                              "'",
                                              "#",
                                              "&a ",
                                              "*a",
                                              "!!",
                                              "! ",
                                              "|",
                                              ">\n",
                                              "? ",
                                              "<<: *a",
                                              "---\n",
                                              "...\n",
                                              "%YAML 1.2\n",
                                              "\t",
                                              "\\",
                                              "~",
                                              "null",
                                              "\0",
                                              "\xff",
                                              "\xef\xbb\xbf",
                                              "é",
                                              "1e999",
                                              "-",
                                              "optimizer",
                                              "data:",
                                              "depth: 1\n",
                                              "defaults: [run.yaml]\n",
                                              "999999999999999999999999",
                                              "[[[[[[[[[[[[",
                                              "data: &a {loader: *a}\n"};
  return texts;
}

std::string mutated(std::string text, RandomStream& random) {
  for (auto left = random.below(8) + 1; left > 0; --left) {
    const std::size_t at = random.below(text.size() + 1);
    switch (random.below(4)) {
      case 0:
        text.insert(at, snippets()[random.below(snippets().size())]);
        break;
      case 1:
        text.erase(at, random.below(12));
        break;
      case 2:
        text.insert(at, text.substr(random.below(text.size() + 1), random.below(40)));
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(random.below(256));
    }
  }
  return text;
}

/// A reader that does not end must fail the test, not fill the machine's memory. Sanitizers reserve
/// terabytes.
void limit_memory() {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  constexpr rlim_t kBytes = rlim_t{4} << 30;
  const rlimit limit{.rlim_cur = kBytes, .rlim_max = RLIM_INFINITY};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
#endif
}

TEST(ConfigFuzz, DamagedFilesAreRefusedNotFatal) {
  constexpr int kMutations = 10000;
  limit_memory();
  const cohort::testing::TemporaryFolder folder;
  const std::uint64_t seed = fuzz_seed();
  std::cout << "seed " << seed << " (set " << kSeedVariable << " for another)\n";
  ExampleOptions options;
  const std::string good = dump(Fields(options), true) + "defaults: [base.yaml]\n";
  folder.write("base.yaml", "depth: 2\n");
  RandomStream random(RandomKey{.seed = seed});
  int accepted = 0, refused = 0;

  for (int i = 0; i < kMutations; ++i) {
    const std::string text = mutated(good, random);
    ExampleOptions fresh;
    Fields fields(fresh);
    try {
      load(folder.write("run.yaml", text), fields);
      ++accepted;
    } catch (const UsageError& error) {
      ++refused;
      ASSERT_FALSE(error.text().where.empty()) << error.what();
    } catch (const std::exception& error) {
      FAIL() << "mutation " << i << " of seed " << seed << ": " << error.what() << "\n" << text;
    }
  }

  EXPECT_GT(accepted, 0);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace cohort::config
