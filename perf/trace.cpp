#include "trace.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/file.h"

#include "commands.h"
#include "table.h"

namespace cohort::perf {
namespace {

struct TraceOptions {
  std::string file;       ///< trace.json of a run
  std::int64_t step = 0;  ///< 0: all
  std::string picture;    ///< SVG to write; empty: none
  Output output;
};

using Json = nlohmann::json;
using Intervals = std::vector<std::pair<double, double>>;  // in order, apart from each other

constexpr double kTick = 1e-6;  // ms: times are whole nanoseconds

Intervals joined(Intervals intervals) {
  std::sort(intervals.begin(), intervals.end());
  Intervals result;
  for (const auto& [begin, end] : intervals) {
    if (!result.empty() && begin <= result.back().second) {
      result.back().second = std::max(result.back().second, end);
    } else {
      result.emplace_back(begin, end);
    }
  }
  return result;
}

template <class Belongs>
Intervals times_of(const std::vector<Span>& spans, Belongs belongs) {
  Intervals intervals;
  for (const Span& span : spans) {
    if (belongs(span)) intervals.emplace_back(span.begin, span.end);
  }
  return joined(std::move(intervals));
}

double length(const Intervals& intervals) {
  double sum = 0;
  for (const auto& [begin, end] : intervals) sum += end - begin;
  return sum;
}

double common_length(const Intervals& a, const Intervals& b) {
  double sum = 0;
  for (const auto& [begin, end] : a) {
    for (const auto& [other_begin, other_end] : b)
      sum += std::max(0.0, std::min(end, other_end) - std::max(begin, other_begin));
  }
  return sum;
}

void set_depths(std::vector<Span>& spans) {
  std::map<std::string, std::vector<double>> open;  // by lane: ends of the spans around
  for (Span& span : spans) {
    auto& ends = open[span.lane];
    while (!ends.empty() && ends.back() <= span.begin + kTick / 2) ends.pop_back();
    span.depth = ends.size();
    ends.push_back(span.end);
  }
}

std::map<int, std::vector<Span>> spans_by_rank(const Json& trace) {
  std::map<std::pair<int, std::int64_t>, std::string> lanes;
  std::map<int, std::vector<Span>> ranks;
  for (const Json& event : trace.at("traceEvents")) {
    const int rank = event.at("pid");
    const std::int64_t lane = event.at("tid");
    if (event.at("name") == "thread_name") lanes[{rank, lane}] = event.at("args").at("name");
    if (event.at("ph") != "X") continue;
    const double begin = event.at("ts").get<double>() / 1e3, duration = event.at("dur").get<double>() / 1e3;
    const Json arguments = event.value("args", Json::object());
    ranks[rank].push_back({event.at("name"), event.at("cat"), lanes.at({rank, lane}), rank, begin,
                           begin + duration, arguments.value("bytes", std::int64_t{0})});
  }
  for (auto& [rank, spans] : ranks) set_depths(spans);
  return ranks;
}

bool is_step(const Span& span, std::int64_t step) {
  return span.kind == "step" && span.name == fmt::format("step {}", step);
}

std::vector<RankStep> step_of_ranks(const std::map<int, std::vector<Span>>& ranks, std::int64_t step) {
  std::vector<RankStep> result;
  for (const auto& [rank, spans] : ranks) {
    const auto found =
        std::find_if(spans.begin(), spans.end(), [&](const Span& span) { return is_step(span, step); });
    if (found == spans.end()) continue;
    RankStep& chosen = result.emplace_back(RankStep{*found, {}});
    for (Span span : spans) {
      span.begin = std::max(span.begin, found->begin);
      span.end = std::min(span.end, found->end);
      if (span.begin < span.end && span.kind != "step") chosen.spans.push_back(span);
    }
  }
  return result;
}

std::vector<std::int64_t> steps_of(const std::map<int, std::vector<Span>>& ranks) {
  std::set<std::int64_t> steps;
  for (const auto& [rank, spans] : ranks) {
    for (const Span& span : spans) {
      if (span.kind == "step") steps.insert(std::stoll(span.name.substr(span.name.find(' '))));
    }
  }
  return {steps.begin(), steps.end()};
}

void add_step(Table& table, std::int64_t step, const std::vector<RankStep>& ranks) {
  for (const RankStep& rank : ranks) {
    const auto of_kind = [&](const char* kind, bool computes) {
      return times_of(rank.spans, [&](const Span& span) {
        return span.kind == kind && (!computes || span.lane == "compute");
      });
    };
    const Intervals waiting = of_kind("wait", true), communicating = of_kind("communication", false);
    const double time = rank.step.end - rank.step.begin, data = length(of_kind("data", true));
    const double busy = length(communicating), hidden = busy - common_length(communicating, waiting);
    table.add({step, std::int64_t{rank.step.rank}, time, time - data - length(waiting), data, length(waiting),
               busy, hidden, busy > 0 ? 100 * hidden / busy : 0.0});
  }
}

void add_steps(Results& results, const std::map<int, std::vector<Span>>& ranks,
               const std::vector<std::int64_t>& steps) {
  Table& table = results.table("",
                               {"waiting: for other ranks; computing: neither that nor waiting for data; "
                                "communicating: a collective is under way;",
                                "hidden: the part of that during which the rank did not wait"},
                               {{"step", "", 6, 0, Role::key},
                                {"rank", "", 5, 0, Role::key},
                                {"time", "ms", 9, 2},
                                {"computing", "ms", 10, 2},
                                {"data", "ms", 9, 2},
                                {"waiting", "ms", 9, 2},
                                {"communicating", "ms", 14, 2},
                                {"hidden", "ms", 9, 2},
                                {"hidden part", "%", 11}},
                               {{"time", "step", {"time"}}});
  for (const std::int64_t step : steps) add_step(table, step, step_of_ranks(ranks, step));
}

void add_lanes(Results& results, std::int64_t step, const std::vector<RankStep>& ranks) {
  Table& table = results.table("lanes", {fmt::format("of step {}", step)},
                               {{"rank", "", 4, 0, Role::key},
                                {"lane", "", 28, 0, Role::key},
                                {"spans", "", 6},
                                {"busy", "ms", 10, 2},
                                {"sent", "MiB", 9, 2}});
  for (const RankStep& rank : ranks) {
    std::map<std::string, std::pair<std::int64_t, double>> lanes;  // spans, MiB
    for (const Span& span : rank.spans) {
      ++lanes[span.lane].first;
      lanes[span.lane].second += static_cast<double>(span.bytes) / (1 << 20);
    }
    for (const auto& [lane, amount] : lanes) {
      const auto busy =
          times_of(rank.spans, [&](const Span& span) { return span.lane == lane && span.kind != "wait"; });
      table.add({std::int64_t{rank.step.rank}, lane, amount.first, length(busy), amount.second});
    }
  }
}

}  // namespace

std::map<int, std::vector<Span>> read_trace(const std::filesystem::path& file) {
  const std::string content = read_file(file);
  try {
    auto ranks = spans_by_rank(Json::parse(content));
    if (steps_of(ranks).empty()) throw std::runtime_error("there is no step in it");
    return ranks;
  } catch (const std::exception& error) {
    throw DataError({fmt::format("not a trace of training steps: {}", error.what()), file.string(),
                     "give trace.json of a run with train.trace.steps"});
  }
}

namespace {

/// Without ranks. How much of the communication of traced steps was hidden behind computation, and what each
/// lane of the last one did. Throws DataError or UsageError.
ExitCode trace(const TraceOptions& options) {
  const auto ranks = read_trace(options.file);
  std::vector<std::int64_t> steps = steps_of(ranks);
  if (options.step > 0) std::erase_if(steps, [&](std::int64_t step) { return step != options.step; });
  if (steps.empty()) {
    throw UsageError({fmt::format("the trace has no step {}", options.step), options.file,
                      "leave out --step to see which there are"});
  }
  Results results("trace", options.output);
  add_steps(results, ranks, steps);
  const std::vector<RankStep> last = step_of_ranks(ranks, steps.back());
  add_lanes(results, steps.back(), last);
  results.picture(draw_step(last));
  if (!options.picture.empty()) write_file_atomically(options.picture, draw_step(last));
  results.finish();
  return ExitCode::done;
}

}  // namespace

void add_trace(CLI::App& app, Job& job) {
  const auto options = std::make_shared<TraceOptions>();
  CLI::App* command = &add_command(app, {"trace",
                                         "Show what a trace of training steps says of overlap, and draw it",
                                         {"cohort-perf trace runs/x/trace.json --step 12 --svg step.svg"},
                                         endings_alone()});
  command->add_option("file", options->file, "trace.json of a run with train.trace.steps")->required();
  command->add_option("--step", options->step, "only this step; else all, and the last one's lanes");
  command->add_option("--svg", options->picture, "draw the timeline of the step into this file");
  add_output(command, options->output);
  command->callback([options, &job] { job.alone = [options] { return trace(*options); }; });
}

}  // namespace cohort::perf
