#include "facts.h"

#include <cstdlib>
#include <set>
#include <thread>
#include <vector>

#include <ATen/Parallel.h>
#include <torch/version.h>

#include "cohort/core/command.h"
#include "cohort/core/file.h"
#include "cohort/core/host.h"

#include "command_line/version.h"

namespace cohort::perf {
namespace {

std::string compiler() {
#ifdef __clang__
  return fmt::format("clang {}.{}", __clang_major__, __clang_minor__);
#else
  return fmt::format("gcc {}.{}", __GNUC__, __GNUC_MINOR__);
#endif
}

/// Processes that wanted to run, mean of the last minute: others than these make times longer.
double load() {
  double minute = 0;
  return getloadavg(&minute, 1) == 1 ? minute : 0;
}

std::string command_line() {
  const std::string text = read_file("/proc/self/cmdline");  // words, each with a zero behind it
  std::vector<std::string> words;
  for (std::size_t begin = 0, end = 0; (end = text.find('\0', begin)) != std::string::npos; begin = end + 1)
    words.push_back(text.substr(begin, end - begin));
  return shell_quoted(words);
}

}  // namespace

Json facts_of_process() {
  return {{"version", COHORT_VERSION},
          {"commit", command_line::commit()},
          {"date", utc_time()},
          {"host", host_name()},
          {"processor", processor_name()},
          {"cores", std::thread::hardware_concurrency()},
          {"load", load()},
          {"ranks", 1},
          {"hosts", 1},
          {"threads", at::get_num_threads()},
          {"compiler", compiler()},
          {"libtorch", TORCH_VERSION},
          {"mpi", command_line::mpi_library()},
          {"command", command_line()}};
}

Json facts_of(comm::Communicator& ranks) {
  Json facts = facts_of_process();
  const auto hosts = ranks.gather_texts(host_name());
  facts["ranks"] = ranks.size();
  facts["hosts"] = std::set<std::string>(hosts.begin(), hosts.end()).size();
  return facts;
}

std::string headline(const std::string& benchmark, const Json& facts) {
  const auto text = [&](const char* key) { return facts.at(key).get<std::string>(); };
  const auto number = [&](const char* key) { return facts.at(key).get<std::int64_t>(); };
  const std::int64_t ranks = number("ranks"), hosts = number("hosts");
  return fmt::format(
      "cohort-perf {} {} ({})  {}  {} rank{} on {}{}, {} threads/rank\n# {}, {} cores, load {:.1f}  {}  "
      "LibTorch "
      "{}  {}",
      benchmark, text("version"), text("commit"), text("date"), ranks, ranks == 1 ? "" : "s", text("host"),
      hosts > 1 ? fmt::format(" and {} more hosts", hosts - 1) : "", number("threads"), text("processor"),
      number("cores"), facts.at("load").get<double>(), text("compiler"), text("libtorch"), text("mpi"));
}

}  // namespace cohort::perf
