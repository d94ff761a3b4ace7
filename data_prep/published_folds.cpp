#include "data_prep/published_folds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort::data_prep {
namespace {

using Counts = std::vector<std::int64_t>;

[[noreturn]] void refuse(const std::string& what, std::int64_t folds) {
  throw UsageError({fmt::format("{}, too few for {} folds of scikit-learn", what, folds),
                    "--scikit-learn, --folds", "take fewer folds, or leave out --scikit-learn"});
}

Counts images_of_classes(const Divisible& images) {
  Counts counts(images.class_count(), 0);
  for (std::int64_t i = 0; i < images.ids.size(); ++i) {
    if (images.is_chosen(i)) ++counts[images.class_of(i)];
  }
  return counts;
}

/// Numbers of the classes in the order in which they first occur.
std::vector<std::size_t> classes_by_appearance(const Divisible& images) {
  std::vector<bool> seen(images.class_count(), false);
  std::vector<std::size_t> order;
  for (std::int64_t i = 0; i < images.ids.size(); ++i) {
    if (!images.is_chosen(i) || seen[images.class_of(i)]) continue;
    seen[images.class_of(i)] = true;
    order.push_back(images.class_of(i));
  }
  return order;
}

/// Images of each class that each fold takes: the sorted classes are dealt to the folds one by one.
std::vector<Counts> images_to_take(const Counts& of_class, const std::vector<std::size_t>& order,
                                   std::int64_t folds) {
  std::vector<Counts> take(of_class.size(), Counts(static_cast<std::size_t>(folds), 0));
  std::int64_t dealt = 0;
  for (const std::size_t c : order) {
    for (std::int64_t i = 0; i < of_class[c]; ++i) ++take[c][static_cast<std::size_t>(dealt++ % folds)];
  }
  return take;
}

data::PackedIndices stratified_folds(const Divisible& images, std::int64_t folds) {
  const Counts of_class = images_of_classes(images);
  for (std::size_t c = 0; c < of_class.size(); ++c) {
    if (of_class[c] > 0 && of_class[c] < folds)
      refuse(fmt::format("a class has {} images", format_count(of_class[c])), folds);
  }
  std::vector<Counts> left = images_to_take(of_class, classes_by_appearance(images), folds);
  std::vector<std::size_t> fold(of_class.size(), 0);
  data::PackedIndices fold_of(images.ids.size(), -1);
  for (std::int64_t i = 0; i < images.ids.size(); ++i) {
    if (!images.is_chosen(i)) continue;
    const std::size_t c = images.class_of(i);
    while (left[c][fold[c]] == 0) ++fold[c];
    --left[c][fold[c]];
    fold_of.set(i, static_cast<std::int32_t>(fold[c]));
  }
  return fold_of;
}

double deviation(std::span<const double> values) {
  const auto count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / count);
}

/// Over the classes that images have.
double deviation(const Counts& counts, const Counts& of_class) {
  std::vector<double> values;
  for (std::size_t c = 0; c < counts.size(); ++c) {
    if (of_class[c] > 0) values.push_back(static_cast<double>(counts[c]));
  }
  return deviation(values);
}

/// Images of each class in each group, and the groups that have some: by falling deviation of these numbers,
/// of equal ones by name.
struct Groups {
  std::vector<Counts> classes;
  std::vector<std::size_t> order;

  Groups(const Divisible& images, const Counts& of_class)
      : classes(images.group_names.size(), Counts(images.class_count(), 0)) {
    for (std::int64_t i = 0; i < images.ids.size(); ++i) {
      if (images.is_chosen(i)) ++classes[static_cast<std::size_t>(images.groups[i])][images.class_of(i)];
    }
    std::vector<double> spread;
    for (std::size_t g = 0; g < classes.size(); ++g) {
      spread.push_back(deviation(classes[g], of_class));
      if (std::accumulate(classes[g].begin(), classes[g].end(), std::int64_t{0}) > 0) order.push_back(g);
    }
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return images.group_names[a] < images.group_names[b]; });
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return spread[a] > spread[b]; });
  }
};

/// What the folds have so far.
class GroupFolds {
 public:
  GroupFolds(std::int64_t folds, Counts all)
      : all_(std::move(all)), counts_(static_cast<std::size_t>(folds), Counts(all_.size(), 0)) {}

  /// The fold that makes the classes most even over folds; of those as good, by numpy.isclose, the one with
  /// fewest images.
  std::size_t take(const Counts& group) {
    std::size_t best = 0;
    double least = std::numeric_limits<double>::infinity(), fewest = least;
    for (std::size_t fold = 0; fold < counts_.size(); ++fold) {
      const auto images =
          static_cast<double>(std::accumulate(counts_[fold].begin(), counts_[fold].end(), std::int64_t{0}));
      add(fold, group, 1);
      const double value = unevenness();
      add(fold, group, -1);
      const bool is_close = std::isfinite(least) && std::abs(value - least) <= 1e-8 + 1e-5 * std::abs(least);
      if (value >= least && !(is_close && images < fewest)) continue;
      best = fold;
      least = value;
      fewest = images;
    }
    add(best, group, 1);
    return best;
  }

 private:
  void add(std::size_t fold, const Counts& group, std::int64_t sign) {
    for (std::size_t c = 0; c < group.size(); ++c) counts_[fold][c] += sign * group[c];
  }

  /// The mean over classes of the deviation over folds of the share of a class.
  [[nodiscard]] double unevenness() const {
    double sum = 0;
    std::int64_t classes = 0;
    std::vector<double> shares(counts_.size());
    for (std::size_t c = 0; c < all_.size(); ++c) {
      if (all_[c] == 0) continue;
      for (std::size_t fold = 0; fold < counts_.size(); ++fold)
        shares[fold] = static_cast<double>(counts_[fold][c]) / static_cast<double>(all_[c]);
      sum += deviation(shares);
      ++classes;
    }
    return sum / static_cast<double>(classes);
  }

  Counts all_;
  std::vector<Counts> counts_;
};

data::PackedIndices grouped_folds(const Divisible& images, std::int64_t folds) {
  const Counts of_class = images_of_classes(images);
  const Groups groups(images, of_class);
  if (std::ssize(groups.order) < folds)
    refuse(fmt::format("there are {} values of '{}'", groups.order.size(), images.group), folds);
  GroupFolds dealt(folds, of_class);
  std::vector<std::int32_t> fold_of_group(groups.classes.size(), -1);
  for (const std::size_t g : groups.order)
    fold_of_group[g] = static_cast<std::int32_t>(dealt.take(groups.classes[g]));
  data::PackedIndices fold_of(images.ids.size(), -1);
  for (std::int64_t i = 0; i < images.ids.size(); ++i) {
    if (images.is_chosen(i)) fold_of.set(i, fold_of_group[static_cast<std::size_t>(images.groups[i])]);
  }
  return fold_of;
}

}  // namespace

data::PackedIndices scikit_learn_folds(const Divisible& images, std::int64_t folds) {
  COHORT_CHECK(images.classes.size() > 0, "folds of scikit-learn go by classes");
  return images.group.empty() ? stratified_folds(images, folds) : grouped_folds(images, folds);
}

}  // namespace cohort::data_prep
