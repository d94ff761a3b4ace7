#pragma once
#include <memory>
#include <string>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/method/conditions.h"
#include "cohort/method/registry.h"
#include "cohort/nn/projection_head.h"

namespace cohort::method {

/// What methods that compare two views of an image ask of a run.
inline Traits traits_of_two_views(const config::Options& /*options*/) {
  return {.views = 2, .takes_crops = true, .most_views = 2};
}

inline Part part_of(const std::string& name, const std::shared_ptr<nn::ProjectedEncoder>& model,
                    const std::string& follows = "") {
  return {.name = name,
          .model = model,
          .role = follows.empty() ? Part::Role::trained : Part::Role::follows,
          .follows = follows};
}

inline NamedEncoder encoder_of(const std::string& part, const nn::ProjectedEncoder& model) {
  return {.name = part, .encoder = model.backbone(), .part = part};
}

/// conditions() of one view, as a pass of its own.
inline nn::Conditions conditions_of_view(const data::Batch& batch, const Step& step, nn::Scope scope,
                                         std::int64_t view) {
  nn::Conditions seen = conditions(batch, step, scope, view, 1, /*training=*/true);
  seen.pass = view;
  return seen;
}

/// Throws UsageError when batch normalisation goes over one image, whose variance is none.
inline void check_images_of_norm(nn::HeadNorm norm, const std::string& method, const Surroundings& run,
                                 const std::string& where) {
  if (norm != nn::HeadNorm::group || run.images_per_group > 1) return;
  throw UsageError({fmt::format("{}.batch_norm=group needs two images of a group or more", method), where,
                    fmt::format("set sampler.images_per_group=2 or more, or {}.batch_norm=none", method)});
}

/// Throws UsageError when batch normalisation goes over images that are not all there at once.
inline void check_head_norm(nn::HeadNorm norm, const std::string& method, const Surroundings& run,
                            const std::string& where) {
  if (norm != nn::HeadNorm::all || !run.divides_steps()) return;
  throw UsageError(
      {fmt::format("{}.batch_norm=all needs all images of a step at once, but {}", method, run.why_divided()),
       where, fmt::format("set {}.batch_norm=group or none", method)});
}

}  // namespace cohort::method
