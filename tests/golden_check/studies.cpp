// Files of the kinds reports.runs_interval and reports.schedules: what studies of several runs go by.
#include <string>
#include <vector>

#include "cohort/core/runs_interval.h"

#include "checks.h"
#include "train/learning_rate.h"
#include "train/plateau.h"

namespace cohort::golden_check {
namespace {

constexpr Tolerance kRates{0.0, 1e-12};

/// lr[i] is that of the steps before metric[i].
void check_plateau(Comparison& file, const std::string& name, const nlohmann::json& about) {
  train::RunConfig config;
  config.optimizer.lr = about.at("base");
  config.schedule.plateau.patience = about.at("patience");
  config.schedule.plateau.factor = about.at("factor");
  train::Plateau plateau(config.schedule.plateau, 0, about.at("mode") == "min");
  for (std::size_t i = 0; i < about.at("lr").size(); ++i) {
    file.number(name + " " + std::to_string(i), train::learning_rate(config, 0, 1, 1, plateau.reductions()),
                about.at("lr")[i], kRates);
    plateau.note(about.at("metric")[i]);
  }
}

}  // namespace

void check_runs_interval(Comparison& file) {
  const Tolerance tolerance{0.0, file.about().at("tolerance").get<double>()};
  for (const auto& of : file.about().at("cases")) {
    const auto values = of.at("values").get<std::vector<double>>();
    const RunsInterval interval = runs_interval(values);
    file.number("mean", interval.mean, of.at("mean"), tolerance);
    file.number("deviation", interval.deviation, of.at("std"), tolerance);
    file.number("half width", interval.half_width, of.at("half_width"), tolerance);
  }
}

// Of the schedules Cohort has the plateau.
void check_schedules(Comparison& file) {
  for (const auto& [name, about] : file.about().at("cases").items()) {
    if (about.at("kind") == "plateau") check_plateau(file, name, about);
  }
}

}  // namespace cohort::golden_check
