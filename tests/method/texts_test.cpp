// Texts of a batch: what is read of them, in which order, and what is refused.
#include "method/texts.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "../support/even.h"

namespace cohort::method {
namespace {

using Order = std::vector<std::int64_t>;

data::Field tokens_called(const std::string& name, const std::string& of = "text", bool is_known = true) {
  data::Field field{name, data::FieldKind::tokens, data::ValueType::i32, {-1}, data::Codec::raw, of};
  if (is_known) field.tokenization = data::Tokenization{"wordpiece-uncased", 1, 30, 16};
  return field;
}

/// Of two images: sentences of 2 and 1 tokens, and of 3.
data::Batch two_texts() {
  data::Batch batch;
  batch.columns["words"] = {at::tensor({2, 10, 11, 12, 3, 2, 20, 21, 22, 3}, at::kInt),
                            at::tensor({0, 5, 10}, at::kLong)};
  batch.columns["sentences"] = {at::tensor({2, 1, 3}, at::kInt), at::tensor({0, 2, 3}, at::kLong)};
  batch.sample = at::tensor({40, 41}, at::kLong);
  return batch;
}

TEST(Texts, SentencesStandInTheOrderThatIsAskedFor) {
  const std::vector<Text> texts = texts_of(two_texts(), {.tokens = "words", .sentences = "sentences"});
  ASSERT_EQ(texts.size(), 2U);
  EXPECT_EQ(texts[0].of({1, 0}).tokens, (Order{2, 12, 10, 11, 3}));
  EXPECT_EQ(texts[0].of({1, 0}).sentences, (Order{1, 2}));
  EXPECT_EQ(texts[0].of({0}).tokens, (Order{2, 10, 11, 3}));
  EXPECT_EQ(texts[1].of({0}).tokens, texts[1].tokens);
  EXPECT_EQ(texts_of(two_texts(), {.tokens = "words", .sentences = ""})[0].sentences, (Order{3}));
}

TEST(Texts, SentencesWithoutTokensAreNone) {
  data::Batch batch = two_texts();
  batch.columns["sentences"] = {at::tensor({2, 0, 1, 3}, at::kInt), at::tensor({0, 3, 4}, at::kLong)};
  EXPECT_EQ(texts_of(batch, {.tokens = "words", .sentences = "sentences"})[0].sentences, (Order{2, 1}));
}

TEST(Texts, OfWhichAnImageHasNoneAreRefused) {
  data::Batch batch = two_texts();
  batch.columns["sentences"] = {at::tensor({2, 1}, at::kInt), at::tensor({0, 2, 2}, at::kLong)};
  batch.columns["words"] = {at::tensor({2, 10, 11, 12, 3, 2, 3}, at::kInt), at::tensor({0, 5, 7}, at::kLong)};
  try {
    (void)texts_of(batch, {.tokens = "words", .sentences = "sentences"});
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_EQ(error.text().what, "an image has no sentence");
    EXPECT_EQ(error.text().where, "row 41, field words");
  }
  batch = two_texts();
  batch.columns["sentences"].values[0] = 1;
  EXPECT_THROW((void)texts_of(batch, {.tokens = "words", .sentences = "sentences"}), DataError);
}

TEST(Texts, FieldsAreFoundByWhatTheyAreOf) {
  data::Description description;
  EXPECT_THROW((void)text_fields(description, "", "lovt.text.field"), UsageError);
  description.fields = {tokens_called("words"), tokens_called("counts", "words", false)};
  const TextFields found = text_fields(description, "", "lovt.text.field");
  EXPECT_EQ(found.names(), (std::vector<std::string>{"words", "counts"}));
  EXPECT_EQ(found.vocabulary, 30);
  EXPECT_EQ(found.longest, 16);
  description.fields.push_back(tokens_called("impression"));
  EXPECT_THROW((void)text_fields(description, "", "lovt.text.field"), UsageError);
  EXPECT_EQ(text_fields(description, "impression", "lovt.text.field").names(),
            std::vector<std::string>{"impression"});
  EXPECT_THROW((void)text_fields(description, "counts", "lovt.text.field"), UsageError);
  description.fields = {tokens_called("words", "text", false)};
  EXPECT_THROW((void)text_fields(description, "", "lovt.text.field"), UsageError) << "no vocabulary";
}

RandomStream stream_of(std::int64_t sample) {
  return RandomStream({.seed = 5, .purpose = Purpose::sentences, .time = 3, .sample = sample});
}

TEST(SentenceDraws, EachSentenceIsAsLikely) {
  testing::Counts counts({3});
  for (std::int64_t sample = 0; sample < 3000; ++sample) {
    RandomStream stream = stream_of(sample);
    counts.add(one_sentence(3, stream).front());
  }
  testing::expect_as_likely(counts.cells(), {1.0 / 3, 1.0 / 3, 1.0 / 3});
}

// Of two sentences a swap exchanges them with probability 1/2: after k swaps, k geometric with 0.6, they
// stand as they did with probability 0.4 + 0.6 / 2.
TEST(SentenceDraws, SwapsAreGeometric) {
  testing::Counts counts({2});
  for (std::int64_t sample = 0; sample < 4000; ++sample) {
    RandomStream stream = stream_of(sample);
    counts.add(swapped_sentences(2, 0.6, stream).front());
  }
  testing::expect_as_likely(counts.cells(), {0.7, 0.3});
}

}  // namespace
}  // namespace cohort::method
