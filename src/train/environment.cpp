#include "train/environment.h"

#include <set>

#include <ATen/Parallel.h>

#include "cohort/core/host.h"

#include "support/json.h"
#include "train/slurm_job.h"

namespace cohort::train {
namespace {

std::size_t count_hosts(comm::Communicator& ranks) {
  const auto names = ranks.gather_texts(host_name());
  return std::set<std::string>(names.begin(), names.end()).size();
}

}  // namespace

std::string start_json(const RunConfig& config, const std::string& device, std::int64_t step,
                       std::int64_t total_steps, comm::Communicator& ranks) {
  Json line{{"kind", "start"},
            {"step", step},
            {"total_steps", total_steps},
            {"time", utc_time()},
            {"version", COHORT_VERSION},
            {"ranks", ranks.size()},
            {"hosts", count_hosts(ranks)},
            {"threads", at::get_num_threads()},
            {"device", device},
            {"precision", std::string(config::enum_name(config.precision))},
            {"sharding", std::string(config::enum_name(config.sharding.strategy))},
            {"processor", processor_name()}};
  if (const std::string job = slurm_job(); !job.empty()) line["job"] = job;
  return line.dump();
}

std::string stop_json(std::int64_t step, const std::string& reason) {
  return Json{{"kind", "stop"}, {"step", step}, {"time", utc_time()}, {"reason", reason}}.dump();
}

}  // namespace cohort::train
