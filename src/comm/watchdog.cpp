#include "comm/watchdog.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <numeric>
#include <poll.h>
#include <span>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/host.h"
#include "cohort/core/text.h"

#include "comm/end_job.h"

namespace cohort::comm {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kPause = 100ms;
constexpr auto kBeatEvery = 1s;
constexpr auto kClaimTime = 250ms;     // how long ranks that see a failure look for others that tell of it
constexpr auto kLauncherTime = 2s;     // in which mpirun ends a job that has lost a rank
constexpr std::size_t kMostSent = 64;  // under way; beats are left out while that many are
constexpr std::size_t kShownRanks = 16;

enum Tag { kBeat = 1, kQuestion, kAnswer, kClaim, kHistoryQuestion, kHistory };

std::atomic<Watchdog*> the_watchdog{nullptr};

/// Where a process is: what another one of the same host needs to watch it.
struct Place {
  ShortText<64> host;
  std::uint64_t process_namespace = 0;
  std::int64_t process = 0;
};

Place place_of_this_process() {
  struct stat status {};
  const bool known = ::stat("/proc/self/ns/pid", &status) == 0;
  return {ShortText<64>(host_name()), known ? status.st_ino : 0, known ? ::getpid() : 0};
}

/// Readable when that process ends; null where the system has no such thing or it runs elsewhere.
FileDescriptor watch_process(const Place& theirs, const Place& mine) {
  const bool is_near =
      theirs.process != 0 && theirs.host == mine.host && theirs.process_namespace == mine.process_namespace;
  if (!is_near) return FileDescriptor();
  return FileDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, theirs.process, 0)));
}

}  // namespace

struct Watchdog::Message {
  std::uint64_t id = 0;  // of a communicator; 0: none
  std::int64_t sequence = 0;
  std::uint64_t fingerprint = 0;  // of a beat
  Answer answer;                  // of a beat only the status
  double neighbour_age = -1.0;    // seconds; below 0: nothing was heard of it
  RankStatus neighbour;           // the rank before the sender
};

struct Watchdog::HistoryMessage {
  struct Entry {
    std::int64_t sequence = 0, bytes = 0;
    std::uint64_t fingerprint = 0;
    ShortText<32> operation;
  };
  std::uint64_t id = 0;
  std::array<Entry, 64> entries;  // the last ones, those that are not there with sequence 0
};

struct Watchdog::Sent {
  std::vector<std::byte> bytes;
  MPI_Request request = MPI_REQUEST_NULL;
};

bool Answer::has_reached(std::int64_t sequence) const noexcept {
  if (ended >= sequence) return true;
  return asked.sequence == sequence && asked.state >= OperationStatus::State::under_way;
}

void Watchdog::start() {
  if (the_watchdog != nullptr || size_of(MPI_COMM_WORLD) == 1) return;
  auto* const watchdog = new Watchdog(duplicate_comm(MPI_COMM_WORLD));
  int key = MPI_KEYVAL_INVALID;
  check_mpi(MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, &Watchdog::stop, &key, nullptr),
            "MPI_Comm_create_keyval");
  // The attributes of this communicator are the first thing that MPI_Finalize deletes.
  check_mpi(MPI_Comm_set_attr(MPI_COMM_SELF, key, watchdog), "MPI_Comm_set_attr");
  the_watchdog = watchdog;
}

Watchdog* Watchdog::instance() noexcept {
  return the_watchdog;
}

int Watchdog::stop(MPI_Comm, int, void* watchdog, void*) {
  the_watchdog = nullptr;
  delete static_cast<Watchdog*>(watchdog);
  return MPI_SUCCESS;
}

Watchdog::Watchdog(MpiComm comm)
    : comm_(std::move(comm)),
      rank_(rank_in(comm_.get())),
      size_(size_of(comm_.get())),
      wake_(::eventfd(0, EFD_CLOEXEC)),
      known_(static_cast<std::size_t>(size_)) {
  gather_hosts();
  thread_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

Watchdog::~Watchdog() {
  thread_.request_stop();
  ::eventfd_write(wake_.get(), 1);
  thread_ = {};
  for (const auto& sent : sent_) {
    if (sent->request != MPI_REQUEST_NULL) MPI_Request_free(&sent->request);
    [[maybe_unused]] static auto& kept = *new std::vector<std::vector<std::byte>>;
    kept.push_back(std::move(sent->bytes));  // MPI may read it until the end
  }
}

void Watchdog::gather_hosts() {
  const Place mine = place_of_this_process();
  std::vector<Place> places(static_cast<std::size_t>(size_));
  constexpr int kBytes = sizeof(Place);
  check_mpi(MPI_Allgather(&mine, kBytes, MPI_BYTE, places.data(), kBytes, MPI_BYTE, comm_.get()),
            "MPI_Allgather");
  for (const Place& place : places) hosts_.emplace_back(place.host.text());
  neighbour_ = watch_process(places[static_cast<std::size_t>((rank_ + size_ - 1) % size_)], mine);
}

// An error of MPI means that another rank is lost: whoever waits for it will tell.
void Watchdog::watch(const std::stop_token& stop) {
  try {
    while (!stop.stop_requested()) {
      pause();
      look_around();
    }
  } catch (const RankError&) {
    neighbour_ = {};
  }
}

void Watchdog::look_around() {
  bool report = false;
  std::string divergence;
  {
    const std::lock_guard lock(mutex_);
    receive();
    forget_sent();
    if (Clock::now() >= next_beat_) beat();
    report = std::exchange(report_due_, false);
    divergence = divergence_;
  }
  if (!divergence.empty()) end_job(describe(std::make_exception_ptr(Bug(divergence))));
  if (report) report_for_others();
}

void Watchdog::pause() {
  std::array<pollfd, 2> events{{{wake_.get(), POLLIN, 0}, {neighbour_.get(), POLLIN, 0}}};
  ::poll(events.data(), neighbour_ ? 2 : 1, static_cast<int>(kPause.count()));
  if (events[1].revents != 0) tell_of_neighbour();
}

// mpirun ends the job as well, but does not know what the dead rank was doing.
void Watchdog::tell_of_neighbour() {
  neighbour_ = {};
  std::string last = "nothing was heard of it";
  const int dead = (rank_ + size_ - 1) % size_;
  {
    const std::lock_guard lock(mutex_);
    receive();
    if (claimed_by_other_) return;  // it ended the job itself
    const Known& known = known_[static_cast<std::size_t>(dead)];
    if (known.heard)
      last = fmt::format("{} earlier: {}", format_duration(Clock::now() - known.heard_at),
                         describe(*known.heard));
  }
  const RankError error({fmt::format("rank {} of {} on {} has died", dead, size_, host(dead)), last,
                         "look for its last messages; killed by signal 9 often means out of memory"});
  end_job(describe(std::make_exception_ptr(error)), kLauncherTime);
}

template <class T>
void Watchdog::send(const T& message, int to, int tag) {
  const auto bytes = std::as_bytes(std::span(&message, 1));
  auto& sent = sent_.emplace_back(std::make_unique<Sent>());
  sent->bytes.assign(bytes.begin(), bytes.end());
  check_mpi(MPI_Isend(sent->bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, to, tag, comm_.get(),
                      &sent->request),
            "MPI_Isend");
}

void Watchdog::forget_sent() {
  std::erase_if(sent_, [](const std::unique_ptr<Sent>& sent) {
    int complete = 0;
    MPI_Test(&sent->request, &complete, MPI_STATUS_IGNORE);
    return complete != 0;
  });
}

void Watchdog::beat() {
  next_beat_ = Clock::now() + kBeatEvery;
  if (sent_.size() > kMostSent) return;
  Message message;
  message.answer.status = status_now();
  send(message, (rank_ + 1) % size_, kBeat);
  for_each_history([this](const OperationHistory& history) { beat(history); });
}

// Whenever two ranks of a communicator differ, some rank differs from the one before it.
void Watchdog::beat(const OperationHistory& history) {
  const std::vector<int>& members = history.members();
  const OperationRecord last = history.find(history.submitted());
  const auto mine = std::find(members.begin(), members.end(), rank_);
  if (last.sequence == 0 || members.size() < 2 || mine == members.end()) return;
  Message message;
  message.id = history.id();
  message.sequence = last.sequence;
  message.fingerprint = last.fingerprint;
  send(message, mine + 1 == members.end() ? members.front() : mine[1], kBeat);
}

void Watchdog::receive() {
  while (true) {
    int found = 0;
    MPI_Status status;
    check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_.get(), &found, &status), "MPI_Iprobe");
    if (found == 0) return;
    const auto get = [&](auto message) {
      check_mpi(MPI_Recv(&message, sizeof message, MPI_BYTE, status.MPI_SOURCE, status.MPI_TAG, comm_.get(),
                         MPI_STATUS_IGNORE),
                "MPI_Recv");
      return message;
    };
    if (status.MPI_TAG == kHistory) {
      take_history(get(HistoryMessage()), status.MPI_SOURCE);
    } else {
      take(get(Message()), status.MPI_SOURCE, status.MPI_TAG);
    }
  }
}

void Watchdog::take(const Message& message, int from, int tag) {
  Known& sender = known_[static_cast<std::size_t>(from)];
  switch (tag) {
    case kBeat:
      if (message.id != 0) return compare(message, from);
      sender.heard = message.answer.status;
      sender.heard_at = Clock::now();
      return;
    case kQuestion:
      return answer(message, from);
    case kAnswer: {
      sender.answered = true;
      sender.answer = message.answer;
      if (message.neighbour_age < 0) return;
      Known& neighbour = known_[static_cast<std::size_t>((from + size_ - 1) % size_)];
      neighbour.heard = message.neighbour;
      neighbour.heard_at = Clock::now() - std::chrono::duration_cast<Clock::duration>(
                                              std::chrono::duration<double>(message.neighbour_age));
      return;
    }
    case kClaim:
      if (!claimed_by_other_) claimed_by_other_ = Clock::now();
      claimed_by_lower_ = claimed_by_lower_ || from < rank_;
      return;
    default:
      return send_history(message.id, from);
  }
}

void Watchdog::answer(const Message& question, int to) {
  Message message;
  message.answer.status = status_now();
  visit_history(question.id, [&](const OperationHistory& history) {
    const OperationRecord asked = history.find(question.sequence);
    message.answer.asked = status_of(history, asked.sequence != 0 ? asked : history.current());
    message.answer.ended = history.ended();
  });
  const Known& neighbour = known_[static_cast<std::size_t>((rank_ + size_ - 1) % size_)];
  if (neighbour.heard) {
    message.neighbour = *neighbour.heard;
    message.neighbour_age = std::chrono::duration<double>(Clock::now() - neighbour.heard_at).count();
  }
  send(message, to, kAnswer);
  report_due_ = report_due_ || to != rank_;
}

void Watchdog::compare(const Message& beat, int from) {
  for_each_history([&](const OperationHistory& history) {
    if (history.id() != beat.id) return;
    const OperationRecord mine = history.find(beat.sequence);
    if (mine.sequence == 0 || mine.fingerprint == beat.fingerprint) return;
    Message question;
    question.id = beat.id;
    send(question, from, kHistoryQuestion);
  });
}

void Watchdog::send_history(std::uint64_t id, int to) {
  for_each_history([&](const OperationHistory& history) {
    if (history.id() != id) return;
    HistoryMessage message;
    message.id = id;
    std::int64_t sequence = history.submitted();
    for (auto& entry : message.entries) {
      const OperationRecord record = history.find(sequence--);
      entry = {record.sequence, record.bytes, record.fingerprint, record.operation};
    }
    send(message, to, kHistory);
  });
}

void Watchdog::take_history(const HistoryMessage& theirs, int from) {
  for_each_history([&](const OperationHistory& history) {
    if (history.id() != theirs.id) return;
    for (const auto& entry : theirs.entries) {  // the last one first
      const OperationRecord mine = history.find(entry.sequence);
      if (mine.sequence == 0 || mine.fingerprint == entry.fingerprint) continue;
      const bool differs = mine.bytes != entry.bytes || mine.operation != entry.operation;
      divergence_ = fmt::format(
          "ranks called different operations: {} on rank {}{}", name_of(status_of(history, mine)), rank_,
          differs ? fmt::format(", rank {} called {} of {} B", from, entry.operation.text(), entry.bytes)
                  : fmt::format("; rank {} differs from it in an earlier one", from));
    }
  });
}

std::vector<std::optional<Answer>> Watchdog::ask(const std::vector<int>& ranks, std::uint64_t id,
                                                 std::int64_t sequence, std::chrono::milliseconds grace) {
  Message question;
  question.id = id;
  question.sequence = sequence;
  {
    const std::lock_guard lock(mutex_);
    for (const int rank : ranks) {
      Known& asked = known_[static_cast<std::size_t>(rank)];
      asked.asked = true;
      asked.answered = false;
      send(question, rank, kQuestion);  // to this rank too: its watchdog answers like the others
    }
  }
  const auto known = [&](int rank) -> const Known& { return known_[static_cast<std::size_t>(rank)]; };
  const auto deadline = Clock::now() + grace;
  for (bool all = false; !all && Clock::now() < deadline; std::this_thread::sleep_for(2ms)) {
    const std::lock_guard lock(mutex_);
    receive();
    all = std::all_of(ranks.begin(), ranks.end(), [&](int rank) { return known(rank).answered; });
  }
  const std::lock_guard lock(mutex_);
  std::vector<std::optional<Answer>> answers;
  for (const int rank : ranks)
    answers.push_back(known(rank).answered ? std::optional(known(rank).answer) : std::nullopt);
  return answers;
}

std::vector<std::optional<Answer>> Watchdog::ask_all(std::chrono::milliseconds grace) {
  std::vector<int> ranks(static_cast<std::size_t>(size_));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ask(ranks, 0, 0, grace);
}

bool Watchdog::may_speak() {
  {
    const std::lock_guard lock(mutex_);
    receive();
    if (claimed_by_other_ && Clock::now() - *claimed_by_other_ > kClaimTime) return false;
    for (int rank = 0; rank < size_; ++rank) {
      if (rank != rank_) send(Message(), rank, kClaim);
    }
  }
  const auto deadline = Clock::now() + kClaimTime;
  while (Clock::now() < deadline) {
    std::this_thread::sleep_for(2ms);
    const std::lock_guard lock(mutex_);
    receive();
    if (claimed_by_lower_) return false;
  }
  return true;
}

std::string Watchdog::line(int rank) const {
  const Known& known = known_[static_cast<std::size_t>(rank)];
  std::string text = fmt::format("    rank {} on {}: ", rank, host(rank));
  if (known.answered) return text + describe(known.answer.status) + "\n";
  text += "no answer: dead, stopped or unreachable";
  if (known.heard)
    text += fmt::format("; {} ago it said: {}", format_duration(Clock::now() - known.heard_at),
                        describe(*known.heard));
  return text + "\n";
}

std::string Watchdog::table() {
  const std::lock_guard lock(mutex_);
  std::vector<int> ranks;
  for (const bool answered : {false, true}) {
    for (int rank = 0; rank < size_; ++rank) {
      const Known& known = known_[static_cast<std::size_t>(rank)];
      if (known.asked && known.answered == answered) ranks.push_back(rank);
    }
  }
  std::string text = ranks.empty() ? "" : "  ranks:\n";
  for (std::size_t i = 0; i < std::min(ranks.size(), kShownRanks); ++i) text += line(ranks[i]);
  if (ranks.size() > kShownRanks) text += fmt::format("    and {} more\n", ranks.size() - kShownRanks);
  return text;
}

}  // namespace cohort::comm
