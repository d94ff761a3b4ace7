#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cohort/text/tokenizer.h"

namespace cohort::text {

struct MergesFile;

/// CLIP's tokenizer (Radford et al., arXiv 2103.00020, and its published code, without the repair of damaged
/// texts by ftfy): HTML's character references are resolved twice, letters made small, then words, digits and
/// signs cut out, whose bytes are joined pair by pair in the order of the merges. Every text can be written.
class BytePair final : public Tokenizer {
 public:
  /// `file` is merges.txt: a header, then two symbols a line. Tokens are numbered as CLIP does: 256 bytes,
  /// the same at the end of a word, a token for each merge, <|startoftext|>, <|endoftext|>. Or it is
  /// vocab.json: numbers by token, with merges.txt beside it. Merges beyond 48,894 do not count, as in CLIP.
  /// Throws DataError naming file and line.
  static std::unique_ptr<BytePair> read(const std::filesystem::path& file);

  [[nodiscard]] Ids encode(std::string_view text) const override;
  /// What was encoded, with a blank behind each word; bytes that are not UTF-8 become U+FFFD.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const override;
  [[nodiscard]] std::int64_t size() const noexcept override { return std::ssize(tokens_); }
  [[nodiscard]] SpecialIds specials() const noexcept override { return specials_; }
  [[nodiscard]] std::string name() const override { return "byte-pair"; }

 private:
  struct Merge {
    std::int32_t rank = 0, result = 0;
  };
  BytePair(const MergesFile& merges, std::vector<std::string> tokens, const std::string& file);
  using Merges = std::unordered_map<std::uint64_t, Merge>;  ///< by left and right id
  class Word;
  void append_word(std::string_view bytes, Word& word, Ids& ids) const;

  std::vector<std::string> tokens_;                  // by id, in symbols; empty: the number is free
  std::array<std::int32_t, 256> within_{}, last_{};  // ids of bytes, and of those at the end of a word
  Merges merges_;
  SpecialIds specials_;
};

}  // namespace cohort::text
