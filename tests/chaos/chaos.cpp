// A run on four ranks that one fault after another strikes: ranks killed or stopped, bytes flipped, files
// cut, shards gone, disks full, ranks with another configuration. After each the same command is given again.
// In the end its weights are, bit for bit, those of a run that nobody disturbed.
//   chaos [--faults N] [--seed S] [--table FILE]
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/random.h"

#include "support/faults.h"
#include "support/job.h"
#include "support/temporary_folder.h"

namespace cohort {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int kRanks = 4;
constexpr auto kLimit = 90s;  // nothing may take longer
const fs::path kTests = COHORT_TEST_DATA;

/// What a fault came to.
struct Result {
  int exit_code = 0;
  double seconds = 0.0;  ///< from the fault to the end of the job and of its last rank
  std::string output;
  std::string damage{};  ///< what is wrong besides; empty: nothing
};

/// The run, and the hands that disturb it.
class Victim {
 public:
  Victim(const fs::path& folder, std::int64_t steps, std::uint64_t seed)
      : folder_(folder),
        run_(folder / "run"),
        data_(folder / "data"),
        steps_(steps),
        random({.seed = seed, .purpose = Purpose::synthetic}) {
    fs::copy(kTests / "data" / "nuclei", data_, fs::copy_options::recursive);
  }

  [[nodiscard]] std::string arguments(const fs::path& run) const {
    return fmt::format(
        "{} train {} data.path={} run_dir={} reproducible=true train.max_steps={} checkpoint.every_steps=2 "
        "eval.every_epochs=0 model.dropout=0.1 model.drop_path=0.1 comm.timeout=3s",
        COHORT_PROGRAM, (kTests / ".." / "configs" / "tests" / "nuclei.yaml").string(), data_.string(),
        run.string(), steps_);
  }
  /// `options`: of mpirun.
  [[nodiscard]] std::string command(const std::string& options = "") const {
    return fmt::format("{} -n {} {} {}", COHORT_MPIEXEC, kRanks, options, arguments(run_));
  }

  testing::Job start(const std::string& command) {
    begin_ = Clock::now();
    return {command, folder_ / "output.txt"};
  }
  /// Waits until the run has done `steps` more, and a moment longer. False: it ended before.
  bool let_run(testing::Job& job, std::int64_t steps) {
    const std::int64_t target = steps_done() + steps;
    while (steps_done() < target) {
      if (job.has_ended()) return false;
      std::this_thread::sleep_for(5ms);
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(random.uniform(0.0, 0.08)));
    return true;
  }
  void strike() { begin_ = Clock::now(); }
  Result end_of(testing::Job& job) {
    Result result;
    result.exit_code = job.wait(std::chrono::duration_cast<std::chrono::seconds>(kLimit));
    const auto deadline = Clock::now() + 10s;  // nobody may be left behind
    while (!ranks().empty() && Clock::now() < deadline) std::this_thread::sleep_for(10ms);
    result.seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
    result.output = job.output();
    if (!ranks().empty()) result.damage = fmt::format("{} ranks were left behind", ranks().size());
    for (const pid_t rank : ranks()) kill(rank, SIGKILL);
    return result;
  }

  [[nodiscard]] std::vector<pid_t> ranks() const {
    return testing::processes_of(COHORT_PROGRAM, "run_dir=" + run_.string());
  }
  pid_t some_rank() {
    const std::vector<pid_t> all = ranks();
    return all.empty() ? -1 : all[random.below(all.size())];
  }
  [[nodiscard]] std::int64_t steps_done() const {
    std::ifstream lines(run_ / "metrics.jsonl");
    std::int64_t steps = 0;
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line, nullptr, false);
      if (json.is_object() && json.value("kind", "") == "step") steps = json.value("step", steps);
    }
    return steps;
  }
  /// state.h5 of the newest complete checkpoint; empty: there are fewer than two, and one has to stay.
  [[nodiscard]] fs::path newest_state() const {
    std::vector<fs::path> found;
    if (!fs::exists(run_ / "checkpoints")) return {};
    for (const auto& entry : fs::directory_iterator(run_ / "checkpoints")) {
      if (fs::exists(entry.path() / "meta.json") && fs::is_directory(entry.symlink_status()))
        found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found.size() < 2 ? fs::path() : found.back() / "state.h5";
  }
  fs::path some_shard() {
    std::vector<fs::path> shards;
    for (const auto& entry : fs::directory_iterator(data_)) {
      if (entry.path().filename().string().starts_with("train-")) shards.push_back(entry.path());
    }
    std::sort(shards.begin(), shards.end());
    return shards[random.below(shards.size())];
  }
  /// Puts a shard back as it was.
  void restore(const fs::path& shard) const {
    fs::copy_file(kTests / "data" / "nuclei" / shard.filename(), shard, fs::copy_options::overwrite_existing);
  }
  [[nodiscard]] const fs::path& run() const noexcept { return run_; }
  [[nodiscard]] const fs::path& folder() const noexcept { return folder_; }

 private:
  fs::path folder_, run_, data_;
  std::int64_t steps_;
  Clock::time_point begin_{};

 public:
  RandomStream random;
};

void cut_in_half(const fs::path& file) {
  fs::resize_file(file, fs::file_size(file) / 2);
}

/// The run goes on for a few steps, is struck, and ends.
Result struck(Victim& victim, const std::function<void(testing::Job&)>& strike, const std::string& command) {
  testing::Job job = victim.start(command);
  if (victim.let_run(job, 1 + static_cast<std::int64_t>(victim.random.below(3)))) {
    victim.strike();
    strike(job);
  }
  return victim.end_of(job);
}

/// A damaged checkpoint: the run begins, says so, goes on from the one before and is asked to stop.
Result with_damaged_checkpoint(Victim& victim, const std::function<void(const fs::path&)>& damage) {
  const fs::path state = victim.newest_state();
  if (!state.empty()) damage(state);
  testing::Job job = victim.start(victim.command());
  Result result;
  if (victim.let_run(job, 2)) kill(job.process(), SIGUSR2);
  result = victim.end_of(job);
  if (!state.empty() && result.output.find("damaged") == std::string::npos)
    result.damage = "the damage was not noticed";
  return result;
}

/// The dataset is damaged before the run begins, and whole again afterwards.
Result with_damaged_shard(Victim& victim, const std::function<void(const fs::path&)>& damage) {
  const fs::path shard = victim.some_shard();
  damage(shard);
  testing::Job job = victim.start(victim.command());
  Result result = victim.end_of(job);
  victim.restore(shard);
  if (result.output.find(shard.filename()) == std::string::npos) result.damage = "the shard was not named";
  return result;
}

struct Fault {
  std::string name;
  int exit_code;     ///< that is right
  std::string says;  ///< in the output; empty: nothing particular
  std::function<Result(Victim&)> happen;
};

Result kill_a_rank(Victim& victim) {
  return struck(
      victim, [&](testing::Job&) { kill(victim.some_rank(), SIGKILL); }, victim.command());
}

Result stop_a_rank(Victim& victim) {
  return struck(
      victim, [&](testing::Job&) { kill(victim.some_rank(), SIGSTOP); }, victim.command());
}

Result kill_mpirun(Victim& victim) {
  return struck(
      victim, [](testing::Job& job) { kill(job.process(), SIGKILL); }, victim.command());
}

Result ask_to_stop(Victim& victim) {
  return struck(
      victim, [](testing::Job& job) { kill(job.process(), SIGUSR2); }, victim.command());
}

Result cut_the_metrics(Victim& victim) {
  const fs::path metrics = victim.run() / "metrics.jsonl";
  if (fs::exists(metrics)) std::ofstream(metrics, std::ios::app) << R"({"kind":"step","st)";
  return ask_to_stop(victim);
}

/// From some write to a checkpoint on, every one fails.
Result fill_the_disk(Victim& victim) {
  const std::string fault = fmt::format(
      "-x LD_PRELOAD={} -x COHORT_FAULT_PATH=checkpoints/ -x COHORT_FAULT_CALL=write -x "
      "COHORT_FAULT_ERROR=28 -x "
      "COHORT_FAULT_AT={}",
      COHORT_STORAGE_FAULTS, 1 + victim.random.below(8));
  testing::Job job = victim.start(victim.command(fault));
  return victim.end_of(job);
}

Result give_one_rank_another_configuration(Victim& victim) {
  testing::Job job = victim.start(fmt::format("{0} -n {1} {2} : -n 1 {2} optimizer.lr=0.5", COHORT_MPIEXEC,
                                              kRanks - 1, victim.arguments(victim.run())));
  return victim.end_of(job);
}

const std::vector<Fault>& faults() {
  const auto checkpoint = [](const auto& damage) {
    return [damage](Victim& victim) { return with_damaged_checkpoint(victim, damage); };
  };
  const auto shard = [](const auto& damage) {
    return [damage](Victim& victim) { return with_damaged_shard(victim, damage); };
  };
  const auto remove = [](const fs::path& file) { fs::remove(file); };
  static const std::vector<Fault> all{
      {"a rank is killed", 137, "", kill_a_rank},
      {"a rank is stopped", 5, "rank", stop_a_rank},
      {"mpirun is killed", 137, "", kill_mpirun},
      {"the run is asked to stop", 75, "stopped by", ask_to_stop},
      {"a bit of the newest checkpoint is flipped", 75, "", checkpoint(testing::flip_middle_bit)},
      {"the newest checkpoint is cut", 75, "", checkpoint(cut_in_half)},
      {"a bit of a shard is flipped", 3, "checksum", shard(testing::flip_middle_bit)},
      {"a shard is cut", 3, "", shard(cut_in_half)},
      {"a shard is gone", 3, "", shard(remove)},
      {"the disk is full", 3, "No space left on device", fill_the_disk},
      {"half a line of metrics", 75, "stopped by", cut_the_metrics},
      {"a rank has another configuration", 2, "optimizer.lr", give_one_rank_another_configuration}};
  return all;
}

std::string first_message(const std::string& output) {
  std::size_t begin = output.find("cohort train: ");
  if (begin == std::string::npos) begin = output.find("stopped by");
  if (begin == std::string::npos) begin = output.find("exited on signal");
  if (begin == std::string::npos) return "";
  return output.substr(begin, std::min<std::size_t>(output.find('\n', begin) - begin, 100));
}

bool is_right(const Fault& fault, const Result& result) {
  return result.exit_code == fault.exit_code && result.damage.empty() &&
         result.output.find(fault.says) != std::string::npos;
}

bool has_equal_weights(const fs::path& a, const fs::path& b) {
  const auto other = checkpoint::read_safetensors(b / "weights.safetensors");
  bool equal = true;
  for (const auto& [name, values] : checkpoint::read_safetensors(a / "weights.safetensors").tensors) {
    const at::Tensor* found = other.find(name);
    equal = equal && found != nullptr && at::equal(values, *found);
  }
  return equal;
}

struct Options {
  int faults = 10;
  std::uint64_t seed = 1;
  std::string table;
};

/// Each kind once, then again, in an order that the seed gives.
std::vector<const Fault*> schedule(const Options& options, RandomStream& random) {
  std::vector<const Fault*> order;
  while (std::ssize(order) < options.faults) {
    std::vector<const Fault*> round;
    for (const Fault& fault : faults()) round.push_back(&fault);
    for (std::size_t i = round.size(); i > 1; --i) std::swap(round[i - 1], round[random.below(i)]);
    order.insert(order.end(), round.begin(), round.end());
  }
  order.resize(static_cast<std::size_t>(options.faults));
  return order;
}

/// By kind of fault, each time it struck.
std::string summary_table(const std::map<std::string, std::vector<double>>& all_seconds) {
  std::string table =
      "| fault | strikes | exit code | seconds to the end of the job: median | most |\n| --- | --- | --- | "
      "--- | --- |\n";
  for (const Fault& fault : faults()) {
    const auto found = all_seconds.find(fault.name);
    if (found == all_seconds.end()) continue;
    std::vector<double> seconds = found->second;
    std::sort(seconds.begin(), seconds.end());
    table += fmt::format("| {} | {} | {} | {:.1f} | {:.1f} |\n", fault.name, seconds.size(), fault.exit_code,
                         seconds[seconds.size() / 2], seconds.back());
  }
  return table;
}

int unleash(const Options& options) {
  constexpr std::int64_t kStepsOfAFault = 10;
  const testing::TemporaryFolder folder;
  Victim victim(folder.path(), kStepsOfAFault * (options.faults + 2), options.seed);
  std::string table =
      "| fault | at step | exit code | seconds | message |\n| --- | --- | --- | --- | --- |\n";
  std::map<std::string, std::vector<double>> seconds;
  int wrong = 0;
  for (const Fault* fault : schedule(options, victim.random)) {
    const Result result = fault->happen(victim);
    const bool right = is_right(*fault, result);
    const std::string row =
        fmt::format("| {} | {} | {} | {:.1f} | {} |{}\n", fault->name, victim.steps_done(), result.exit_code,
                    result.seconds, first_message(result.output), right ? "" : " WRONG " + result.damage);
    std::cout << row << std::flush;
    table += row;
    seconds[fault->name].push_back(result.seconds);
    if (!right) std::cout << result.output << std::flush, ++wrong;
  }
  testing::Job last = victim.start(victim.command());
  if (const int code = last.wait(std::chrono::seconds(600)); code != 0) {
    std::cout << last.output() << "the run did not come to its end: exit code " << code << "\n";
    return 1;
  }
  const fs::path calm = folder.path() / "calm";
  testing::Job whole(victim.arguments(calm), folder.path() / "calm.txt");
  if (whole.wait(std::chrono::seconds(600)) != 0) {
    std::cout << whole.output() << "the undisturbed run failed\n";
    return 1;
  }
  const bool equal = has_equal_weights(calm, victim.run());
  const std::string summary =
      fmt::format("{} faults, {} with a wrong outcome; final weights {} those of the undisturbed run\n",
                  options.faults, wrong, equal ? "equal, bit for bit," : "DIFFER from");
  std::cout << summary;
  if (!options.table.empty())
    std::ofstream(options.table) << summary << "\n" << summary_table(seconds) << "\n" << table;
  return wrong == 0 && equal ? 0 : 1;
}

}  // namespace
}  // namespace cohort

int main(int argc, char** argv) {
  cohort::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--faults")
      options.faults = std::stoi(value);
    else if (name == "--seed")
      options.seed = std::stoull(value);
    else if (name == "--table")
      options.table = value;
    else
      return std::cerr << "chaos [--faults N] [--seed S] [--table FILE]\n", 2;
  }
  return cohort::unleash(options);
}
