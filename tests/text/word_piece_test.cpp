#include "cohort/text/word_piece.h"

#include <gtest/gtest.h>

#include "cohort/core/error.h"

namespace cohort::text {
namespace {

const std::vector<std::string> kPieces{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un",   "##able",
                                       "##a",   "able",  "x",     "##x",   "heart",  "Heart"};

WordPiece made(std::vector<std::string> pieces = kPieces, Letters letters = Letters::uncased) {
  return {std::move(pieces), letters, "vocab.txt"};
}

std::string refusal(std::vector<std::string> pieces) {
  try {
    made(std::move(pieces));
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(WordPiece, TakesTheLongestPieceFromTheLeft) {
  EXPECT_EQ(made().encode("unable"), (Ids{5, 6}));
  EXPECT_EQ(made().encode("able unxx"), (Ids{8, 5, 10, 10}));
  EXPECT_EQ(made().encode("una unb"), (Ids{5, 7, 1})) << "the whole word is unknown, not its end";
}

TEST(WordPiece, OfHundredCharactersNotBytes) {
  std::vector<std::string> pieces = kPieces;
  pieces.insert(pieces.end(), {"ß", "##ß"});
  std::string word = "ß";
  Ids expected{13};
  for (int i = 1; i < 100; ++i) word += "ß", expected.push_back(14);
  EXPECT_EQ(made(pieces).encode(word), expected);
  EXPECT_EQ(made(pieces).encode(word + "ß"), Ids{1});
  EXPECT_EQ(made().encode(std::string(101, 'x')), Ids{1});
}

TEST(WordPiece, SpecialTokensInATextAreThese) {
  EXPECT_EQ(made().encode("[CLS]heart[SEP] [mask] [MASK]"), (Ids{2, 11, 3, 1, 1, 1, 4}));
  EXPECT_EQ(made().encode("[["), (Ids{1, 1}));
}

TEST(WordPiece, LettersMatterWhereTheyAreAsked) {
  EXPECT_EQ(made().encode("Heart"), Ids{11});
  EXPECT_EQ(made(kPieces, Letters::cased).encode("Heart"), Ids{12});
}

TEST(WordPiece, DecodesToWords) {
  EXPECT_EQ(made().decode(Ids{2, 5, 6, 11, 3}), "[CLS] unable heart [SEP]");
  EXPECT_EQ(made().decode({}), "");
  EXPECT_THROW((void)made().decode(Ids{13}), DataError);
  EXPECT_THROW((void)made().decode(Ids{-1}), DataError);
}

TEST(WordPiece, SaysWhatAVocabularyLacks) {
  EXPECT_NE(refusal({"[PAD]", "[UNK]", "[CLS]"}).find("has no token [SEP]"), std::string::npos);
  EXPECT_NE(refusal({"[PAD]", "[UNK]", "", "[SEP]"}).find("vocab.txt:3"), std::string::npos);
  const std::string twice = refusal({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "x", "##x", "x"});
  EXPECT_NE(twice.find("'x' twice"), std::string::npos);
  EXPECT_NE(twice.find("vocab.txt:7"), std::string::npos);
  EXPECT_NE(twice.find("line 5"), std::string::npos);
  const std::vector<std::string> without_mask{"[PAD]", "[UNK]", "[CLS]", "[SEP]"};
  EXPECT_EQ(made(without_mask).specials().mask, -1);
}

}  // namespace
}  // namespace cohort::text
