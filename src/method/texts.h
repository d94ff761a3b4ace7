#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cohort/core/random.h"
#include "cohort/data/batch.h"
#include "cohort/data/description.h"
#include "cohort/nn/image_text.h"

namespace cohort::method {

/// Where a dataset keeps the texts of its images.
struct TextFields {
  std::string tokens;
  std::string sentences;        ///< of how many tokens each consists; empty: a text is one sentence
  std::int64_t vocabulary = 0;  ///< all numbers are below it
  std::int64_t longest = 0;     ///< tokens of a text, at most

  /// Of Entry::fields.
  [[nodiscard]] std::vector<std::string> names() const;
};

/// The tokens that `asked` names, or the dataset's only ones; `option`: the key that asks. Throws UsageError.
TextFields text_fields(const data::Description& description, const std::string& asked,
                       const std::string& option);

/// The text of an image: begin, sentences, end.
struct Text {
  std::vector<std::int64_t> tokens;
  std::vector<std::int64_t> sentences;  ///< tokens of each

  /// The same of these sentences alone, in this order.
  [[nodiscard]] Text of(const std::vector<std::int64_t>& order) const;
};

/// Of the images of a batch, which may be on a device. Throws DataError naming an image without a sentence,
/// by its row: of a batch on the host, before anything is computed.
std::vector<Text> texts_of(const data::Batch& batch, const TextFields& fields);

/// One sentence, each as probable.
std::vector<std::int64_t> one_sentence(std::int64_t sentences, RandomStream& stream);
/// All of them, after k swaps of two: k geometric, another one follows with probability `further` (LoVT).
std::vector<std::int64_t> swapped_sentences(std::int64_t sentences, double further, RandomStream& stream);

/// Where the sentences of each text are among the packed tokens.
nn::SentenceExtents extents_of(const std::vector<Text>& texts, const nn::PackedTexts& packed);

}  // namespace cohort::method
