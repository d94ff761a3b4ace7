#include "study.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "support/json.h"

namespace cohort::jobs {
namespace {

constexpr std::array kModes{StudyMode::frozen, StudyMode::finetuned, StudyMode::probe};

/// Of every group that `takes`, what `add` appends.
template <class Takes, class Add>
std::vector<StudyCell> cells_of(const Study& study, const Takes& takes, const Add& add) {
  std::vector<StudyCell> cells;
  for (const StudyGroup& group : groups_of(study)) {
    if (takes(group)) add(group, cells);
  }
  return cells;
}

std::optional<std::int64_t> first_fold(const Study& study) {
  return study.folds > 0 ? std::optional(std::int64_t{0}) : std::nullopt;
}

}  // namespace

std::string mode_name(StudyMode mode) {
  switch (mode) {
    case StudyMode::frozen:
      return "frozen";
    case StudyMode::finetuned:
      return "finetuned";
    case StudyMode::probe:
      return "probe";
  }
  return "";
}

StudyMode mode_named(const std::string& name) {
  std::vector<std::string> names;
  for (const StudyMode mode : kModes) {
    if (name == mode_name(mode)) return mode;
    names.push_back(mode_name(mode));
  }
  throw UsageError(
      {fmt::format("'{}' is no mode of a study", name), "--modes",
       name == "random" ? "random values are an encoder: --from random" : did_you_mean(name, names)});
}

std::vector<StudyGroup> groups_of(const Study& study) {
  std::vector<StudyGroup> groups;
  for (std::size_t task = 0; task < study.tasks.size(); ++task) {
    for (std::size_t encoder = 0; encoder < study.encoders.size(); ++encoder) {
      for (const StudyMode mode : study.modes) {
        if (mode != StudyMode::probe || !study.encoders[encoder].is_random())
          groups.push_back({encoder, task, mode});
      }
    }
  }
  return groups;
}

bool searches(const Study& study, const StudyGroup& group) {
  return !study.rates.empty() && group.mode != StudyMode::probe;
}

std::vector<StudyCell> search_cells(const Study& study) {
  return cells_of(
      study, [&](const StudyGroup& group) { return searches(study, group); },
      [&](const StudyGroup& group, std::vector<StudyCell>& cells) {
        for (const std::string& rate : study.rates) cells.push_back({group, 0, first_fold(study), rate});
      });
}

std::vector<StudyCell> run_cells(const Study& study) {
  return cells_of(
      study, [](const StudyGroup&) { return true; },
      [&](const StudyGroup& group, std::vector<StudyCell>& cells) {
        for (std::int64_t fold = 0; fold < std::max<std::int64_t>(1, study.folds); ++fold) {
          for (std::int64_t run = 0; run < study.runs; ++run) {
            if (run == 0 && fold == 0 && searches(study, group)) continue;
            cells.push_back({group, run, study.folds > 0 ? std::optional(fold) : std::nullopt, ""});
          }
        }
      });
}

std::string group_name(const Study& study, const StudyGroup& group) {
  return fmt::format("{}/{}/{}", study.tasks[group.task].name, study.encoders[group.encoder].name,
                     mode_name(group.mode));
}

std::string cell_name(const Study& study, const StudyCell& cell) {
  const std::string group = group_name(study, cell.group);
  if (!cell.rate.empty()) return fmt::format("{}/lr={}", group, cell.rate);
  const std::uint64_t seed = study.tasks[cell.group.task].seed + static_cast<std::uint64_t>(cell.run);
  return fmt::format("{}/seed={}{}", group, seed, cell.fold ? fmt::format(",fold={}", *cell.fold) : "");
}

StudyCell cell_named(const Study& study, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& cells : {search_cells(study), run_cells(study)}) {
    for (const StudyCell& cell : cells) {
      names.push_back(cell_name(study, cell));
      if (names.back() == name) return cell;
    }
  }
  throw UsageError({fmt::format("the study has no cell '{}'", name), "--cell", did_you_mean(name, names)});
}

std::string study_json(const Study& study) {
  Json json{{"encoders", Json::array()}, {"tasks", Json::array()}, {"modes", Json::array()}};
  for (const StudyEncoder& encoder : study.encoders)
    json["encoders"].push_back(
        {{"name", encoder.name}, {"from", encoder.from}, {"contexts", encoder.contexts}});
  for (const StudyTask& task : study.tasks)
    json["tasks"].push_back(
        {{"name", task.name}, {"by", task.by}, {"score", task.score}, {"seed", task.seed}});
  for (const StudyMode mode : study.modes) json["modes"].push_back(mode_name(mode));
  json["rates"] = study.rates;
  json["runs"] = study.runs;
  json["folds"] = study.folds;
  json["fold_by"] = study.fold_by;
  json["set"] = study.set;
  return json.dump(2) + "\n";
}

Study study_of_json(const std::string& text, const std::filesystem::path& file) {
  try {
    const Json json = Json::parse(text);
    Study study;
    for (const Json& each : json.at("encoders"))
      study.encoders.push_back({each.at("name"), each.at("from"), each.at("contexts")});
    for (const Json& each : json.at("tasks"))
      study.tasks.push_back({each.at("name"), each.at("by"), each.at("score"), unsigned_of(each.at("seed"))});
    for (const Json& mode : json.at("modes")) study.modes.push_back(mode_named(mode));
    study.rates = json.at("rates").get<std::vector<std::string>>();
    study.runs = integer_of(json.at("runs"));
    study.folds = integer_of(json.at("folds"));
    study.fold_by = json.at("fold_by");
    study.set = json.at("set").get<std::vector<std::string>>();
    return study;
  } catch (const std::exception& error) {  // of the library too, whose texts do not name the file
    throw DataError({fmt::format("not the record of a study: {}", error.what()), file.string(),
                     "restore it, or begin another study: another --out"});
  }
}

}  // namespace cohort::jobs
