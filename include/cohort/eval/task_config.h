#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cohort/config/field.h"

namespace cohort::eval {

/// How boxes are compared, and which of them count.
enum class BoxRule {
  coco,  ///< T.-Y. Lin et al., "Microsoft COCO: Common objects in context", 2014, as pycocotools has it: the
         ///< overlap of areas, at least the threshold; of an image and class the 100 most confident boxes
  plus_one,  ///< sides are one pixel longer than their corners are apart; an overlap above the threshold; all
             ///< boxes
};
std::span<const config::EnumName<BoxRule>> enum_names(BoxRule);

/// What scores of tasks are taken at.
struct TaskConfig {
  double threshold = 0.5;
  double data_range = 0.0;
  double boundary_tolerance = 2.0;
  std::vector<double> iou{0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95};
  BoxRule box_rule = BoxRule::coco;
  std::vector<double> false_positive_rates{0.01};
  std::string mean_by{};
  std::vector<std::int64_t> recall_at{1, 5, 10};

  template <class Visit>
  void fields(Visit& visit) {
    visit("threshold", threshold,
          "probability from which on an answer is yes: of flags, of pixels of one class, and of the class "
          "whose "
          "sensitivity and specificity are told",
          config::Range{0.0, 1.0});
    visit("data_range", data_range,
          "largest minus smallest possible value of images that are restored, for PSNR and SSIM; 0: that of "
          "their "
          "type, 255 or 65535, of fractions 1",
          config::Range{0.0, 1e30});
    visit("boundary_tolerance", boundary_tolerance,
          "pixels that boundaries of masks may lie apart to be counted as found", config::Range{0.0, 100.0});
    visit("iou", iou, "overlaps, intersection over union, that map is the mean over; 60 at most",
          config::Range{0.0, 1.0});
    visit("box_rule", box_rule,
          "coco: overlaps of areas, at least eval.task.iou, of an image and class the 100 most confident "
          "boxes; "
          "plus_one: sides are one pixel longer, overlaps above eval.task.iou, all boxes");
    visit("false_positive_rates", false_positive_rates,
          "of verification: parts of the images to be refused that may be accepted where the true positive "
          "rate is told",
          config::Range{0.0, 1.0});
    visit("mean_by", mean_by,
          "of verification: context key whose images are judged together, by the mean of their scores, such "
          "as the frames of a video; empty: each image by itself");
    visit("recall_at", recall_at,
          "of retrieval: a query has found what belongs to it among so many first ones",
          config::Range{1.0, 1e9});
  }
};

}  // namespace cohort::eval
