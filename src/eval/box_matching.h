#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cohort/eval/task_config.h"
#include "cohort/method/boxes.h"

namespace cohort::eval {

/// A box that is said to be of a class.
struct ToldBox {
  method::Box box;
  double confidence = 0;
  std::int64_t place = 0;  ///< among the boxes of its image
};

/// What became of it. Bit t of the masks: at overlap number t.
struct MatchedBox {
  static constexpr std::int64_t kWrong = -1, kIgnored = -2;

  double confidence = 0;
  std::int64_t place = 0;
  std::uint64_t matched = 0;    ///< it has a box of its own
  std::uint64_t ignored = 0;    ///< it has none, but a box of unknown class lies there
  std::int64_t found = kWrong;  ///< boxes around its centre that no box before it has found; or one of these
};

/// How boxes are compared.
struct BoxMatching {
  std::vector<double> overlaps;  ///< at most 64
  BoxRule rule = BoxRule::coco;
};

/// Boxes of one class in one image. From the most confident one on (of equal ones the first one), each takes
/// the free one of `labelled` that it overlaps most with, of equal ones the last one, if that is enough;
/// `unknown`: boxes of which no class is known. In the order in which they took.
std::vector<MatchedBox> match_boxes(std::vector<ToldBox> told, std::span<const method::Box> labelled,
                                    std::span<const method::Box> unknown, const BoxMatching& how);

}  // namespace cohort::eval
