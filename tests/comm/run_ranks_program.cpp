// What run_ranks_test.cpp starts: the argument says what goes wrong.
#include <csignal>
#include <cstdlib>
#include <functional>
#include <map>
#include <new>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <torch/types.h>

#include "cohort/comm/flight_recorder.h"
#include "cohort/comm/session.h"

#include "comm/mpi_call.h"

namespace {

using namespace cohort;
using comm::Communicator;

[[noreturn]] void fail() {
  throw DataError({"shard is damaged", "train-3.h5", "fetch it again"});
}

ExitCode waits_for_rank_one(Communicator& ranks, const std::function<void()>& failure) {
  if (ranks.rank() == 1) failure();
  ranks.barrier();
  return ExitCode::done;
}

ExitCode fails_with_operations_under_way(Communicator& ranks) {
  at::Tensor values = torch::ones({100'000});
  comm::Work work = ranks.all_reduce(values);
  if (ranks.rank() == 1) fail();
  work.wait();
  comm::Work second = ranks.all_reduce(values);
  second.wait();
  return ExitCode::done;
}

ExitCode agrees_with_operations_under_way(Communicator& ranks) {
  Communicator control = ranks.duplicate("control");
  at::Tensor values = torch::ones({100'000});
  comm::Work work = ranks.all_reduce(values);
  together(control, [&] {
    if (ranks.rank() == 1) fail();
  });
  return ExitCode::done;
}

// Rank 1 does something else in step 7; the others wait for it in operation 3 of 'world'.
ExitCode rank_one(Communicator& ranks, const std::function<void()>& what,
                  std::chrono::seconds timeout = std::chrono::seconds(1)) {
  comm::set_activity(7, "backward");
  ranks.barrier();
  comm::Session::set_timeout(timeout);
  if (ranks.rank() == 1) what();
  at::Tensor values = torch::ones({10});
  ranks.all_reduce(values).wait();
  return ExitCode::done;
}

// One collective that is not the same on rank 1; then nothing more, for longer than any test takes.
ExitCode diverges(Communicator& ranks, const std::function<void(bool is_one)>& call) {
  ranks.barrier();
  call(ranks.rank() == 1);
  std::this_thread::sleep_for(std::chrono::minutes(5));
  return ExitCode::done;
}

ExitCode print(int lines) {
  for (int i = 0; i < lines; ++i) fmt::print("line {}\n", i);
  return ExitCode::done;
}

const std::map<std::string, std::function<ExitCode(Communicator&)>> kCases{
    {"computes",
     [](Communicator& ranks) {
       return rank_one(ranks, [] {
         comm::set_activity(7, "forward");
         std::this_thread::sleep_for(std::chrono::minutes(5));
       });
     }},
    {"is_stopped", [](Communicator& ranks) { return rank_one(ranks, [] { std::raise(SIGSTOP); }); }},
    {"is_killed",
     [](Communicator& ranks) {
       return rank_one(
           ranks, [] { std::raise(SIGKILL); }, std::chrono::minutes(5));
     }},
    {"segfaults",
     [](Communicator& ranks) {
       return rank_one(
           ranks, [] { std::raise(SIGSEGV); }, std::chrono::minutes(5));
     }},
    {"aborts",
     [](Communicator& ranks) {
       return rank_one(
           ranks, [] { std::abort(); }, std::chrono::minutes(5));
     }},
    {"does_not_split",
     [](Communicator& ranks) {
       comm::Session::set_timeout(std::chrono::seconds(1));
       MPI_Comm comm = MPI_Comm_f2c(ranks.mpi_handle());
       if (ranks.rank() == 1) std::this_thread::sleep_for(std::chrono::minutes(5));
       (void)comm::duplicate_comm(comm);
       return ExitCode::done;
     }},
    {"stands_still",
     [](Communicator& ranks) {
       comm::set_activity(7, "data");
       ranks.barrier();
       comm::Session::set_timeout(std::chrono::seconds(1));
       std::this_thread::sleep_for(std::chrono::minutes(5));
       return ExitCode::done;
     }},
    {"one_works_for_longer_than_the_timeout",
     [](Communicator& ranks) {
       ranks.barrier();
       comm::Session::set_timeout(std::chrono::seconds(1));
       const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(3);
       while (std::chrono::steady_clock::now() < end) {
         if (ranks.rank() != 1) std::this_thread::sleep_for(std::chrono::milliseconds(100));
       }
       comm::Session::set_timeout(comm::kDefaultTimeout);
       return ranks.barrier(), ExitCode::done;
     }},
    {"differs_in_size",
     [](Communicator& ranks) {
       return diverges(ranks, [&](bool is_one) {
         at::Tensor values = torch::ones({is_one ? 1000 : 10});
         ranks.broadcast(values).wait();
       });
     }},
    {"differs_in_operation",
     [](Communicator& ranks) {
       return diverges(ranks, [&](bool is_one) {
         at::Tensor values = torch::ones({10});
         ranks.all_reduce(values, is_one ? comm::Reduce::max : comm::Reduce::sum).wait();
       });
     }},
    {"differs_and_waits",
     [](Communicator& ranks) {
       return diverges(ranks, [&](bool is_one) {
         at::Tensor values = torch::ones({100});
         if (is_one) return ranks.barrier();
         ranks.all_reduce(values).wait();
       });
     }},
    {"exchanges",
     [](Communicator& ranks) {
       const at::Tensor values = torch::ones({1 << 20});
       ranks.all_reduce(values).wait();
       COHORT_CHECK(values.eq(ranks.size()).all().item<bool>(), "a wrong sum");
       return ExitCode::done;
     }},
    {"fine", [](Communicator& ranks) { return ranks.barrier(), ExitCode::done; }},
    {"stopped", [](Communicator&) { return ExitCode::stopped; }},
    {"one_throws", [](Communicator& ranks) { return waits_for_rank_one(ranks, fail); }},
    {"one_throws_late", fails_with_operations_under_way},
    {"all_throw", [](Communicator&) -> ExitCode { fail(); }},
    {"all_throw_different",
     [](Communicator& ranks) -> ExitCode {
       throw UsageError({"text " + std::to_string(ranks.rank()), {}, {}});
     }},
    {"agreed",
     [](Communicator& ranks) {
       together(ranks, [&] {
         if (ranks.rank() == 1) fail();
       });
       return ExitCode::done;
     }},
    {"agreed_late", agrees_with_operations_under_way},
    {"agreed_in_a_part",
     [](Communicator& ranks) {
       Communicator part = ranks.split(ranks.rank() == 0 ? 0 : 1, "part");
       together(part, [&] {
         if (ranks.rank() == 1) fail();
       });
       ranks.barrier();
       return ExitCode::done;
     }},
    {"bug",
     [](Communicator& ranks) {
       return waits_for_rank_one(ranks, [] { COHORT_CHECK(1 + 1 == 3, "sum is {}", 2); });
     }},
    {"torch",
     [](Communicator& ranks) {
       return waits_for_rank_one(ranks, [] { torch::zeros({2, 3}).mm(torch::zeros({2, 3})); });
     }},
    {"memory", [](Communicator& ranks) { return waits_for_rank_one(ranks, [] { throw std::bad_alloc(); }); }},
    {"allocates",
     [](Communicator& ranks) {
       return waits_for_rank_one(ranks, [] { torch::empty({std::int64_t{1} << 56}, torch::kByte); });
     }},
    {"prints", [](Communicator&) { return print(1); }},
    {"prints_much", [](Communicator&) { return print(100'000); }},
    {"timeout",
     [](Communicator& ranks) {
       Communicator other = ranks.duplicate("other");
       if (ranks.rank() == 1) return other.barrier(), ExitCode::done;
       comm::Session::set_timeout(std::chrono::seconds(1));
       return ranks.barrier(), ExitCode::done;
     }},
};

}  // namespace

// usage: run_ranks_program CASE [FAILURE_FOLDER]
int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "";
  if (argc > 2) comm::set_failure_folder(argv[2]);
  if (name == "alone_prints") return comm::run_alone("prog", [] { return print(1); });
  if (name == "alone") return comm::run_alone("prog", []() -> ExitCode { fail(); });
  return comm::run_ranks(argc, argv, "prog", [&](Communicator& ranks) { return kCases.at(name)(ranks); });
}
