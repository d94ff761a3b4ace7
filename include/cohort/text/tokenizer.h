#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::text {

using Ids = std::vector<std::int32_t>;  ///< tokens as numbers of a vocabulary, from 0

/// Numbers of the tokens that mean no text; -1: the vocabulary has none.
struct SpecialIds {
  std::int32_t begin = -1;  ///< before a text: [CLS], <|startoftext|>
  std::int32_t end = -1;    ///< behind it: [SEP], <|endoftext|>
  std::int32_t padding =
      0;  ///< behind the end, where texts of a batch differ in length: [PAD]; byte pairs: 0
  std::int32_t unknown = -1;  ///< a word that cannot be written: [UNK]; byte pairs write all
  std::int32_t mask = -1;     ///< what a method hides: [MASK]
};

/// Texts ↔ numbers. Texts are UTF-8 of less than 2 GiB; bytes that are none count as U+FFFD. Unchanged once
/// it is made: any number of threads may use one.
class Tokenizer {
 public:
  Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  virtual ~Tokenizer() = default;

  /// Without begin and end. Special tokens that a text spells out ("[SEP]") are those tokens.
  [[nodiscard]] virtual Ids encode(std::string_view text) const = 0;
  /// A text that reads like what was encoded; blanks, letters and accents may be others. Throws DataError for
  /// a number that the vocabulary does not have.
  [[nodiscard]] virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  /// One more than the largest number: rows of an embedding.
  [[nodiscard]] virtual std::int64_t size() const noexcept = 0;
  [[nodiscard]] virtual SpecialIds specials() const noexcept = 0;
  /// As TokenizerOptions::tokenizer has it.
  [[nodiscard]] virtual std::string name() const = 0;
};

/// What makes a tokenizer, and how much of a text it keeps.
struct TokenizerOptions {
  std::string tokenizer = "wordpiece-uncased";  ///< one of tokenizer_names()
  std::filesystem::path vocabulary;             ///< vocab.txt; of byte-pair merges.txt or vocab.json
  std::int64_t maximal_length = 512;            ///< of encode_whole(), begin and end included; at least 2
};

/// "byte-pair", "wordpiece-cased", "wordpiece-uncased".
std::vector<std::string> tokenizer_names();

/// Reads the vocabulary (docs/text.md). Throws UsageError (no such tokenizer, a length below 2) or DataError
/// naming file and line.
std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerOptions& options);

/// XXH3-64 of the vocabulary's file, of byte-pair's vocab.json of that and merges.txt beside it: tells
/// whether two tokenizers of one name give the same numbers. Throws DataError.
std::uint64_t vocabulary_checksum(const std::filesystem::path& vocabulary);

/// begin, the text's first tokens, end: at most `maximal_length` numbers. What does not fit is left out.
Ids encode_whole(const Tokenizer& tokenizer, std::string_view text, std::int64_t maximal_length);

}  // namespace cohort::text
