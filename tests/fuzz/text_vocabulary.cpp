#include <algorithm>

#include "cohort/text/word_piece.h"

#include "../support/temporary_folder.h"
#include "fuzz.h"

// vocab.txt up to the first 0, then a text, which what was read has to encode.
void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  static const testing::TemporaryFolder folder;
  const auto zero = std::find(content.begin(), content.end(), 0);
  const auto file = folder.write("vocab.txt", std::string(content.begin(), zero));
  const std::string rest(zero == content.end() ? zero : zero + 1, content.end());
  for (const auto letters : {text::Letters::cased, text::Letters::uncased}) {
    const auto tokenizer = text::WordPiece::read(file, letters);
    (void)tokenizer->decode(tokenizer->encode(rest));
  }
  (void)text::sentences_of(rest);
}
