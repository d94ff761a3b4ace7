#pragma once
#include <cstdint>
#include <string>

#include "comm/operation_history.h"
#include "comm/short_text.h"

namespace cohort::comm {

/// Where a rank stands with an operation, as it can be sent to others: clocks of hosts differ, so that times
/// are told as durations.
struct OperationStatus {
  enum class State : std::int32_t { none, submitted, under_way, done };
  std::int64_t sequence = 0, bytes = 0;
  State state = State::none;
  double seconds = 0.0;  ///< since that state began
  ShortText<32> operation;
  ShortText<24> communicator;
};

/// What a rank was doing.
struct RankStatus {
  std::int64_t step = 0;
  double stage_seconds = 0.0;
  ShortText<24> stage;
  ShortText<32> blocking_call;  ///< "MPI_Comm_dup"; empty: in none
  OperationStatus last;         ///< operation under way, or the last one, of all communicators
};

OperationStatus status_of(const OperationHistory& history, const OperationRecord& record);
RankStatus status_now();

/// "all_reduce f32 of 40 B (operation 12 of communicator 'world')".
std::string name_of(const OperationStatus& operation);
/// "all_reduce f32 of 40 B (operation 12 of communicator 'world'), done 3.2 s ago".
std::string describe(const OperationStatus& operation);
/// "step 12, forward for 3.1 s; last operation: …, done 3.2 s ago".
std::string describe(const RankStatus& status);
/// "step 12, forward"; "outside of training".
std::string place_of(const RankStatus& status);

}  // namespace cohort::comm
