#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cohort/data/row_table.h"

namespace cohort::data_prep {

/// How images are divided at random into splits.
struct DivisionOptions {
  std::string fractions;             ///< "train=0.8,val=0.1,test=0.1"; empty: none
  std::int64_t folds = 0;            ///< of a k-fold cross-validation; 0: none
  std::optional<std::int64_t> fold;  ///< that is to be `test`, 0 … folds-1; the rest is train
  std::string stratify;              ///< label whose classes every split has in the same ratio; empty: none
  std::string group_by;              ///< context key or column whose values are not divided; empty: none
  bool scikit_learn = false;         ///< folds as published_folds.h has them, which no seed changes
  std::uint64_t seed = 0;

  void add_to(CLI::App& command);
  [[nodiscard]] bool divides() const { return !fractions.empty() || folds > 0; }
  /// Throws UsageError: options that contradict each other, or need one that is not there.
  void check() const;
};

/// A split, and how large it is to be beside the others.
struct Part {
  std::string name;
  std::int64_t weight = 1;
};

/// Of "train=0.8,val=0.1,test=0.1"; weights are billionths and add up to 10^9. Throws UsageError.
std::vector<Part> parts_of(const std::string& fractions);

/// Images, and what is known of them: columns have a value for each.
struct Divisible {
  const data::PackedTexts& ids;   ///< all different
  std::vector<bool> chosen{};     ///< those that are to be divided; empty: all
  std::string label{};            ///< by whose classes it is stratified; empty: not
  data::PackedIndices classes{};  ///< -1: none, which counts as a class; empty: not
  std::vector<std::string> class_names{};
  std::string group{};           ///< the key or column that groups; empty: none
  data::PackedIndices groups{};  ///< index into group_names
  std::vector<std::string> group_names{};

  /// From 0; images without a class are one behind the others.
  [[nodiscard]] std::size_t class_of(std::int64_t image) const {
    if (classes.size() == 0) return 0;
    const std::int32_t value = classes[image];
    return value < 0 ? class_names.size() : static_cast<std::size_t>(value);
  }
  [[nodiscard]] std::size_t class_count() const { return classes.size() == 0 ? 1 : class_names.size() + 1; }
  [[nodiscard]] bool is_chosen(std::int64_t image) const {
    return chosen.empty() || chosen[static_cast<std::size_t>(image)];
  }
};

/// The part of every chosen image, -1 of the others: random, but a function of the seed and of ids (grouped:
/// names of groups) alone, whatever the order of the images.
///
/// Images by themselves: each part has the number that its weight asks for, within one; stratified, each
/// class within two of its share, and at least one image of it in each part, which may cost others one.
/// Grouped: all images of a group are in one part; one group after the other, in random order, goes where
/// most images are missing (stratified: counted class by class), and each part gets one at least.
///
/// Takes 8 bytes for each chosen image while it draws. Throws UsageError with the counts: fewer images or
/// groups than parts, or (stratified) of a class.
data::PackedIndices divide(const Divisible& images, std::span<const Part> parts, std::uint64_t seed);

}  // namespace cohort::data_prep
