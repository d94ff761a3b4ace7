#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/eval/scores.h"

#include "eval/exact_sum.h"
#include "eval/temporary_file.h"
#include "eval/threshold_counts.h"

namespace cohort::eval {

/// Area under a ROC curve, ties count one half, and the interval around it of DeLong et al. ("Comparing the
/// areas under two or more correlated receiver operating characteristic curves", 1988), 95 %; nothing when
/// there are fewer than two positive or two negative images. With it what else the same order of images says.
struct Area {
  double area = 0;
  std::optional<Interval> interval;
  /// Mean precision over steps of the recall, without interpolation, as scikit-learn's
  /// average_precision_score; and that of the others, when the smallest numbers come first.
  double average_precision = 0, average_precision_of_others = 0;
  CurvePoints roc{}, precision_recall{};  ///< of thresholds at the images' numbers; see threshold_counts.h
};

/// Bytes that are read back later: in memory up to 16 MiB, which take 32 while they grow, else in a file
/// without a name in the system's folder for temporary files (TMPDIR).
class Spill {
 public:
  /// Returns where they begin. Throws DataError.
  std::uint64_t append(std::span<const std::byte> bytes);
  void read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  void to_file();

  std::vector<std::byte> memory_;
  std::optional<TemporaryFile> file_;
  std::uint64_t size_ = 0;
};

/// Areas under the curves of many images by several numbers each, which do not fit into memory: every pair of
/// a positive and a negative image is counted, in whole numbers, so that the result has the bits of one that
/// sorts all of them. Images are counted by the first 16 bits of their number, those with equal ones by the
/// next 16, and so on, until at most kTogether are left to be sorted. A rank holds these, and 4 MiB of what
/// it writes beside the Spill.
class SpilledRankings {
 public:
  static constexpr std::int64_t kTogether = std::int64_t{1} << 19;

  /// Whether an image has one label, or one for each of its numbers.
  enum class LabelsOf { image, column };

  /// Each image has `columns` numbers.
  explicit SpilledRankings(std::int64_t columns, LabelsOf labels = LabelsOf::image)
      : columns_(columns), labels_of_(labels) {}

  /// `values` [n, columns] f64, `labels` [n], or [n, columns], -1: not known. Throws DataError.
  void add(const at::Tensor& values, std::span<const std::int32_t> labels);
  /// Collective. By column number `column`; `positives` images on all ranks have the label `label`,
  /// `negatives` another. Nothing when one side is absent.
  std::optional<Area> area(std::int64_t column, std::int32_t label, std::int64_t positives,
                           std::int64_t negatives, comm::Communicator& ranks);

 private:
  using Keys = std::vector<std::int64_t>;  // bits that ascend with the number, as unsigned ones
  struct Chunk {
    std::uint64_t offset;
    std::int64_t rows;
  };
  /// Images below those that are looked at, and what was counted of them.
  struct Count {
    explicit Count(const ThresholdCount& every) : all(every), curves(every) {}

    ThresholdCount all;
    std::int64_t positives = 0, negatives = 0;
    std::uint64_t won = 0;                      // twice the pairs
    double of_positives = 0, of_negatives = 0;  // squares of twice the places among the others
    ExactSum precision, precision_of_others;    // at every positive image, at every other one
    ThresholdCurves curves;
  };
  /// One column, and which images are positive.
  struct Question {
    std::int64_t column;
    std::int32_t label;
    comm::Communicator& ranks;
  };

  [[nodiscard]] std::int64_t label_columns() const noexcept {
    return labels_of_ == LabelsOf::image ? 1 : columns_;
  }
  void flush();
  void for_each(const Question& ask, const std::function<void(std::uint64_t key, bool positive)>& use) const;
  void refine(const Question& ask, std::uint64_t prefix, int bits, Count& count) const;
  void sort_range(const Question& ask, std::uint64_t first, std::uint64_t last, Count& count) const;
  static void tie_precision(std::int64_t positives, std::int64_t negatives, Count& count);
  static void tie(std::int64_t positives, std::int64_t negatives, Count& count);

  std::int64_t columns_;
  LabelsOf labels_of_;
  Spill spill_;
  std::vector<Chunk> chunks_;
  std::vector<std::int32_t> labels_;  // [rows, label columns], of what is not spilled yet
  std::vector<std::uint64_t> keys_;   // [rows, columns]
};

}  // namespace cohort::eval
