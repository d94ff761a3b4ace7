#include "rank_times.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "svg.h"

namespace cohort::report {
namespace {

constexpr std::size_t kMostRanks = 16;

std::vector<std::size_t> busiest_first(const RankTimes& times) {
  const std::vector<double>& busy = times.columns.front().second;
  std::vector<std::size_t> ranks(busy.size());
  std::iota(ranks.begin(), ranks.end(), std::size_t{0});
  std::stable_sort(ranks.begin(), ranks.end(),
                   [&](std::size_t a, std::size_t b) { return busy[a] > busy[b]; });
  ranks.resize(std::min(ranks.size(), kMostRanks));
  return ranks;
}

}  // namespace

std::string rank_times_html(const RankTimes& times) {
  std::string html = "<section class=\"card\"><table><thead><tr><th>rank</th><th class=\"left\">host</th>";
  for (const auto& [name, values] : times.columns) html += fmt::format("<th>{}</th>", name);
  html += "</tr></thead><tbody>\n";
  for (const std::size_t rank : busiest_first(times)) {
    html += fmt::format("<tr><td>{}</td><td class=\"left\">{}</td>", rank, escaped(times.hosts[rank]));
    for (const auto& [name, values] : times.columns)
      html += fmt::format("<td>{:.1f}</td>", 1000 * values[rank]);
    html += "</tr>\n";
  }
  return html +
         fmt::format(
             "</tbody></table></section>\n<p>Milliseconds a step, mean of {} steps up to step {}; busy: all "
             "but waiting for other ranks. The busiest of {} ranks first.</p>\n",
             times.steps, times.step, times.hosts.size());
}

}  // namespace cohort::report
