#pragma once
#include <filesystem>

#include "cohort/data/dataset.h"
#include "cohort/eval/predict.h"
#include "cohort/eval/table.h"

namespace cohort::eval {

/// HDF5 for other tools, everything in dataset order: /features [N, D] f32, /patch_tokens [N, P, D] f32 and
/// /logits [N, classes] f32 if there are any, /id [N] text, /labels/<name> [N] i32, /context/<key> [N] i32,
/// /context_tokens/<key> [N, D] f32, /logit_classes [classes] text. Labels and contexts are numbers of
/// /label_names/<name> and /context_names/<key>, text, as in dataset.json; columns of the logits are those of
/// `classes`. `attributes` stand at the root. Written beside and renamed into place. One rank calls it.
/// `keys`: the context keys of the model, in order. Throws DataError.
void write_features(const std::filesystem::path& file, const data::Dataset& dataset,
                    const Prediction& prediction, const std::vector<std::string>& keys,
                    const std::vector<std::string>& classes, const TableAttributes& attributes);

}  // namespace cohort::eval
