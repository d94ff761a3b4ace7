#pragma once
#include "cohort/data/batch.h"
#include "cohort/eval/explain.h"
#include "cohort/nn/explainer.h"

#include "eval/asked_groups.h"

namespace cohort::eval {

/// Maps of those images of a group that are asked for; saliency is not scaled. `batch`: the whole group. The
/// memory that it takes beside that of a forward pass is that of 32 images.
Explanation explain_group(nn::Encoder& model, const data::Batch& batch, const AskedGroup& group,
                          const nn::ExplainerConfig& how);

}  // namespace cohort::eval
