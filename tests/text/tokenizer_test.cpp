#include "cohort/text/tokenizer.h"

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "support/temporary_folder.h"

namespace cohort::text {
namespace {

class Tokenizers : public ::testing::Test {
 protected:
  Tokenizers() { folder_.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n"); }
  [[nodiscard]] TokenizerOptions options(const std::string& name) const {
    return {.tokenizer = name, .vocabulary = folder_.path() / "vocab.txt"};
  }
  testing::TemporaryFolder folder_;
};

TEST_F(Tokenizers, AreFoundByTheirNames) {
  EXPECT_EQ(make_tokenizer(options("wordpiece-cased"))->name(), "wordpiece-cased");
  EXPECT_EQ(make_tokenizer(options("wordpiece-uncased"))->name(), "wordpiece-uncased");
  const auto merges = folder_.write("merges.txt", "#version: 0.2\na b</w>\n");
  EXPECT_EQ(make_tokenizer({.tokenizer = "byte-pair", .vocabulary = merges})->name(), "byte-pair");
  for (const std::string& name : tokenizer_names())
    EXPECT_NO_THROW((void)make_tokenizer(
        {.tokenizer = name, .vocabulary = name == "byte-pair" ? merges : options(name).vocabulary}));
}

TEST_F(Tokenizers, RefuseWhatTheyDoNotKnow) {
  try {
    (void)make_tokenizer(options("wordpiece-caged"));
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().fix, "did you mean 'wordpiece-cased'?");
  }
  TokenizerOptions none = options("wordpiece-cased");
  none.maximal_length = 1;
  EXPECT_THROW((void)make_tokenizer(none), UsageError);
  none = options("wordpiece-cased");
  none.vocabulary = folder_.path() / "nothing.txt";
  EXPECT_THROW((void)make_tokenizer(none), DataError);
}

TEST_F(Tokenizers, KeepTheFirstTokensOfALongText) {
  const auto tokenizer = make_tokenizer(options("wordpiece-cased"));
  EXPECT_EQ(encode_whole(*tokenizer, "a b a b", 5), (Ids{2, 4, 5, 4, 3}));
  EXPECT_EQ(encode_whole(*tokenizer, "a", 5), (Ids{2, 4, 3}));
  EXPECT_EQ(encode_whole(*tokenizer, "", 2), (Ids{2, 3}));
}

}  // namespace
}  // namespace cohort::text
