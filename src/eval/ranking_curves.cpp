#include "eval/ranking_curves.h"

#include <algorithm>
#include <numeric>

namespace cohort::eval {

std::vector<std::size_t> drawn_classes(std::span<const std::int64_t> images) {
  constexpr std::size_t kMostDrawn = 20;
  std::vector<std::size_t> classes(images.size());
  std::iota(classes.begin(), classes.end(), std::size_t{0});
  std::stable_sort(classes.begin(), classes.end(),
                   [&](std::size_t a, std::size_t b) { return images[a] > images[b]; });
  classes.resize(std::min(classes.size(), kMostDrawn));
  std::sort(classes.begin(), classes.end());
  return classes;
}

void add_ranking_curves(const Area& area, const std::string& of, std::vector<Curve>& curves) {
  curves.push_back({"roc", of, "false positive rate", "true positive rate", area.roc});
  curves.push_back({"precision_recall", of, "recall", "precision", area.precision_recall});
}

}  // namespace cohort::eval
