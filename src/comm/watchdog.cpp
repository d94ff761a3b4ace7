#include "comm/watchdog.h"

#include <algorithm>
#include <array>
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
#include "comm/fatal_signals.h"

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
constexpr auto kAskingGrace = 2s;  // for answers
constexpr auto kJudgesGrace = 4s;  // for judges, who ask themselves
constexpr int kSpeakerOnStillness = 0;

enum Tag {
  kBeat = 1,
  kQuestion,
  kAnswer,
  kSurvey,
  kSurveyed,
  kClaim,
  kClaimForJudge,
  kVerdict,
  kStill,
  kHistoryQuestion,
  kHistory
};

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
  Wait wait;  // of a question and its answer; of beats and the like only the communicator and the number
  std::uint64_t fingerprint = 0;  // of a beat
  std::int64_t value = 0;         // of a verdict: the lowest other claimant, or -1; of kStill: whether it is
  double age = 0.0;               // of a verdict: seconds since somebody claimed first
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

struct Watchdog::SurveyMessage {
  Wait wait;
  bool is_known = false;  // to the judge
  Absentees absent;
};

/// The members of a communicator being asked for all who want to know.
struct Watchdog::Survey {
  Wait wait;
  std::vector<int> members;
  std::vector<std::optional<Answer>> answers;
  Clock::time_point until;
  std::vector<std::pair<int, Wait>> askers;
};

struct Watchdog::Sent {
  std::vector<std::byte> bytes;
  MPI_Request request = MPI_REQUEST_NULL;
};

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
      known_(static_cast<std::size_t>(size_)),
      still_ranks_(static_cast<std::size_t>(size_)) {
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
    Standstill standstill;
    while (!stop.stop_requested()) {
      pause();
      look_around(standstill);
    }
  } catch (const RankError&) {
    neighbour_ = {};
  }
}

void Watchdog::look_around(Standstill& standstill) {
  bool report = false, all_still = false;
  std::string divergence;
  {
    const std::lock_guard lock(mutex_);
    receive();
    end_surveys();
    forget_sent();
    if (Clock::now() >= next_beat_) {
      beat();
      tell_whether_still(standstill.look() > operation_timeout());
    }
    all_still = std::find(still_ranks_.begin(), still_ranks_.end(), false) == still_ranks_.end();
    report = std::exchange(report_due_, false);
    divergence = divergence_;
  }
  if (!divergence.empty()) end_job(describe(std::make_exception_ptr(Bug(divergence))));
  if (report) report_for_others();
  if (all_still) end_still_job();
}

// At once with addresses, as others may end this process within the second that lines of code take to be
// found.
void Watchdog::report_for_others() {
  const Stack stack = stack_of_main_thread();
  comm::report_for_others(addresses_of(stack));
  if (is_naming_.exchange(true)) return;
  naming_ = std::jthread([this, stack] {
    comm::report_for_others(places_of(stack));
    is_naming_ = false;
  });
}

void Watchdog::tell_whether_still(bool is_still) {
  if (is_still == std::exchange(is_still_, is_still)) return;
  Message message;
  message.value = is_still ? 1 : 0;
  send(message, kSpeakerOnStillness, kStill);
}

// Nobody waits for anybody, so that no time-out of a collective will end this.
void Watchdog::end_still_job() {
  (void)ask(everybody(), {}, kAskingGrace);
  const RankError error(
      {fmt::format(
           "no rank has done anything for {}: no collective, no new stage, no processor time, nothing "
           "read or written",
           format_duration(operation_timeout())),
       place_of(status_now()),
       "the reports of the ranks show where each of them stands: a file system that does not answer is the "
       "usual reason; if they were to wait, raise comm.timeout"});
  end_job(describe(std::make_exception_ptr(error)));
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
  message.wait.id = history.id();
  message.wait.operation.sequence = last.sequence;
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
    } else if (status.MPI_TAG == kSurveyed) {
      surveyed_.push_back(get(SurveyMessage()));
    } else {
      take(get(Message()), status.MPI_SOURCE, status.MPI_TAG);
    }
  }
}

void Watchdog::take(const Message& message, int from, int tag) {
  switch (tag) {
    case kBeat: {
      if (message.wait.id != 0) return compare(message, from);
      Known& sender = known_[static_cast<std::size_t>(from)];
      sender.heard = message.answer.status;
      sender.heard_at = Clock::now();
      return;
    }
    case kQuestion:
      return answer(message, from);
    case kAnswer:
      return note_answer(message, from);
    case kSurvey:
      return take_part(message, from);
    case kClaimForJudge:
      judge_claim(from);
      [[fallthrough]];
    case kClaim:
      if (from == rank_) return;
      if (!claimed_by_other_) claimed_by_other_ = Clock::now();
      claimed_by_lower_ = claimed_by_lower_ || from < rank_;
      return;
    case kVerdict:
      return take_verdict(message);
    case kStill:
      still_ranks_[static_cast<std::size_t>(from)] = message.value != 0;
      return;
    default:
      return send_history(message.wait.id, from);
  }
}

void Watchdog::note_answer(const Message& message, int from) {
  Known& sender = known_[static_cast<std::size_t>(from)];
  sender.answered = true;
  sender.answer = message.answer;
  for (const auto& survey : surveys_) {
    const auto member = std::find(survey->members.begin(), survey->members.end(), from);
    if (survey->wait.is_for_the_same(message.wait) && member != survey->members.end())
      survey->answers[static_cast<std::size_t>(member - survey->members.begin())] = message.answer;
  }
  if (message.neighbour_age < 0) return;
  Known& neighbour = known_[static_cast<std::size_t>((from + size_ - 1) % size_)];
  neighbour.heard = message.neighbour;
  neighbour.heard_at = Clock::now() - std::chrono::duration_cast<Clock::duration>(
                                          std::chrono::duration<double>(message.neighbour_age));
}

void Watchdog::answer(const Message& question, int to) {
  Message message;
  message.wait = question.wait;
  message.answer.status = status_now();
  visit_history(question.wait.id, [&](const OperationHistory& history) {
    const OperationRecord asked = history.find(question.wait.operation.sequence);
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
    if (history.id() != beat.wait.id) return;
    const OperationRecord mine = history.find(beat.wait.operation.sequence);
    if (mine.sequence == 0 || mine.fingerprint == beat.fingerprint) return;
    Message question;
    question.wait.id = beat.wait.id;
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

std::vector<int> Watchdog::everybody() const {
  std::vector<int> ranks(static_cast<std::size_t>(size_));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

std::vector<int> Watchdog::judges_of(const std::vector<int>& members) const {
  std::vector<std::string> hosts;
  for (const int member : members) hosts.push_back(host(member));
  std::vector<int> judges;
  for (const std::size_t at : spread_over_hosts(hosts)) judges.push_back(members[at]);
  return judges;
}

std::vector<std::optional<Answer>> Watchdog::ask(const std::vector<int>& ranks, const Wait& wait,
                                                 std::chrono::milliseconds grace) {
  Message question;
  question.wait = wait;
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

Absentees Watchdog::survey(const Wait& wait, const std::vector<int>& members) {
  std::optional<Absentees> found;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(surveyed_, [&](const SurveyMessage& old) { return old.wait.is_for_the_same(wait); });
    Message request;
    request.wait = wait;
    for (const int judge : judges_of(members)) send(request, judge, kSurvey);
  }
  const auto deadline = Clock::now() + kJudgesGrace;
  for (; !found && Clock::now() < deadline; std::this_thread::sleep_for(2ms)) {
    const std::lock_guard lock(mutex_);
    receive();
    for (const SurveyMessage& told : surveyed_) {
      if (told.is_known && told.wait.is_for_the_same(wait)) found = told.absent;
    }
  }
  // No judge is there any more.
  if (!found) found = absentees(wait, ask(members, wait, kAskingGrace));
  ask_for_the_table(*found, members);
  return *found;
}

/// As many ranks as a table shows, of which the absent ones come first. Silent ones are not waited for again;
/// the rank behind each of them knows what it said last.
void Watchdog::ask_for_the_table(const Absentees& absent, const std::vector<int>& members) {
  std::vector<int> silent, others;
  const auto add = [&](int rank) {
    const auto has = [rank](const std::vector<int>& ranks) {
      return std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
    };
    if (silent.size() + others.size() < kShownRanks && !has(silent) && !has(others)) others.push_back(rank);
  };
  for (std::size_t i = 0; i < absent.named().size() && silent.size() < kShownRanks; ++i) {
    if (absent.is_silent[i]) silent.push_back(members[static_cast<std::size_t>(absent.named()[i])]);
  }
  for (const std::int32_t rank : absent.named()) add(members[static_cast<std::size_t>(rank)]);
  for (const int rank : silent) add((rank + 1) % size_);
  for (const int rank : members) add(rank);
  {
    const std::lock_guard lock(mutex_);
    for (const int rank : silent) {
      known_[static_cast<std::size_t>(rank)].asked = true;
      known_[static_cast<std::size_t>(rank)].answered = false;
    }
  }
  (void)ask(others, {}, kAskingGrace);
}

void Watchdog::take_part(const Message& request, int from) {
  report_due_ = report_due_ || from != rank_;
  const auto same = [&](const auto& survey) { return survey->wait.is_for_the_same(request.wait); };
  auto found = std::find_if(surveys_.begin(), surveys_.end(), same);
  if (found == surveys_.end()) {
    auto survey = std::make_unique<Survey>();
    survey->wait = request.wait;
    survey->until = Clock::now() + kAskingGrace;
    if (request.wait.id == 0) survey->members = everybody();
    visit_history(request.wait.id, [&](const auto& history) { survey->members = history.members(); });
    survey->answers.resize(survey->members.size());
    Message question;
    question.wait = request.wait;
    for (const int member : survey->members) send(question, member, kQuestion);
    found = surveys_.insert(surveys_.end(), std::move(survey));
  }
  (*found)->askers.emplace_back(from, request.wait);
}

void Watchdog::end_surveys() {
  std::erase_if(surveys_, [this](const std::unique_ptr<Survey>& survey) {
    const bool all = std::all_of(survey->answers.begin(), survey->answers.end(),
                                 [](const auto& answer) { return answer.has_value(); });
    if (!all && Clock::now() < survey->until) return false;
    for (const auto& [rank, wait] : survey->askers)
      send(SurveyMessage{wait, !survey->members.empty(), absentees(wait, survey->answers)}, rank, kSurveyed);
    return true;
  });
}

/// Tells a rank that wants to speak who else does, and whoever has believed to be the lowest that it is not.
void Watchdog::judge_claim(int from) {
  if (!lowest_claim_) first_claim_ = Clock::now();
  Message verdict;
  verdict.value = lowest_claim_.value_or(-1);
  verdict.age = std::chrono::duration<double>(Clock::now() - first_claim_).count();
  send(verdict, from, kVerdict);
  if (lowest_claim_ && from < *lowest_claim_) {
    verdict.value = from;
    send(verdict, *lowest_claim_, kVerdict);
  }
  lowest_claim_ = std::min(from, lowest_claim_.value_or(from));
}

void Watchdog::take_verdict(const Message& verdict) {
  has_verdict_ = true;
  if (verdict.value < 0 || verdict.value == rank_) return;
  claimed_by_lower_ = claimed_by_lower_ || verdict.value < rank_ || verdict.age > kClaimTime.count() * 1e-3;
  if (!claimed_by_other_) claimed_by_other_ = Clock::now();
}

void Watchdog::claim_before(const std::vector<int>& ranks, bool asks_for_verdict) {
  const std::lock_guard lock(mutex_);
  for (const int rank : ranks) {
    if (asks_for_verdict || rank != rank_) send(Message(), rank, asks_for_verdict ? kClaimForJudge : kClaim);
  }
}

bool Watchdog::has_verdict() {
  const std::lock_guard lock(mutex_);
  return has_verdict_;
}

/// Listens for others that claim to tell of the failure.
bool Watchdog::is_first_claim(std::chrono::milliseconds time) {
  const auto deadline = Clock::now() + time;
  while (Clock::now() < deadline) {
    std::this_thread::sleep_for(2ms);
    const std::lock_guard lock(mutex_);
    receive();
    if (claimed_by_lower_) return false;
  }
  return true;
}

bool Watchdog::may_speak() {
  {
    const std::lock_guard lock(mutex_);
    receive();
    if (claimed_by_other_ && Clock::now() - *claimed_by_other_ > kClaimTime) return false;
  }
  claim_before(judges_of(everybody()), true);
  if (!is_first_claim(kClaimTime)) return false;
  claim_before(everybody(), false);
  return has_verdict() || is_first_claim(kClaimTime);
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
