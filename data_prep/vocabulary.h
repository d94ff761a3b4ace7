#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cohort/data/row_table.h"

namespace cohort::data_prep {

/// The different values in `column` without the empty text; by value if all are numbers, else by bytes.
std::vector<std::string> distinct(const std::vector<std::string>& column);

/// What looks like a mistake in the values of a column, a sentence for each kind: words for a missing value
/// (NA, NaN, None), and names that differ in case, in blanks at their ends or in how accents are written
/// alone. `what`: "label 'grade'".
std::vector<std::string> doubts_about(const std::string& what, const std::vector<std::string>& vocabulary);

/// Index of every value of `column` in `vocabulary`, -1 for the empty text. Throws DataError for values it
/// does not know, with `what` ("label 'class'") and `option` in the message.
std::vector<std::int32_t> indices(const std::vector<std::string>& column,
                                  const std::vector<std::string>& vocabulary, const std::string& what,
                                  const std::string& option);

/// A split as `hold_out` gives it. n-th: the first and every n-th after it; 0 switches a rule off.
struct HoldOut {
  std::int64_t contexts = 0;  ///< every n-th value of the first context key (in vocabulary order) is held out
  std::int64_t images = 0;    ///< every n-th image of each other context (in order of id) is held out
};

/// train, seen_test (images held out) or unseen_test (contexts held out) for every image, 0, 1 or 2.
data::PackedIndices hold_out(const data::PackedIndices& context, const data::PackedTexts& ids,
                             const HoldOut& rule);

}  // namespace cohort::data_prep
