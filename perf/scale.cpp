// cohort-perf scale: memory of every command by the number of rows.
#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "cohort/core/command.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"

#include "commands.h"
#include "scale_inputs.h"
#include "table.h"

namespace cohort::perf {
namespace {

struct ScaleOptions {
  std::vector<std::int64_t> rows{100'000, 1'000'000};
  std::int64_t ranks = 4;
  std::vector<std::string> commands;  ///< empty: all
  std::filesystem::path folder = ".";
  std::string launcher = "mpirun";  ///< words before -n
  std::int64_t patience = 7200;     ///< seconds for a command
  Output output;
};

using Words = std::vector<std::string>;

/// The inputs of one size, and what commands make of them.
struct Place {
  std::filesystem::path folder;
  std::int64_t rows;

  [[nodiscard]] std::string path(const std::string& name) const { return (folder / name).string(); }
};

/// A command whose memory is measured.
struct Step {
  std::string name;
  std::vector<std::string> needs;  ///< steps whose output it reads
  std::string program;             ///< cohort or cohort-data
  bool on_ranks;
  std::int64_t datasets;  ///< how many times `rows` it reads
  std::function<Words(const Place&)> words;
  std::function<void(const Place&)> prepare;  ///< makes its input; may be empty
};

/// Shards and tables as small as a thousandth of a real dataset's, whose images are so much larger.
Words conversion(Words words, const Place& place, const std::string& out) {
  words.insert(words.end(), {"--shard-size=256KiB", "--overwrite", "--out", place.path(out)});
  return words;
}

std::vector<Step> conversions() {
  return {
      {"convert manifest",
       {},
       "cohort-data",
       true,
       1,
       [](const Place& at) {
         return conversion({"convert", "manifest", at.path("images.csv"), "--id", "id", "--label", "class",
                            "--context", "context", "--split", "split"},
                           at, "manifest");
       },
       [](const Place& at) { write_manifest(at.folder, at.rows); }},
      {"convert npz",
       {},
       "cohort-data",
       true,
       1,
       [](const Place& at) {
         return conversion({"convert", "npz", at.path("images.npz"), "--images", "x", "--labels", "class",
                            "--contexts", "context"},
                           at, "npz");
       },
       [](const Place& at) { write_npz(at.path("images.npz"), at.rows); }},
      {"synth",
       {},
       "cohort-data",
       true,
       1,
       [](const Place& at) {
         return conversion(
             {"synth", "--size", "8", "--channels", "1", "--contexts", fmt::format("{}", kScaleContexts),
              "--images-per-context", fmt::format("{}", at.rows / kScaleContexts)},
             at, "synth");
       },
       {}},
      {"merge",
       {"convert manifest", "synth"},
       "cohort-data",
       true,
       2,
       [](const Place& at) {
         return conversion({"merge", at.path("manifest"), at.path("synth")}, at, "merge");
       },
       {}},
      {"split",
       {"convert manifest"},
       "cohort-data",
       true,
       1,
       [](const Place& at) {
         return conversion({"split", at.path("manifest"), "--fractions", "train=0.9,test=0.1"}, at, "split");
       },
       {}}};
}

std::vector<Step> readers() {
  const auto on_dataset = [](const char* command) {
    return Step{command,
                {"convert manifest"},
                "cohort-data",
                true,
                1,
                [=](const Place& at) {
                  return Words{command, at.path("manifest")};
                },
                {}};
  };
  return {on_dataset("inspect"), on_dataset("verify")};
}

std::vector<Step> judges() {
  const auto of_run = [](const std::string& command, Words options) {
    return Step{command,
                {"train"},
                "cohort",
                true,
                1,
                [=](const Place& at) {
                  Words words{command, "--run", at.path("run"), "--overwrite"};
                  words.insert(words.end(), options.begin(), options.end());
                  words.push_back("--out=" + at.path(command == "extract" ? "features.h5" : command));
                  return words;
                },
                {}};
  };
  return {{"train",
           {"convert manifest"},
           "cohort",
           true,
           1,
           [](const Place& at) {
             return Words{"train", at.path("run.yaml")};
           },
           [](const Place& at) {
             std::filesystem::remove_all(at.path("run"));
             write_run_config(at.path("run.yaml"), at.path("manifest"), at.path("run"));
           }},
          of_run("eval", {"--split", "train"}),
          of_run("extract", {"--split", "train"}),
          of_run("knn", {"--split", "val"}),
          of_run("probe", {"--split", "val", "--epochs", "1", "--lr", "0.01"}),
          of_run("explain", {"--split", "val"})};
}

/// Of runs with as many lines of metrics as there are rows.
std::vector<Step> readers_of_metrics() {
  const auto lengthen = [](const Place& at) {
    lengthen_metrics(at.path("run"), at.path("long/run"), at.rows);
  };
  return {{"report",
           {"train"},
           "cohort",
           false,
           1,
           [](const Place& at) {
             return Words{"report", at.path("long/run"), "--overwrite", "--out", at.path("report.html")};
           },
           lengthen},
          {"status",
           {"train"},
           "cohort",
           false,
           1,
           [](const Place& at) {
             return Words{"status", at.path("long/run")};
           },
           lengthen}};
}

std::vector<Step> all_steps() {
  std::vector<Step> steps;
  for (const auto list : {conversions, readers, judges, readers_of_metrics}) {
    for (Step& step : list()) steps.push_back(std::move(step));
  }
  return steps;
}

/// Those that were asked for, and what they need, in an order in which they can run.
std::vector<Step> chosen_steps(const ScaleOptions& options) {
  std::vector<Step> steps = all_steps();
  std::set<std::string> wanted(options.commands.begin(), options.commands.end());
  if (wanted.empty()) return steps;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {  // what is needed stands before
    if (wanted.contains(step->name)) wanted.insert(step->needs.begin(), step->needs.end());
  }
  std::erase_if(steps, [&](const Step& step) { return !wanted.contains(step.name); });
  return steps;
}

Words command_of(const Step& step, const Place& place, const ScaleOptions& options) {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  Words words;
  if (step.on_ranks) {
    std::istringstream launcher(options.launcher);
    for (std::string word; launcher >> word;) words.push_back(word);
    words.insert(words.end(), {"-n", fmt::format("{}", options.ranks)});
  }
  words.insert(words.end(), {self.string(), "peak", "--out", place.path("peaks"), "--",
                             (self.parent_path() / step.program).string()});
  const Words own = step.words(place);
  words.insert(words.end(), own.begin(), own.end());
  return words;
}

/// Bytes that ranks held at most.
struct Peak {
  double largest = 0, all = 0;
};

Peak peak_of(const std::filesystem::path& file, std::size_t ranks) {
  Peak peak;
  std::size_t count = 0;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    peak.largest = std::max(peak.largest, std::stod(line));
    peak.all += std::stod(line);
    ++count;
  }
  COHORT_CHECK(count == ranks, "{} ranks of {} told their peak", count, ranks);
  return peak;
}

Peak run(const Step& step, const Place& place, const ScaleOptions& options) {
  if (step.prepare) step.prepare(place);
  std::filesystem::remove(place.path("peaks"));
  const Words words = command_of(step, place, options);
  const CommandResult result = run_command(words, std::chrono::seconds(options.patience));
  if (result.status == 127) {
    throw UsageError({fmt::format("there is no program '{}', which would start the ranks", words.front()),
                      "--launcher", "give mpirun, or srun within a job of Slurm"});
  }
  if (result.status != 0) {
    throw RankError(
        {fmt::format("'{}' with {} rows ended with code {}", step.name, place.rows, result.status),
         shell_quoted(words), "its own words: " + result.errors.substr(0, 2000)});
  }
  return peak_of(place.path("peaks"), step.on_ranks ? static_cast<std::size_t>(options.ranks) : 1);
}

/// By least squares: with two sizes what one row more takes between them.
double slope(const std::map<std::int64_t, Peak>& peaks, double Peak::*value) {
  double rows = 0, bytes = 0, products = 0, squares = 0;
  const auto count = static_cast<double>(peaks.size());
  for (const auto& [size, peak] : peaks)
    rows += static_cast<double>(size) / count, bytes += peak.*value / count;
  for (const auto& [size, peak] : peaks) {
    const double distance = static_cast<double>(size) - rows;
    products += distance * (peak.*value - bytes), squares += distance * distance;
  }
  return products / squares;
}

Table& make_table(Results& results, const ScaleOptions& options) {
  constexpr double kHuge = 1e8;
  return results.table(
      "",
      {fmt::format(
           "most memory resident on a rank, of {} rows and of {}; growth: bytes for each row more, of the "
           "largest rank and of all together;",
           format_count(options.rows.front()), format_count(options.rows.back())),
       fmt::format(
           "at {} rows: what that comes to. Images of 8 x 8 pixels, 100 contexts, 2 classes, ids of 15 "
           "letters; report and status: lines of metrics",
           format_count(static_cast<std::int64_t>(kHuge)))},
      {{"command", "", 18, 0, Role::key},
       {"ranks", "", 5, 0, Role::key},
       {"least rows", "MiB", 10, 1},
       {"most rows", "MiB", 10, 1},
       {"growth", "B/row", 8, 1, Role::lower},
       {"all ranks", "B/row", 9, 1},
       {"at 1e8 rows", "GiB", 11, 1}},
      {{"bytes a row and rank", "", {"growth"}}});
}

void add_line(Table& table, const Step& step, const ScaleOptions& options,
              const std::map<std::int64_t, Peak>& peaks) {
  constexpr double kMiB = 1 << 20, kGiB = 1 << 30, kHuge = 1e8;
  const double growth = slope(peaks, &Peak::largest);
  const double ahead = kHuge - static_cast<double>(peaks.rbegin()->first);
  table.add({step.name, step.on_ranks ? options.ranks : 1, peaks.begin()->second.largest / kMiB,
             peaks.rbegin()->second.largest / kMiB, growth, slope(peaks, &Peak::all),
             (peaks.rbegin()->second.largest + std::max(0.0, growth) * ahead) / kGiB});
}

bool is_chosen(const Step& step, const ScaleOptions& options) {
  return options.commands.empty() ||
         std::find(options.commands.begin(), options.commands.end(), step.name) != options.commands.end();
}

/// Rows are those of 100 contexts alike, so that all steps have as many.
void check_options(ScaleOptions& options) {
  for (std::int64_t& rows : options.rows)
    rows = (rows + kScaleContexts - 1) / kScaleContexts * kScaleContexts;
  std::sort(options.rows.begin(), options.rows.end());
  options.rows.erase(std::unique(options.rows.begin(), options.rows.end()), options.rows.end());
  if (options.rows.size() < 2)
    throw UsageError({"one number of rows shows no growth", "--rows", "give two or more: 100000,1000000"});
}

/// The folder with all inputs and outputs, removed in the end.
class Inputs {
 public:
  /// Throws DataError where there is such a folder already: it may be the user's.
  explicit Inputs(const std::filesystem::path& parent) : folder(parent / "cohort-perf-scale") {
    if (std::filesystem::exists(folder))
      throw DataError({"there is a folder of this name already, and inputs would be removed with it",
                       folder.string(), "remove it, or choose another --dir"});
    make_writable_folder(folder);
  }
  Inputs(const Inputs&) = delete;
  Inputs& operator=(const Inputs&) = delete;
  ~Inputs() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  const std::filesystem::path folder;
};

/// Without ranks: starts them itself. Throws UsageError, DataError, and RankError when a command fails.
ExitCode scale(ScaleOptions options) {
  check_options(options);
  const Inputs inputs(options.folder);
  Results results("scale", options.output);
  Table& table = make_table(results, options);
  for (const Step& step : chosen_steps(options)) {
    std::map<std::int64_t, Peak> peaks;
    for (const std::int64_t rows : options.rows) {
      const Place place{inputs.folder / fmt::format("{}", rows), rows};
      make_writable_folder(place.folder);
      peaks[rows * step.datasets] = run(step, place, options);
    }
    if (is_chosen(step, options)) add_line(table, step, options, peaks);
  }
  results.finish();
  return ExitCode::done;
}

}  // namespace

void add_scale(CLI::App& app, Job& job) {
  const auto options = std::make_shared<ScaleOptions>();
  CLI::App* command = &add_command(
      app, {"scale",
            "Memory of the commands by the number of rows: it starts them itself, on synthetic images",
            {"cohort-perf scale --rows 100000,1000000 --ranks 4",
             "cohort-perf scale --commands inspect,verify --ranks 2 --json"},
            with(endings_alone(), {ExitCode::rank_failed, "a command that is measured failed"})});
  std::vector<std::string> names;
  for (const Step& step : all_steps()) names.push_back(step.name);
  command->add_option("--rows", options->rows, "numbers of rows, rounded up to hundreds: 100000,1000000")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1000, 1'000'000'000))
      ->capture_default_str();
  command->add_option("--ranks", options->ranks, "of the commands that run on several")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--commands", options->commands, "these alone; without it all: " + join(names, ", "))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember(names));
  command->add_option("--dir", options->folder, "folder that all ranks see, for images that are removed")
      ->capture_default_str();
  command
      ->add_option("--launcher", options->launcher,
                   "what starts ranks, before -n N: mpirun with its options, or srun within a Slurm job")
      ->capture_default_str();
  command->add_option("--patience", options->patience, "seconds that a command may take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_output(command, options->output);
  command->callback([options, &job] { job.alone = [options] { return scale(*options); }; });
}

}  // namespace cohort::perf
