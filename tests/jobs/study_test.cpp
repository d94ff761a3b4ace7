// Which runs a study has.
#include "jobs/study.h"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

namespace cohort::jobs {
namespace {

using Texts = std::vector<std::string>;

Study small_study() {
  Study study;
  study.encoders = {{"plain", "/runs/plain", ""}, {"random", "random", ""}};
  study.tasks = {{"cells", "val/accuracy", "test/accuracy", 7}};
  study.modes = {StudyMode::frozen, StudyMode::probe};
  study.runs = 2;
  return study;
}

Texts names(const Study& study, const std::vector<StudyCell>& cells) {
  Texts found;
  for (const StudyCell& cell : cells) found.push_back(cell_name(study, cell));
  return found;
}

TEST(Study, HasEveryEncoderOnEveryTaskInEveryModeWithEverySeed) {
  const Study study = small_study();
  EXPECT_TRUE(search_cells(study).empty());
  EXPECT_EQ(names(study, run_cells(study)),
            (Texts{"cells/plain/frozen/seed=7", "cells/plain/frozen/seed=8", "cells/plain/probe/seed=7",
                   "cells/plain/probe/seed=8", "cells/random/frozen/seed=7", "cells/random/frozen/seed=8"}));
}

// The run of the search with the chosen rate is the first run.
TEST(Study, ASearchIsTheFirstRunOfEachRate) {
  Study study = small_study();
  study.rates = {"1e-3", "3e-4"};
  study.encoders.pop_back();
  EXPECT_EQ(names(study, search_cells(study)),
            (Texts{"cells/plain/frozen/lr=1e-3", "cells/plain/frozen/lr=3e-4"}));
  EXPECT_EQ(names(study, run_cells(study)),
            (Texts{"cells/plain/frozen/seed=8", "cells/plain/probe/seed=7", "cells/plain/probe/seed=8"}));
}

TEST(Study, EveryFoldHasEverySeed) {
  Study study = small_study();
  study.folds = 3;
  study.rates = {"1e-3"};
  study.modes = {StudyMode::finetuned};
  study.encoders.pop_back();
  const Texts runs = names(study, run_cells(study));
  EXPECT_EQ(runs.size(), 5U);  // 3 folds, 2 seeds, of which the search has one
  EXPECT_EQ(runs.front(), "cells/plain/finetuned/seed=8,fold=0");
  EXPECT_EQ(runs.back(), "cells/plain/finetuned/seed=8,fold=2");
  EXPECT_EQ(search_cells(study).front().fold, 0);
}

TEST(Study, CellsAreFoundByName) {
  Study study = small_study();
  study.rates = {"1e-3", "3e-4"};
  study.folds = 4;
  std::set<std::string> seen;
  for (const auto& cells : {search_cells(study), run_cells(study)}) {
    for (const std::string& name : names(study, cells)) {
      EXPECT_TRUE(seen.insert(name).second) << name;
      EXPECT_EQ(cell_name(study, cell_named(study, name)), name);
    }
  }
  EXPECT_THROW(cell_named(study, "cells/plain/frozen/seed=99"), UsageError);
}

TEST(Study, IsReadBackAsItWasWritten) {
  Study study = small_study();
  study.rates = {"1e-3"};
  study.folds = 5;
  study.fold_by = "patient";
  study.set = {"train.epochs=3"};
  study.tasks[0].seed = ~std::uint64_t{0};
  const std::string text = study_json(study);
  EXPECT_EQ(study_json(study_of_json(text, "study.json")), text);
  EXPECT_THROW(study_of_json("{}", "study.json"), DataError);
  EXPECT_THROW(study_of_json("nothing", "study.json"), DataError);
}

TEST(Study, SaysThatRandomIsAnEncoder) {
  EXPECT_EQ(mode_named("probe"), StudyMode::probe);
  for (const auto& [name, advice] : {std::pair<std::string, std::string>{"random", "--from random"},
                                     {"frosen", "did you mean 'frozen'?"}}) {
    try {
      (void)mode_named(name);
      FAIL() << name;
    } catch (const UsageError& error) {
      EXPECT_NE(error.text().fix.find(advice), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace cohort::jobs
