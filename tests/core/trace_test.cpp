#include "cohort/core/trace.h"

#include <algorithm>
#include <latch>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace cohort {
namespace {

std::vector<std::string> names(const std::vector<TraceRecord>& records) {
  std::vector<std::string> result;
  for (const TraceRecord& record : records) result.push_back(record.name);
  return result;
}

using Names = std::vector<std::string>;

TEST(Trace, IsOffAtFirstAndKeepsNothing) {
  { const TraceSpan span(TraceKind::step, "step ", 1); }
  record_trace({TraceKind::communication, "x", "y", TraceClock::now(), TraceClock::now(), 1});

  EXPECT_FALSE(is_tracing());
  EXPECT_TRUE(stop_trace().empty());
}

TEST(Trace, SpansNestWithinTheirParents) {
  start_trace();
  {
    const TraceSpan outer(TraceKind::step, "step ", 7);
    { const TraceSpan inner(TraceKind::forward, "forward ", std::int64_t{0}); }
    const TraceSpan inner(TraceKind::wait, "wait for ", "gradients");
  }
  const auto records = stop_trace();

  ASSERT_EQ(names(records), (Names{"forward 0", "wait for gradients", "step 7"}));
  const TraceRecord &first = records[0], &second = records[1], &step = records[2];
  EXPECT_EQ(step.kind, TraceKind::step);
  EXPECT_EQ(step.lane, "compute");
  EXPECT_LE(step.begin, first.begin);
  EXPECT_LE(first.begin, first.end);
  EXPECT_LE(first.end, second.begin);
  EXPECT_LE(second.end, step.end);
}

TEST(Trace, LeavesOutWhatBeganBeforeOrHasNotEnded) {
  std::optional<TraceSpan> before, open;
  start_trace();
  before.emplace(TraceKind::step, "of an earlier trace");
  const auto earlier = TraceClock::now();
  (void)stop_trace();
  start_trace();
  before.reset();
  record_trace({TraceKind::communication, "lane", "early", earlier, TraceClock::now(), 1});
  { const TraceSpan span(TraceKind::step, "whole"); }
  open.emplace(TraceKind::step, "open");

  EXPECT_EQ(names(stop_trace()), Names{"whole"});
  open.reset();
  EXPECT_TRUE(stop_trace().empty());
}

TEST(Trace, ThreadsRecordOnTheirLanes) {
  constexpr int kThreads = 4, kSpans = 500;
  start_trace();
  {
    std::latch together(kThreads);
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&together, thread] {
        name_trace_lane("thread " + std::to_string(thread));
        together.arrive_and_wait();
        for (int i = 0; i < kSpans; ++i) const TraceSpan span(TraceKind::data, "batch ", i);
      });
    }
  }
  const auto records = stop_trace();

  ASSERT_EQ(records.size(), std::size_t{kThreads * kSpans});
  for (int thread = 0; thread < kThreads; ++thread) {
    int next = 0;
    for (const TraceRecord& record : records) {
      if (record.lane == "thread " + std::to_string(thread)) {
        EXPECT_EQ(record.name, "batch " + std::to_string(next++));
      }
    }
    EXPECT_EQ(next, kSpans);
  }
}

TEST(Trace, KindsHaveTheirNamesInFiles) {
  using enum TraceKind;
  const std::vector<std::pair<TraceKind, std::string>> kinds{{step, "step"},
                                                             {data, "data"},
                                                             {forward, "forward"},
                                                             {backward, "backward"},
                                                             {wait, "wait"},
                                                             {optimizer, "optimizer"},
                                                             {evaluation, "evaluation"},
                                                             {checkpoint, "checkpoint"},
                                                             {communication, "communication"}};
  for (const auto& [kind, name] : kinds) EXPECT_EQ(trace_kind_name(kind), name);
}

TEST(Trace, KeepsTheBytesOfCollectives) {
  start_trace();
  record_trace(
      {TraceKind::communication, "communication: a", "sum", TraceClock::now(), TraceClock::now(), 96});
  const auto records = stop_trace();

  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].bytes, 96);
  EXPECT_EQ(trace_kind_name(records[0].kind), "communication");
}

}  // namespace
}  // namespace cohort
