// cohort-perf compare: which differences between two results are more than noise.
#include <algorithm>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "commands.h"
#include "statistics.h"
#include "support/json.h"
#include "table.h"

namespace cohort::perf {
namespace {

struct CompareOptions {
  std::string before, after;  ///< files of JSON Lines
  double confidence = 0.95;   ///< of all verdicts together
  double tolerance = 0;       ///< differences up to this part do not count
  bool fail_if_slower = false;
  Output output;
};

/// One case in one file.
struct Series {
  bool lower_is_better = true;
  std::vector<double> runs;     ///< what each run measured
  std::vector<double> samples;  ///< repetitions of the last run
};

struct File {
  std::string name;
  std::vector<std::string> order;        ///< of the cases
  std::map<std::string, Series> series;  ///< by case
  Json facts;                            ///< of the last header
};

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// "collectives all_reduce 65536 f32 in, 2 ranks".
std::string case_of(const Json& header, const Json& row) {
  std::string name = header.at("benchmark").get<std::string>();
  for (const Json& key : header.at("keys")) name += " " + text_of(row.at(key.get<std::string>()));
  return fmt::format("{}, {} ranks", name, header.at("ranks").get<std::int64_t>());
}

void add_row(File& file, const Json& header, const Json& row) {
  const std::vector<double> samples = row.value("samples", std::vector<double>());
  if (!header.contains("measured") || samples.empty()) return;
  const Json& measured = row.at(header.at("measured").get<std::string>());
  const auto is_positive = [](double value) { return value > 0; };
  if (!measured.is_number() || !std::all_of(samples.begin(), samples.end(), is_positive)) return;
  const std::string name = case_of(header, row);
  if (!file.series.contains(name)) file.order.push_back(name);
  Series& series = file.series[name];
  series.lower_is_better = header.at("better") == "lower";
  series.runs.push_back(measured.get<double>());
  series.samples = samples;
}

File read(const std::string& name) {
  File file{name, {}, {}, {}};
  std::istringstream lines(read_file(name));
  std::map<std::string, Json> headers;  // by benchmark
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    try {
      if (is_nested_deeply(line)) throw std::runtime_error("brackets in brackets in brackets");
      const Json json = Json::parse(line);
      const std::string benchmark = json.at("benchmark");
      if (json.at("kind") == "header") headers[benchmark] = file.facts = json;
      if (json.at("kind") == "row") add_row(file, headers.at(benchmark), json);
    } catch (const std::exception& error) {
      throw DataError({fmt::format("not a result of cohort-perf: {}", error.what()),
                       fmt::format("{}:{}", name, number), "give what a command printed with --json"});
    }
  }
  return file;
}

std::vector<std::string> common_cases(const File& before, const File& after) {
  std::vector<std::string> cases;
  for (const std::string& name : before.order) {
    if (after.series.contains(name)) cases.push_back(name);
  }
  if (cases.empty()) {
    throw UsageError({"the two results have no case in common", before.name + ", " + after.name,
                      "compare the same command with the same sizes on as many ranks"});
  }
  return cases;
}

bool have_several_runs(const Series& before, const Series& after) {
  return before.runs.size() > 1 && after.runs.size() > 1;
}

/// Several runs of both: what each measured. Else the repetitions within the runs.
Interval ratio_of(const Series& before, const Series& after, double error) {
  return have_several_runs(before, after) ? ratio_interval(before.runs, after.runs, error)
                                          : ratio_interval(before.samples, after.samples, error);
}

enum class Verdict { better, worse, none };

Verdict verdict_of(const Interval& ratio, bool lower_is_better, double tolerance) {
  const bool fell = ratio.high<1 / (1 + tolerance), rose = ratio.low> 1 + tolerance;
  if (!fell && !rose) return Verdict::none;
  return fell == lower_is_better ? Verdict::better : Verdict::worse;
}

std::string word_for(Verdict verdict, bool is_sure) {
  if (verdict == Verdict::none) return "no difference";
  return std::string(verdict == Verdict::better ? "faster" : "slower") + (is_sure ? "" : "?");
}

Table& make_table(Results& results, const CompareOptions& options, std::size_t cases) {
  return results.table(
      "",
      {fmt::format(
           "{} against {}: after over before, with intervals by Welch's t test on logarithms; {:.4g} % "
           "that all {} verdicts",
           options.after, options.before, 100 * options.confidence, cases),
       "are right when nothing changed (Bonferroni). What counts is what each run measured where both files "
       "have several runs, else",
       "(verdict with ?) the repetitions within one, which know nothing of how runs differ from each other"},
      {{"case", "", 52, 0, Role::key},
       {"before", "", 11, 3},
       {"after", "", 11, 3},
       {"runs", "", 7},
       {"ratio", "", 8, 4},
       {"from", "", 8, 4},
       {"to", "", 8, 4},
       {"verdict", "", 14}});
}

void remark_facts(Results& results, const File& before, const File& after) {
  for (const auto& [key, value] : before.facts.items()) {
    const bool counts = key != "date" && key != "command" && key != "keys" && key != "load";
    if (counts && after.facts.contains(key) && after.facts[key] != value)
      results.remark(fmt::format("{}: {} before, {} after", key, text_of(value), text_of(after.facts[key])));
  }
}

/// Without ranks. What two files of results have in common, and which differences are more than noise.
/// ExitCode::bug with fail_if_slower when something is worse. Throws DataError or UsageError.
ExitCode compare(const CompareOptions& options) {
  const File before = read(options.before), after = read(options.after);
  const std::vector<std::string> cases = common_cases(before, after);
  Results results("compare", options.output);
  Table& table = make_table(results, options, cases.size());
  const double error = (1 - options.confidence) / static_cast<double>(cases.size());
  bool is_worse = false;
  for (const std::string& name : cases) {
    const Series &old = before.series.at(name), &now = after.series.at(name);
    const Interval ratio = ratio_of(old, now, error);
    const Verdict verdict = verdict_of(ratio, old.lower_is_better, options.tolerance);
    is_worse = is_worse || verdict == Verdict::worse;
    table.add({name, median(old.runs), median(now.runs),
               fmt::format("{}+{}", old.runs.size(), now.runs.size()), ratio.value, ratio.low, ratio.high,
               word_for(verdict, have_several_runs(old, now))});
  }
  remark_facts(results, before, after);
  results.finish();
  return is_worse && options.fail_if_slower ? ExitCode::bug : ExitCode::done;
}

}  // namespace

void add_compare(CLI::App& app, Job& job) {
  const auto options = std::make_shared<CompareOptions>();
  CLI::App* command = &add_command(
      app, {"compare",
            "Tell whether two results differ by more than their noise",
            {"cohort-perf compare before.jsonl after.jsonl --fail-if-slower"},
            with(endings_alone(),
                 {ExitCode::bug, "something became worse, with --fail-if-slower; or an unexpected error"})});
  command->add_option("BEFORE", options->before, "output of a command with --json; of several runs is better")
      ->required();
  command->add_option("AFTER", options->after, "the same, of another version, machine or option")->required();
  command->add_option("--confidence", options->confidence, "that no verdict is a false alarm")
      ->check(CLI::Range(0.5, 0.999999))
      ->capture_default_str();
  command->add_option("--tolerance", options->tolerance, "0.02: differences up to 2 % do not count")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  command->add_flag("--fail-if-slower", options->fail_if_slower, "exit code 1 when something became worse");
  add_output(command, options->output);
  command->callback([options, &job] { job.alone = [options] { return compare(*options); }; });
}

}  // namespace cohort::perf
