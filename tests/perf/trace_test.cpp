// cohort-perf trace on traces made by hand.
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/file.h"

#include "support/spawn.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

using test::Outcome;

std::string lane(int rank, int number, const std::string& name) {
  return fmt::format(R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":"{}"}}}})", rank,
                     number, name);
}

/// Times in ms.
std::string span(int rank, int lane, const std::string& kind, const std::string& name, double begin,
                 double end, int bytes = 0) {
  return fmt::format(
      R"({{"ph":"X","pid":{},"tid":{},"cat":"{}","name":"{}","ts":{},"dur":{},"args":{{"bytes":{}}}}})", rank,
      lane, kind, name, begin * 1e3, (end - begin) * 1e3, bytes);
}

/// Rank 0 communicates for 30 ms of a step of 100 ms, in two collectives, and waits for 10 ms of them; rank 1
/// for 20 ms, all hidden. Both have a step of 10 ms before it.
std::string trace() {
  std::string text = R"({"traceEvents":[)";
  for (int rank = 0; rank < 2; ++rank) {
    text += lane(rank, 0, "compute") + "," + lane(rank, 1, "communication: gradients") + ",";
    text += span(rank, 0, "step", "step 6", 0, 10) + "," + span(rank, 0, "step", "step 7", 20, 120) + ",";
    text += span(rank, 0, "data", "data", 20, 25) + "," + span(rank, 0, "forward", "forward", 25, 60) + ",";
    text += span(rank, 0, "forward", "forward 0", 30, 55) + ",";
  }
  text += span(0, 1, "communication", "sum", 40, 60, 1 << 20) + ",";
  text += span(0, 1, "communication", "sum & <more>", 70, 80, 1 << 19) + ",";
  text += span(0, 0, "wait", "wait for gradients", 70, 80) + ",";
  text += span(1, 1, "communication", "sum", 40, 60, 1 << 20);
  return text + "]}";
}

class TraceCommand : public ::testing::Test {
 protected:
  Outcome run(const std::string& arguments) {
    return test::spawn(fmt::format("{} trace {}", COHORT_PERF_PROGRAM, arguments));
  }
  testing::TemporaryFolder folder_;
  std::string file_ = folder_.write("trace.json", trace()).string();
};

TEST_F(TraceCommand, TellsHowMuchCommunicationWasHidden) {
  const Outcome outcome = run(file_);

  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  //  step  rank  time  computing  data  waiting  communicating  hidden  hidden%
  for (const char* line : {
           "       6     0     10.00      10.00      0.00      0.00           0.00      0.00           0\n",
           "       7     0    100.00      85.00      5.00     10.00          30.00     20.00          67\n",
           "       7     1    100.00      95.00      5.00      0.00          20.00     20.00         100\n",
           "     0     communication: gradients      2      30.00      1.50\n",
           "     1     communication: gradients      1      20.00      1.00\n",
       }) {
    EXPECT_TRUE(outcome.says(line)) << "missing: " << line << outcome.output;
  }
}

TEST_F(TraceCommand, DrawsTheLanesOfAStep) {
  const auto picture = folder_.path() / "step.svg";
  const Outcome outcome = run(fmt::format("{} --step 7 --svg {}", file_, picture.string()));

  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_FALSE(outcome.says("       6     0 ")) << outcome.output;
  Outcome drawn;
  drawn.output = read_file(picture);
  EXPECT_TRUE(drawn.says("step 7 on 2 ranks")) << drawn.output;
  EXPECT_EQ(drawn.occurrences(">communication: gradients</text>"), 2);
  EXPECT_EQ(drawn.occurrences("<title>forward 0: 25.00 ms</title>"), 2);
  EXPECT_EQ(drawn.occurrences("<title>sum &amp; &lt;more>: 10.00 ms</title>"), 1);
  // 100 ms on 1010 pixels that begin at 170: the wait lies at half of the step.
  EXPECT_EQ(drawn.occurrences("<rect x=\"675.0\" y=\"62.0\" width=\"101.0\" height=\"15\" fill=\"#ff6b66\""),
            1)
      << drawn.output;
}

TEST_F(TraceCommand, WritesJsonAndAPageWithTheTimeline) {
  const auto page = folder_.path() / "page.html";
  const Outcome outcome = run(fmt::format("{} --step 7 --json --html {}", file_, page.string()));

  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(outcome.occurrences(R"({"kind":"header","benchmark":"trace)"), 2) << outcome.output;
  EXPECT_TRUE(outcome.says(R"("step":7,"rank":0,"time_ms":100.0,"computing_ms":85.0)")) << outcome.output;
  Outcome html;
  html.output = read_file(page);
  EXPECT_TRUE(html.says("step 7 on 2 ranks")) << html.output;
  EXPECT_TRUE(html.says("<h2>trace lanes</h2>")) << html.output;
}

TEST_F(TraceCommand, RefusesWhatIsNoTraceOrHasNoSuchStep) {
  for (const char* content : {"", R"({"a":1})", R"({"traceEvents":[]})", R"({"traceEvents":[{"pid":0}]})"}) {
    const Outcome other = run(folder_.write("other.json", content).string());
    EXPECT_EQ(other.exit_code, 3) << content;
    EXPECT_TRUE(other.says("not a trace of training steps")) << other.output;
  }

  const Outcome missing = run(file_ + " --step 9");
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_TRUE(missing.says("the trace has no step 9")) << missing.output;
}

}  // namespace
}  // namespace cohort
