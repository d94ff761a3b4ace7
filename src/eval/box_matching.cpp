#include "eval/box_matching.h"

#include <algorithm>
#include <tuple>

namespace cohort::eval {
namespace {

using method::Box;

constexpr std::size_t kMostBoxes = 100;  // of an image and class, as pycocotools has it

std::vector<double> overlaps_of(const Box& told, std::span<const Box> boxes, BoxRule rule) {
  std::vector<double> overlaps;
  for (const Box& box : boxes)
    overlaps.push_back(method::overlap(told, box, rule == BoxRule::plus_one ? 1 : 0));
  return overlaps;
}

bool is_enough(double overlap, double wanted, BoxRule rule) {
  constexpr double kMost = 1 - 1e-10;  // of pycocotools: boxes that are equal but for rounding
  return rule == BoxRule::coco ? overlap >= std::min(wanted, kMost) : overlap > wanted;
}

/// The free box of the largest overlap, by number; none: the number of boxes.
std::size_t best_free(std::span<const double> overlaps, const std::vector<bool>& taken, double wanted,
                      BoxRule rule) {
  std::size_t best = overlaps.size();
  for (std::size_t i = 0; i < overlaps.size(); ++i) {
    if (taken[i] || !is_enough(overlaps[i], wanted, rule)) continue;
    if (best == overlaps.size() || overlaps[i] >= overlaps[best]) best = i;
  }
  return best;
}

bool is_inside(const Box& told, const Box& box) {
  const double x = (told.x0 + told.x1) / 2, y = (told.y0 + told.y1) / 2;
  return x >= box.x0 && x <= box.x1 && y >= box.y0 && y <= box.y1;
}

/// MatchedBox::found.
std::int64_t find_boxes(const Box& told, std::span<const Box> labelled, std::span<const Box> unknown,
                        std::vector<bool>& found) {
  std::int64_t fresh = 0;
  bool is_hit = false;
  for (std::size_t i = 0; i < labelled.size(); ++i) {
    if (!is_inside(told, labelled[i])) continue;
    is_hit = true;
    if (!found[i]) ++fresh;
    found[i] = true;
  }
  if (is_hit) return fresh;
  const bool is_ignored =
      std::any_of(unknown.begin(), unknown.end(), [&](const Box& box) { return is_inside(told, box); });
  return is_ignored ? MatchedBox::kIgnored : MatchedBox::kWrong;
}

void sort_boxes(std::vector<ToldBox>& told) {
  std::sort(told.begin(), told.end(), [](const ToldBox& a, const ToldBox& b) {
    return std::tuple(-a.confidence, a.place) < std::tuple(-b.confidence, b.place);
  });
}

/// Boxes that are taken, [overlaps, boxes].
using Taken = std::vector<std::vector<bool>>;

/// Lets `told` take a box at every overlap.
void take_boxes(const Box& told, std::span<const Box> labelled, std::span<const Box> unknown,
                const BoxMatching& how, Taken& taken, MatchedBox& match) {
  const std::vector<double> overlaps = overlaps_of(told, labelled, how.rule),
                            others = overlaps_of(told, unknown, how.rule);
  const double most = others.empty() ? 0 : *std::max_element(others.begin(), others.end());
  for (std::size_t t = 0; t < how.overlaps.size(); ++t) {
    const double wanted = how.overlaps[t];
    const std::size_t best = best_free(overlaps, taken[t], wanted, how.rule);
    const std::uint64_t bit = std::uint64_t{1} << t;
    if (best < labelled.size()) {
      taken[t][best] = true;
      match.matched |= bit;
    } else if (!others.empty() && is_enough(most, wanted, how.rule)) {
      match.ignored |= bit;
    }
  }
}

}  // namespace

std::vector<MatchedBox> match_boxes(std::vector<ToldBox> told, std::span<const Box> labelled,
                                    std::span<const Box> unknown, const BoxMatching& how) {
  sort_boxes(told);
  if (how.rule == BoxRule::coco) told.resize(std::min(told.size(), kMostBoxes));
  Taken taken(how.overlaps.size(), std::vector<bool>(labelled.size()));
  std::vector<bool> found(labelled.size());
  std::vector<MatchedBox> matched;
  for (const ToldBox& one : told) {
    MatchedBox match{.confidence = one.confidence, .place = one.place};
    take_boxes(one.box, labelled, unknown, how, taken, match);
    match.found = find_boxes(one.box, labelled, unknown, found);
    matched.push_back(match);
  }
  return matched;
}

}  // namespace cohort::eval
