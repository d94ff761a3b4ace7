#include <algorithm>

#include "cohort/text/byte_pair.h"

#include "../support/temporary_folder.h"
#include "fuzz.h"

// merges.txt up to the first 0, then a text, which what was read has to encode, or vocab.json where it begins
// with a brace.
void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  static const testing::TemporaryFolder folder;
  const auto zero = std::find(content.begin(), content.end(), 0);
  const std::string merges(content.begin(), zero),
      rest(zero == content.end() ? zero : zero + 1, content.end());
  auto file = folder.write("merges.txt", merges);
  if (rest.starts_with('{')) file = folder.write("vocab.json", rest);
  const auto tokenizer = text::BytePair::read(file);
  (void)tokenizer->decode(tokenizer->encode(rest));
}
