#include "cohort/text/vocabulary.h"

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "support/temporary_folder.h"

namespace cohort::text {
namespace {

using Pieces = std::vector<std::string>;

Pieces behind_specials(Pieces pieces) {
  const Pieces first(pieces.begin(), pieces.begin() + 5);
  EXPECT_EQ(first, special_pieces());
  pieces.erase(pieces.begin(), pieces.begin() + 5);
  return pieces;
}

TEST(Vocabulary, WordsByFrequencyThenByBytes) {
  const WordCounts words{{"a", 1}, {"b", 3}, {"c", 2}, {"d", 2}};
  EXPECT_EQ(behind_specials(word_vocabulary(words, 100)), (Pieces{"b", "c", "d", "a"}));
  EXPECT_EQ(behind_specials(word_vocabulary(words, 7)), (Pieces{"b", "c"}));
}

// hug 10, pug 5, pun 12, bun 4, hugs 5: pairs u g 20, u n 16, h u 15, p u 17, b u 4, g s 5.
TEST(Vocabulary, PiecesByTheMostFrequentPair) {
  const WordCounts words{{"hug", 10}, {"pug", 5}, {"pun", 12}, {"bun", 4}, {"hugs", 5}};
  const Pieces alphabet{"##g", "##n", "##s", "##u", "b", "h", "p"};
  Pieces expected = alphabet;
  expected.insert(expected.end(), {"##ug", "##un", "hug", "pun", "hugs", "pug", "bun"});
  EXPECT_EQ(behind_specials(piece_vocabulary(words, 100)), expected);
  expected.resize(alphabet.size() + 2);
  EXPECT_EQ(behind_specials(piece_vocabulary(words, 5 + 7 + 2)), expected);
}

TEST(Vocabulary, OfPairsAsFrequentTheFirstByBytes) {
  EXPECT_EQ(behind_specials(piece_vocabulary({{"zy", 2}, {"ab", 2}}, 100)),
            (Pieces{"##b", "##y", "a", "z", "ab", "zy"}));
}

TEST(Vocabulary, APieceThatTwoPairsMakeStandsOnce) {
  const Pieces pieces = piece_vocabulary({{"abc", 5}, {"ab", 9}, {"xbc", 7}}, 100);
  EXPECT_EQ(std::count(pieces.begin(), pieces.end(), "abc"), 1);
}

TEST(Vocabulary, RareCharactersGiveWay) {
  EXPECT_EQ(behind_specials(piece_vocabulary({{"aa", 9}, {"äa", 1}}, 7)), (Pieces{"##a", "a"}));
}

TEST(Vocabulary, IsReadLineByLine) {
  const testing::TemporaryFolder folder;
  folder.write("vocab.txt", "\xEF\xBB\xBFone\r\ntwo\n\u2028\nlast");
  EXPECT_EQ(read_vocabulary(folder.path() / "vocab.txt"), (Pieces{"one", "two", "\u2028", "last"}));
}

TEST(Vocabulary, DamageIsNamed) {
  const testing::TemporaryFolder folder;
  const auto refusal = [&](const std::string& content) -> std::string {
    folder.write("vocab.txt", content);
    try {
      (void)read_vocabulary(folder.path() / "vocab.txt");
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(refusal("a\nb\xFF\n").find("vocab.txt:2"), std::string::npos);
  EXPECT_NE(refusal("\x1F\x8B\x08").find("gzip -dc"), std::string::npos);
}

}  // namespace
}  // namespace cohort::text
