#include "cohort/text/byte_pair.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/printable.h"
#include "cohort/core/random.h"

#include "support/temporary_folder.h"
#include "text/html.h"

namespace cohort::text {
namespace {

class BytePairs : public ::testing::Test {
 protected:
  std::unique_ptr<BytePair> made(const std::string& merges) {
    folder_.write("merges.txt", "#version: 0.2\n" + merges);
    return BytePair::read(folder_.path() / "merges.txt");
  }
  std::string refusal(const std::string& merges) {
    try {
      made(merges);
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
  testing::TemporaryFolder folder_;
};

constexpr std::int32_t kA = 'a' - '!', kEndOfWord = 256;

TEST_F(BytePairs, JoinInTheOrderOfTheFile) {
  const auto tokenizer = made("b c</w>\na b\na bc</w>\n");
  EXPECT_EQ(tokenizer->size(), 512 + 3 + 2);
  EXPECT_EQ(tokenizer->encode("abc"), Ids{514}) << "b c comes before a b";
  EXPECT_EQ(tokenizer->encode("ab"), (Ids{kA, kA + 1 + kEndOfWord})) << "a b is not the end of a word";
  EXPECT_EQ(tokenizer->encode("abab"), (Ids{513, kA, kA + 1 + kEndOfWord}));
}

/// As published: the pair that comes first in the file is joined wherever it stands, again and again.
std::vector<std::string> joined_as_published(std::vector<std::string> word,
                                             const std::vector<std::array<std::string, 2>>& merges) {
  const auto rank_at = [&](std::size_t i) {
    return std::find(merges.begin(), merges.end(), std::array{word[i], word[i + 1]}) - merges.begin();
  };
  for (;;) {
    std::ptrdiff_t first = std::ssize(merges);
    for (std::size_t i = 0; i + 1 < word.size(); ++i) first = std::min(first, rank_at(i));
    if (first == std::ssize(merges)) return word;
    std::vector<std::string> joined;
    for (std::size_t i = 0; i < word.size(); ++i) {
      const bool joins = i + 1 < word.size() && rank_at(i) == first;
      joined.push_back(joins ? word[i] + word[i + 1] : word[i]);
      if (joins) ++i;
    }
    word = std::move(joined);
  }
}

TEST_F(BytePairs, OfAnyFileAreJoinedAsPublished) {
  RandomStream stream({.seed = 1, .purpose = Purpose::synthetic});
  for (int file = 0; file < 200; ++file) {
    // Any two symbols that are there, so that one symbol comes from several pairs, in any order.
    std::vector<std::string> symbols{"a", "b", "c", "a</w>", "b</w>", "c</w>"};
    std::vector<std::array<std::string, 2>> merges;
    std::string lines;
    while (merges.size() < 12) {
      const std::string left = symbols[stream.below(symbols.size())],
                        right = symbols[stream.below(symbols.size())];
      const bool fits = !left.ends_with("</w>") && left.size() + right.size() < 12;
      if (!fits || std::find(merges.begin(), merges.end(), std::array{left, right}) != merges.end()) continue;
      merges.push_back({left, right});
      symbols.push_back(left + right);
      lines += left + " " + right + "\n";
    }
    const auto tokenizer = made(lines);
    for (int i = 0; i < 50; ++i) {
      std::string text;
      std::vector<std::string> word;
      for (std::uint64_t left = 1 + stream.below(14); left > 0; --left) {
        text.push_back(static_cast<char>('a' + stream.below(3)));
        word.emplace_back(1, text.back());
      }
      word.back() += "</w>";
      std::vector<std::string> found;
      for (const std::int32_t id : tokenizer->encode(text)) {
        std::string symbol = tokenizer->decode(Ids{id});
        if (symbol.ends_with(' ')) symbol.replace(symbol.size() - 1, 1, "</w>");
        found.push_back(symbol);
      }
      EXPECT_EQ(found, joined_as_published(word, merges)) << text << " with\n" << lines;
    }
  }
}

TEST_F(BytePairs, AWordOfAMillionLettersIsOneOfMany) {
  const auto tokenizer = made("a a\naa aa\n");
  const Ids ids = tokenizer->encode(std::string(1'000'001, 'a'));
  ASSERT_EQ(ids.size(), 250'001U);
  EXPECT_EQ(ids.front(), 513);
  EXPECT_EQ(ids.back(), kA + kEndOfWord);
}

TEST_F(BytePairs, OfMergesWithOneResultTheLastNumberCounts) {
  const auto tokenizer = made("a b\nb c</w>\na bc</w>\nab c</w>\n");
  EXPECT_EQ(tokenizer->encode("abc"), Ids{515});
}

TEST_F(BytePairs, WordsAreCutAsPublished) {
  const auto tokenizer = made("");
  const auto text_of = [&](const std::string& text) { return tokenizer->decode(tokenizer->encode(text)); };
  EXPECT_EQ(text_of("It's 1st!?  we'LL"), "it 's 1 st !? we 'll ");
  EXPECT_EQ(text_of("don't 'tis 'x"), "don 't 't is ' x ");
  EXPECT_EQ(text_of("a\u0345b 'ſ"), "a b 'ſ ") << "what a regular expression makes of them that ignores case";
  EXPECT_EQ(text_of("\u001Ca\u001Cb\u001C"), "a \u001C b ") << "stripped at the ends, no blank within";
  EXPECT_EQ(text_of("ΟΔΟΣ İ"), "οδος i \u0307 ") << "Σ at the end of a word";
  EXPECT_EQ(text_of("x²٣Ⅷ"), "x ² ٣ ⅷ ") << "every number by itself";
}

TEST_F(BytePairs, MarkersInATextAreTokens) {
  const auto tokenizer = made("");
  EXPECT_EQ(tokenizer->specials().begin, 512);
  EXPECT_EQ(tokenizer->encode("<|endoftext|>a<|StartOfText|>"), (Ids{513, kA + kEndOfWord, 512}));
  EXPECT_EQ(tokenizer->encode("!<|endoftext|>").size(), 14U) << "behind other signs it is text";
}

TEST_F(BytePairs, ResolvesReferencesTwice) {
  const auto tokenizer = made("");
  EXPECT_EQ(tokenizer->encode("&amp;lt;"), tokenizer->encode("<"));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("&amp;amp;lt;")), "& lt ; ") << "never three times";
}

TEST_F(BytePairs, DecodesBytesThatAreNoText) {
  const auto tokenizer = made("");
  const Ids ids = tokenizer->encode("é");
  EXPECT_EQ(tokenizer->decode(std::span(ids).first(1)), "\uFFFD");
  EXPECT_THROW((void)tokenizer->decode(Ids{514}), DataError);
}

/// {"token":number, …} of the 512 bytes and what is `more`, numbered from the last to the first.
std::string backwards(const std::vector<std::string>& more) {
  std::vector<std::string> tokens;
  std::uint32_t next = 0x100;
  for (const char* end : {"", "</w>"}) {
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      const bool printed = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
      std::string token;
      append_utf8(token, printed ? byte : next++);
      if (byte == '"' || byte == '\\') token = "\\" + token;
      tokens.push_back(token + end);
    }
    next = 0x100;
  }
  tokens.insert(tokens.end(), more.begin(), more.end());
  std::string text;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    text += fmt::format("{}\"{}\":{}", i == 0 ? "{" : ",", tokens[i], tokens.size() - 1 - i);
  return text + "}";
}

TEST_F(BytePairs, NumbersOfJsonCount) {
  made("a b</w>\n");
  const auto json = folder_.write("vocab.json", backwards({"<|endoftext|>", "ab</w>", "<|startoftext|>"}));
  const auto tokenizer = BytePair::read(json);
  EXPECT_EQ(tokenizer->size(), 515);
  EXPECT_EQ(tokenizer->encode("<|startoftext|>ab<|endoftext|>"), (Ids{0, 1, 2}));
  EXPECT_EQ(tokenizer->encode("a"), Ids{514 - 256 - 'a'});
  EXPECT_EQ(tokenizer->decode(Ids{1}), "ab ");
}

TEST_F(BytePairs, JsonHasToFitTheMerges) {
  made("a b</w>\n");
  const auto refused = [&](const std::string& content) -> std::string {
    try {
      BytePair::read(folder_.write("vocab.json", content));
    } catch (const DataError& error) {
      return error.text().what;
    }
    return "";
  };
  EXPECT_EQ(refused(backwards({"<|endoftext|>", "<|startoftext|>"})), "the vocabulary has no token 'ab</w>'");
  EXPECT_EQ(refused("{}"), "the vocabulary has no token 'Ā'");
  EXPECT_EQ(refused("[1]"), "the vocabulary is no JSON object of tokens and their numbers");
  EXPECT_EQ(refused("{\"a b\": 1}"), "the vocabulary is no JSON object of tokens and their numbers");
  EXPECT_EQ(refused("{\"a\": -1}"), "the vocabulary is no JSON object of tokens and their numbers");
  EXPECT_EQ(refused("{\"a\": 1, \"b\": 1}"), "two tokens have number 1");
}

TEST_F(BytePairs, DamageIsNamed) {
  EXPECT_NE(refusal("a b\nab\n").find("merges.txt:3"), std::string::npos);
  EXPECT_NE(refusal("a b c\n").find("merges.txt:2"), std::string::npos);
  const std::string unknown = refusal("a b\nabc d\n");
  EXPECT_NE(unknown.find("no other merge makes 'abc'"), std::string::npos);
  EXPECT_NE(unknown.find("merges.txt:3"), std::string::npos);
  EXPECT_NE(refusal("a b\nc d\na b\n").find("stands twice"), std::string::npos);
  EXPECT_EQ(refusal("a b\n\n"), "") << "an empty line is no merge";
}

TEST(Html, ReferencesAreThoseOfTheStandard) {
  EXPECT_EQ(unescaped("&lt;a&gt; &eacute; &#233; &#xE9; &#Xe9;"), "<a> é é é é");
  EXPECT_EQ(unescaped("&notit; &ampx &AMP &unknown; &amp"), "¬it; &x & &unknown; &");
  EXPECT_EQ(unescaped("&alpha &alpha;"), "&alpha α") << "a name that has to end in a semicolon";
  EXPECT_EQ(unescaped("&#128;&#0;&#xD800;&#x110000;&#99999999999;"), "€\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(unescaped("&#1;&#11;&#xFFFE;&#13;|&#; &# &#x; &"), "\r|&#; &# &#x; &");
  EXPECT_EQ(unescaped("&NotEqualTilde;&CounterClockwiseContourIntegral;&fjlig;"), "≂̸∳fj");
}

}  // namespace
}  // namespace cohort::text
