#include "report.h"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "support/json.h"

namespace cohort::jobs::doctor {
namespace {

const char* name_of(Status status) {
  constexpr std::array kNames{"ok", "warn", "fail"};
  return kNames[static_cast<std::size_t>(status)];
}

bool same_everywhere(const std::vector<Finding>& findings) {
  return std::all_of(findings.begin(), findings.end(), [&](const Finding& finding) {
    return finding.status == findings.front().status && finding.what == findings.front().what;
  });
}

/// The worst rank of a host; of equals the first that has something to say.
struct HostFinding {
  Finding worst;
  std::size_t rank = 0, ranks = 0;
};

std::vector<std::pair<std::string, HostFinding>> by_host(const std::vector<Finding>& findings,
                                                         const std::vector<std::string>& hosts) {
  std::vector<std::pair<std::string, HostFinding>> list;
  for (std::size_t rank = 0; rank < findings.size(); ++rank) {
    auto host =
        std::find_if(list.begin(), list.end(), [&](const auto& entry) { return entry.first == hosts[rank]; });
    if (host == list.end()) host = list.insert(host, {hosts[rank], {findings[rank], rank, 0}});
    HostFinding& known = host->second;
    ++known.ranks;
    const bool says_more = known.worst.what.empty() && findings[rank].status == known.worst.status;
    if (findings[rank].status > known.worst.status || says_more) known = {findings[rank], rank, known.ranks};
  }
  return list;
}

/// "n17 rank 3: 256", or without the rank where the host has one.
std::string told(const std::string& host, const HostFinding& finding) {
  const std::string rank = finding.ranks > 1 ? fmt::format(" rank {}", finding.rank) : "";
  return fmt::format("{}{}: {}", host, rank, finding.worst.what);
}

/// The hosts where all is well as a number, the others by name; of many the first ones.
std::string condensed(const std::vector<std::pair<std::string, HostFinding>>& hosts) {
  constexpr std::size_t kShown = 4;
  std::vector<std::string> parts;
  const auto good = std::count_if(hosts.begin(), hosts.end(),
                                  [](const auto& h) { return h.second.worst.status == Status::ok; });
  if (good > 0) parts.push_back(fmt::format("{} {} ok", good, good == 1 ? "host" : "hosts"));
  for (const auto& [host, finding] : hosts) {
    if (finding.worst.status == Status::ok) continue;
    if (parts.size() > kShown) {
      parts.push_back(fmt::format("{} more", hosts.size() - static_cast<std::size_t>(good) - kShown));
      break;
    }
    parts.push_back(told(host, finding));
  }
  return join(parts, "; ");
}

/// All are well, with different values: that of the first host stands for all.
std::string example(const std::vector<std::pair<std::string, HostFinding>>& hosts) {
  const std::string& first = hosts.front().second.worst.what;
  return hosts.size() == 1 ? first
                           : fmt::format("{} hosts ok; {}: {}", hosts.size(), hosts.front().first, first);
}

}  // namespace

Result summarise(const Check& check, const std::vector<Finding>& findings,
                 const std::vector<std::string>& hosts) {
  const auto worst = std::max_element(findings.begin(), findings.end(),
                                      [](const Finding& a, const Finding& b) { return a.status < b.status; });
  Result result{check.name, check.code, worst->status, worst->what, worst->fix};
  if (same_everywhere(findings)) return result;
  const auto list = by_host(findings, hosts);
  result.what = worst->status == Status::ok ? example(list) : condensed(list);
  return result;
}

std::string text_of(const Result& result) {
  std::string text = fmt::format("{:<4}  {:<14}  {}\n", name_of(result.status), result.name, result.what);
  if (result.status != Status::ok) text += fmt::format("      fix: {}\n", result.fix);
  return text;
}

std::string json_of(const std::vector<Result>& results) {
  Json checks = Json::array();
  Status worst = Status::ok;
  for (const Result& result : results) {
    checks.push_back({{"name", result.name},
                      {"status", name_of(result.status)},
                      {"what", result.what},
                      {"fix", result.fix}});
    worst = std::max(worst, result.status);
  }
  return Json{{"status", name_of(worst)}, {"checks", checks}}.dump(2, ' ', false,
                                                                   Json::error_handler_t::replace) +
         "\n";
}

std::string serialise(const Finding& finding) {
  const Json values{static_cast<int>(finding.status), finding.what, finding.fix};
  return values.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Finding parse_finding(const std::string& text) {
  const Json values = Json::parse(text);
  return {static_cast<Status>(values.at(0).get<int>()), values.at(1), values.at(2)};
}

}  // namespace cohort::jobs::doctor
