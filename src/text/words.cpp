#include "cohort/text/words.h"

#include <array>
#include <memory>

#include <unicode/brkiter.h>
#include <unicode/normalizer2.h>
#include <unicode/utext.h>

#include "unicode.h"

namespace cohort::text {
namespace {

enum class Part : std::uint8_t { word, blank, sign, nothing };

constexpr bool is_ascii_sign(UChar32 c) noexcept {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

constexpr Part part_of_ascii(UChar32 c) noexcept {
  if (c == ' ' || c == '\t' || c == '\n' || c == '\r') return Part::blank;
  if (c < ' ' || c == '\x7f') return Part::nothing;
  return is_ascii_sign(c) ? Part::sign : Part::word;
}

constexpr auto kAscii = [] {
  std::array<Part, 128> parts{};
  for (std::size_t c = 0; c < parts.size(); ++c) parts[c] = part_of_ascii(static_cast<UChar32>(c));
  return parts;
}();

Part part_of(UChar32 c) noexcept {
  if (c < 128) return kAscii[static_cast<std::size_t>(c)];
  if (c == kReplacement || is_of(c, U_GC_C_MASK)) return Part::nothing;
  if (u_isUWhiteSpace(c)) return Part::blank;
  return is_of(c, U_GC_P_MASK) ? Part::sign : Part::word;
}

/// The blocks that BERT's published code names.
bool is_ideograph(UChar32 c) noexcept {
  constexpr std::array<std::array<UChar32, 2>, 8> kBlocks{{{0x3400, 0x4DBF},
                                                           {0x4E00, 0x9FFF},
                                                           {0xF900, 0xFAFF},
                                                           {0x20000, 0x2A6DF},
                                                           {0x2A700, 0x2B73F},
                                                           {0x2B740, 0x2B81F},
                                                           {0x2B820, 0x2CEAF},
                                                           {0x2F800, 0x2FA1F}}};
  const auto holds = [c](const auto& block) { return c >= block[0] && c <= block[1]; };
  return c >= kBlocks[0][0] && std::any_of(kBlocks.begin(), kBlocks.end(), holds);
}

/// Without what counts as nothing, and with blanks around ideographs.
std::string cleaned(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  const std::int32_t size = size_of(text);
  for (std::int32_t at = 0; at < size;) {
    const UChar32 c = next_character(text, at);
    if (part_of(c) == Part::nothing) continue;
    if (c < 128)
      result += static_cast<char>(c);
    else if (is_ideograph(c))
      append(result += ' ', c), result += ' ';
    else
      append(result, c);
  }
  return result;
}

std::string decomposed(std::string_view text) {
  std::string result;
  icu::StringByteSink<std::string> sink(&result, size_of(text));
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* const form = icu::Normalizer2::getNFDInstance(status);
  check(status);
  form->normalizeUTF8(0, piece_of(text), sink, nullptr, status);
  check(status);
  return result;
}

/// Small letters without accents, character by character: Σ is σ at the end of a word as well, as in
/// tokenizers.
std::string small_without_accents(std::string text) {
  if (is_ascii(text)) {
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    return text;
  }
  const std::string parts = decomposed(text);
  const std::int32_t size = size_of(parts);
  text.clear();
  for (std::int32_t at = 0; at < size;) {
    const UChar32 c = next_character(parts, at);
    if (c < 128 || !is_of(c, U_GC_MN_MASK)) append(text, u_tolower(c));
  }
  return text;
}

std::string_view without_blanks(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n\v\f\r";
  const std::size_t first = text.find_first_not_of(kBlanks);
  return first == std::string_view::npos ? ""
                                         : text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

struct CloseText {
  void operator()(UText* text) const noexcept { utext_close(text); }
};

}  // namespace

void for_each_word(std::string_view text, Letters letters,
                   const std::function<void(std::string_view)>& visit) {
  const std::string clean = letters == Letters::cased ? cleaned(text) : small_without_accents(cleaned(text));
  const std::string_view rest = clean;
  const std::int32_t size = size_of(rest);
  std::int32_t first = 0;
  const auto word = [&](std::int32_t from, std::int32_t to) {
    if (to > from) visit(rest.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from)));
  };
  for (std::int32_t at = 0; at < size;) {
    const std::int32_t before = at;
    const Part part = part_of(next_character(rest, at));
    if (part != Part::blank && part != Part::sign) continue;
    word(first, before);
    if (part == Part::sign) word(before, at);
    first = at;
  }
  word(first, size);
}

bool is_too_long(std::string_view word) {
  constexpr std::int32_t kMostCharacters = 100;
  if (word.size() <= kMostCharacters) return false;
  const auto begins = std::count_if(word.begin(), word.end(), [](char c) { return !U8_IS_TRAIL(c); });
  return begins > kMostCharacters;
}

std::vector<std::string> sentences_of(std::string_view text) {
  UErrorCode status = U_ZERO_ERROR;
  const std::unique_ptr<UText, CloseText> bytes(utext_openUTF8(nullptr, text.data(), size_of(text), &status));
  const std::unique_ptr<icu::BreakIterator> ends(
      icu::BreakIterator::createSentenceInstance(icu::Locale::getRoot(), status));
  check(status);
  ends->setText(bytes.get(), status);
  check(status);
  std::vector<std::string> sentences;
  for (std::int32_t from = 0, to = ends->next(); to != icu::BreakIterator::DONE;
       from = to, to = ends->next()) {
    const auto sentence =
        without_blanks(text.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from)));
    if (!sentence.empty()) sentences.emplace_back(sentence);
  }
  return sentences;
}

}  // namespace cohort::text
