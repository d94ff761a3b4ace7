#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "cohort/data/context_sampler.h"

#include "eval/passes.h"

namespace cohort::eval {

/// An evaluation group with images that are asked for: their places in it, and among all that are asked for.
struct AskedGroup {
  data::Group group;
  std::vector<std::int64_t> inside, asked;
};

/// The groups with such images, one after the other, the same on any number of ranks.
class AskedGroups {
 public:
  /// Among the images asked for, those that a row of the dataset is; none: it is not asked for.
  using PlacesOf = std::function<std::vector<std::int64_t>(std::int64_t row)>;

  AskedGroups(Passes passes, PlacesOf places) : passes_(std::move(passes)), places_(std::move(places)) {}
  /// Nothing behind the last one.
  std::optional<AskedGroup> next();

 private:
  Passes passes_;
  PlacesOf places_;
  data::StepPlan pass_;
  std::size_t group_ = 0;
};

/// Those of one rank, which are dealt to ranks in turns.
class DealtGroups {
 public:
  DealtGroups(AskedGroups groups, int rank, int size)
      : groups_(std::move(groups)), rank_(rank), size_(size) {}
  std::optional<AskedGroup> next();

 private:
  AskedGroups groups_;
  std::int64_t number_ = 0;
  int rank_, size_;
};

}  // namespace cohort::eval
