#include "cohort/text/report.h"

#include <gtest/gtest.h>

#include "cohort/text/word_piece.h"

namespace cohort::text {
namespace {

const WordPiece& tokenizer() {
  static const WordPiece made({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"}, Letters::uncased, "vocab.txt");
  return made;
}

using Sentences = std::vector<std::string>;

TEST(Report, EndsBeforeTheFirstSentenceThatDoesNotFit) {
  const EncodedReport report = encode_report(tokenizer(), Sentences{"a a", "b b b", "a"}, 6);
  EXPECT_EQ(report.ids, (Ids{2, 4, 4, 3}));
  EXPECT_EQ(report.sentence, (Ids{-1, 0, 0, -1}));
  EXPECT_EQ(report.sentences, 1) << "the third would fit, but stands behind";
  EXPECT_EQ(encode_report(tokenizer(), Sentences{"a a", "b b"}, 6).sentences, 2) << "exactly full";
}

TEST(Report, ALongSentenceIsCut) {
  EXPECT_EQ(encode_report(tokenizer(), Sentences{"a b a b", "a"}, 4).ids, (Ids{2, 4, 5, 3}));
  EXPECT_EQ(encode_report(tokenizer(), Sentences{"a"}, 2).ids, (Ids{2, 3}));
  EXPECT_EQ(encode_report(tokenizer(), {}, 9).ids, (Ids{2, 3}));
}

TEST(Report, RowsHaveOneLength) {
  const EncodedReport longer = encode_report(tokenizer(), Sentences{"a", "b"}, 9);
  const EncodedReport shorter = encode_report(tokenizer(), Sentences{"b"}, 9);
  const ReportBatch batch = collate(std::vector{longer, shorter}, 0);
  EXPECT_EQ(batch.length, 4);
  EXPECT_EQ(batch.ids, (Ids{2, 4, 5, 3, 2, 5, 3, 0}));
  EXPECT_EQ(batch.mask, (Ids{1, 1, 1, 1, 1, 1, 1, 0}));
  EXPECT_EQ(batch.sentence, (Ids{-1, 0, 1, -1, -1, 0, -1, -1}));
  EXPECT_EQ(batch.sentences, (Ids{2, 1}));
}

}  // namespace
}  // namespace cohort::text
