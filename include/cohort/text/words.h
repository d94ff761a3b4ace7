#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::text {

/// cased: letters as they are. uncased: small letters without accents (canonical decomposition without marks
/// of category Mn).
enum class Letters { cased, uncased };

/// The words of a text as BERT's basic tokenizer has them: control characters (all of category C but tab and
/// line ends), U+0000 and U+FFFD left out, then cut at white space, around each ideograph of the CJK blocks
/// and around each punctuation character (category P and all of ASCII's signs). Categories are those of
/// Unicode as ICU knows it. `visit` gets them in order; its argument lives as long as the call.
void for_each_word(std::string_view text, Letters letters,
                   const std::function<void(std::string_view)>& visit);

/// Whether a word has more than 100 characters: WordPiece writes none of them.
bool is_too_long(std::string_view word);

/// The sentences of a text without white space around them (Unicode Standard Annex 29); none is empty.
std::vector<std::string> sentences_of(std::string_view text);

}  // namespace cohort::text
