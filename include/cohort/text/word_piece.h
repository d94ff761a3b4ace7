#pragma once
#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cohort/text/tokenizer.h"
#include "cohort/text/words.h"

namespace cohort::text {

/// A hash of std::string that takes std::string_view.
struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};
using IdOfText = std::unordered_map<std::string, std::int32_t, TextHash, std::equal_to<>>;

/// BERT's tokenizer (Devlin et al., arXiv 1810.04805, and its published code): words by for_each_word(), each
/// cut from the left into the longest pieces of the vocabulary. "##" marks pieces that go on a word. A word
/// of more than 100 characters, or one that no pieces make up, is [UNK].
class WordPiece final : public Tokenizer {
 public:
  /// `pieces` by number. Throws DataError naming `file` and line: a piece that is empty or stands twice, or
  /// no [PAD], [UNK], [CLS] or [SEP].
  WordPiece(std::vector<std::string> pieces, Letters letters, const std::string& file);
  /// vocab.txt: a piece a line. Throws DataError.
  static std::unique_ptr<WordPiece> read(const std::filesystem::path& file, Letters letters);

  [[nodiscard]] Ids encode(std::string_view text) const override;
  /// Words with a blank between them.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const override;
  [[nodiscard]] std::int64_t size() const noexcept override { return std::ssize(pieces_); }
  [[nodiscard]] SpecialIds specials() const noexcept override { return specials_; }
  [[nodiscard]] std::string name() const override;

 private:
  void add(const std::string& piece, std::int32_t id, const std::string& file);
  [[nodiscard]] std::int32_t required(const std::string& piece, const std::string& file) const;
  void append_word(std::string_view word, Ids& ids) const;

  std::vector<std::string> pieces_;
  Letters letters_;
  IdOfText first_, next_;  // pieces that begin a word, and those that go on, without their "##"
  std::size_t longest_ = 0;
  SpecialIds specials_;
};

}  // namespace cohort::text
