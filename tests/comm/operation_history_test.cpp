#include "comm/operation_history.h"

#include <thread>

#include <gtest/gtest.h>

#include "cohort/comm/flight_recorder.h"

#include "comm/rank_status.h"

namespace cohort::comm {
namespace {

TEST(OperationHistory, KnowsTheLastOperationsAndTheirStates) {
  const auto history = open_history("test", 1, {0});
  set_activity(17, "backward");
  constexpr std::int64_t kOperations = OperationHistory::kKept + 2;
  for (std::int64_t i = 1; i <= kOperations; ++i) ASSERT_EQ(history->submit("all_reduce f32", 4 * i), i);
  for (std::int64_t i = 1; i < kOperations; ++i) {
    history->begin(i);
    history->end(i);
  }

  EXPECT_EQ(history->find(2).sequence, 0) << "overwritten";
  EXPECT_EQ(history->find(kOperations + 1).sequence, 0) << "not there yet";
  const OperationRecord last = history->current();
  EXPECT_EQ(last.sequence, kOperations);
  EXPECT_EQ(last.bytes, 4 * kOperations);
  EXPECT_EQ(last.step, 17);
  EXPECT_EQ(last.operation.text(), "all_reduce f32");
  EXPECT_NE(last.submitted, 0);
  EXPECT_EQ(last.began, 0);
  EXPECT_NE(history->find(kOperations - 1).ended, 0);
  EXPECT_NE(describe(status_now()).find("step 17, backward"), std::string::npos);
}

TEST(OperationHistory, FingerprintsTellSchedulesApart) {
  const auto fingerprint = [](std::initializer_list<std::pair<const char*, std::int64_t>> operations) {
    const auto history = open_history("test", 1, {0});
    for (const auto& [operation, bytes] : operations) history->submit(operation, bytes);
    return history->find(history->submitted()).fingerprint;
  };
  const auto usual = fingerprint({{"barrier", 0}, {"all_reduce f32", 40}});
  EXPECT_EQ(fingerprint({{"barrier", 0}, {"all_reduce f32", 40}}), usual);
  EXPECT_NE(fingerprint({{"barrier", 0}, {"all_reduce f32", 44}}), usual);
  EXPECT_NE(fingerprint({{"barrier", 0}, {"all_reduce f64", 40}}), usual);
  EXPECT_NE(fingerprint({{"all_reduce f32", 40}, {"barrier", 0}}), usual);
  EXPECT_NE(fingerprint({{"broadcast", 0}, {"all_reduce f32", 40}}), usual);
}

// Every operation has as many bytes as its number says: a record that mixes two would not.
TEST(OperationHistory, ReadersSeeWholeRecordsWhileOthersAreWritten) {
  const auto history = open_history("test", 1, {0});
  constexpr std::int64_t kOperations = 200'000;
  std::jthread writer([&] {
    for (std::int64_t i = 1; i <= kOperations; ++i) {
      history->submit(i % 2 == 0 ? "even" : "odd", i);
      history->begin(i);
      history->end(i);
    }
  });
  std::int64_t seen = 0;
  while (seen < kOperations) {
    seen = history->submitted();
    for (std::int64_t sequence = seen; sequence > seen - OperationHistory::kKept; sequence -= 51) {
      const OperationRecord record = history->find(sequence);
      if (record.sequence == 0) continue;
      ASSERT_EQ(record.bytes, sequence);
      ASSERT_EQ(record.operation.text(), sequence % 2 == 0 ? "even" : "odd");
    }
  }
}

}  // namespace
}  // namespace cohort::comm
