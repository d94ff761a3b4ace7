#include <sstream>

#include <gtest/gtest.h>

#include "cohort/core/printable.h"
#include "cohort/report/report.h"

#include "run_folder.h"

namespace cohort::report {
namespace {

using testing::TemporaryFolder;
using Paths = std::vector<std::filesystem::path>;

TEST(Table, ComparesRunsSplitBySplit) {
  const TemporaryFolder folder;
  const auto contextvit =
      write_run(folder, "contextvit",
                step_line(0, 0.7) + evaluation_line(1, "seen", 0.5) + evaluation_line(3, "seen", 0.91) +
                    evaluation_line(3, "unseen_test", 0.8) + end_line());
  const auto vit = write_run(folder, "vit",
                             step_line(0, 0.7) + step_line(1, 0.6) + evaluation_line(2, "seen", 0.93, false) +
                                 evaluation_line(2, "unseen_test", 0.78));

  EXPECT_EQ(
      table(Paths{contextvit, vit}),
      R"(┌─────────────┬────────────┬────────┬────────────┬────────────┬────────┬──────────┬──────────────────┬────────┬───────────┐
│ split       │ run        │ images │ accuracy ↑ │   balanced │  AUC ↑ │ majority │            worst │ loss ↓ │  images/s │
│             │            │        │            │ accuracy ↑ │        │    class │        context ↑ │        │ all ranks │
├─────────────┼────────────┼────────┼────────────┼────────────┼────────┼──────────┼──────────────────┼────────┼───────────┤
│ seen        │ contextvit │ 1,650  │    91.0 %  │    89.0 %  │ 0.960  │  67.0 %  │ module_b 66.0 %  │ 0.400* │    1,812  │
│ seen        │ vit        │ 1,650  │    93.0 %* │    91.0 %* │     –  │  67.0 %  │ module_b 68.0 %* │ 0.400* │      801  │
├─────────────┼────────────┼────────┼────────────┼────────────┼────────┼──────────┼──────────────────┼────────┼───────────┤
│ unseen_test │ contextvit │ 1,650  │    80.0 %* │    78.0 %* │ 0.850* │  67.0 %  │ module_b 55.0 %* │ 0.400* │    1,812  │
│ unseen_test │ vit        │ 1,650  │    78.0 %  │    76.0 %  │ 0.830  │  67.0 %  │ module_b 53.0 %  │ 0.400* │      801  │
└─────────────┴────────────┴────────┴────────────┴────────────┴────────┴──────────┴──────────────────┴────────┴───────────┘
* best of the split
)");
}

TEST(Table, NamesOfOthersStayInTheirCells) {
  const TemporaryFolder folder;
  const std::string text = table(Paths{write_run(folder, "a\x1b[31mb\nc", evaluation_line(3, "test", 0.8))});
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
  EXPECT_NE(text.find("│ a\\x1b[31mb\\nc │"), std::string::npos) << text;
}

TEST(Table, OneRunIsNotCompared) {
  const TemporaryFolder folder;

  EXPECT_EQ(table(Paths{write_run(folder, "vit", evaluation_line(3, "test", 0.8))}).find('*'),
            std::string::npos);
}

TEST(Table, EqualValuesAreBothBest) {
  const TemporaryFolder folder;
  const auto a = write_run(folder, "a", evaluation_line(3, "test", 0.80001));
  const auto b = write_run(folder, "b", evaluation_line(3, "test", 0.80002));

  const std::string text = table(Paths{a, b});

  EXPECT_NE(text.find("│ a   │ 1,650  │    80.0 %* │"), std::string::npos) << text;
  EXPECT_NE(text.find("│ b   │ 1,650  │    80.0 %* │"), std::string::npos) << text;
}

TEST(Table, WhatDescribesAnswersIsNotCompared) {
  const TemporaryFolder folder;
  const auto line = [](double confidence) {
    return fmt::format(
        R"({{"kind":"evaluation","step":1,"split":"test","images":9,"majority":0.75,"scores":[)"
        R"({{"name":"accuracy","value":0.5,"better":"higher"}},{{"name":"sensitivity","value":0.25,"better":"higher"}},)"
        R"({{"name":"confidence","value":{},"better":"higher"}},{{"name":"majority","value":0.75,"better":"higher"}}]}})"
        "\n",
        confidence);
  };

  const std::string text = table(Paths{write_run(folder, "a", line(0.5)), write_run(folder, "b", line(1))});

  EXPECT_NE(text.find("│ a   │     9  │    50.0 %* │        0.250* │  75.0 %  │"), std::string::npos) << text;
  for (const char* name : {"confidence", "majority ↑"}) EXPECT_EQ(text.find(name), std::string::npos) << text;
}

TEST(Table, EachTaskHasItsOwnAndOfSomeScoresTheLowestIsBest) {
  const TemporaryFolder folder;
  const auto restored = [](const char* psnr, double distance) {
    return fmt::format(
        R"({{"kind":"evaluation","step":1,"task":"restoration","split":"test","images":9,"scores":[)"
        R"({{"name":"psnr","value":{},"better":"higher","unit":"dB"}},{{"name":"distance","value":{},"better":"lower"}}]}})"
        "\n",
        psnr, distance);
  };
  const Paths runs{write_run(folder, "a", restored("31.25", 0.25)),
                   write_run(folder, "b", restored("null", 0.5)),
                   write_run(folder, "c", evaluation_line(3, "test", 0.8))};

  const std::string text = table(runs);

  EXPECT_TRUE(text.starts_with(R"(restoration
┌───────┬─────┬────────┬────────┬────────────┬───────────┐
│ split │ run │ images │ PSNR ↑ │ distance ↓ │  images/s │
│       │     │        │     dB │            │ all ranks │
├───────┼─────┼────────┼────────┼────────────┼───────────┤
│ test  │ a   │     9  │ 31.25  │     0.250* │        –  │
│ test  │ b   │     9  │     –  │     0.500  │        –  │
└───────┴─────┴────────┴────────┴────────────┴───────────┘
* best of the split
classification
)")) << text;
}

TEST(Table, OfARunWithoutEvaluationsShowsWhatThereIs) {
  const TemporaryFolder folder;
  const std::string features =
      R"({"kind":"features","step":3,"epoch":1,"deviation":0.0712,"effective_rank":37.25})";

  EXPECT_EQ(table(Paths{write_run(folder, "tiles",
                                  step_line(2, 5.5) + step_line(3, 5.25) + features + "\n" + end_line(),
                                  "method: dino\n"),
                        write_run(folder, "früh", "")}),
            R"(┌───────┬────────┬───────┬───────────────┬─────────────┬────────────────┬───────────┐
│ run   │ method │ steps │ last training │   deviation │ effective rank │  images/s │
│       │        │       │          loss │ of features │    of features │ all ranks │
├───────┼────────┼───────┼───────────────┼─────────────┼────────────────┼───────────┤
│ tiles │ dino   │     2 │        5.2500 │      0.0712 │           37.2 │     1,812 │
│ früh  │ –      │     0 │             – │           – │              – │         – │
└───────┴────────┴───────┴───────────────┴─────────────┴────────────────┴───────────┘
)");
}

TEST(Table, RunsWithAndWithoutScoresHaveATableEach) {
  const TemporaryFolder folder;

  const std::string text = table(Paths{write_run(folder, "vit", evaluation_line(3, "test", 0.8)),
                                       write_run(folder, "tiles", step_line(3, 5.25))});

  EXPECT_NE(text.find("│ test  │ vit "), std::string::npos) << text;
  EXPECT_NE(text.find("│ tiles │ –      │     1 │        5.2500 │"), std::string::npos) << text;
  EXPECT_EQ(text.find("│ –     │ tiles"), std::string::npos) << text;
}

TEST(Table, OfANarrowTerminalLeavesColumnsOutAndSaysSo) {
  const TemporaryFolder folder;
  const Paths runs{write_run(folder, "vit", evaluation_line(3, "test", 0.8))};
  const std::string wide = table(runs), narrow = table(runs, 60);

  EXPECT_EQ(table(runs, 200), wide);
  std::istringstream lines(narrow);
  for (std::string line; std::getline(lines, line) && line.starts_with("│");)
    EXPECT_LE(display_width(line), 60U) << line;
  EXPECT_NE(narrow.find("accuracy"), std::string::npos);
  EXPECT_NE(narrow.find("for a wider terminal, or a file: "), std::string::npos) << narrow;
  EXPECT_NE(narrow.find(", images/s all ranks\n"), std::string::npos) << narrow;
}

}  // namespace
}  // namespace cohort::report
