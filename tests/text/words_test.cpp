#include "cohort/text/words.h"

#include <gtest/gtest.h>

namespace cohort::text {
namespace {

using Words = std::vector<std::string>;

Words words_of(std::string_view text, Letters letters) {
  Words words;
  for_each_word(text, letters, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

Words cased(std::string_view text) {
  return words_of(text, Letters::cased);
}
Words uncased(std::string_view text) {
  return words_of(text, Letters::uncased);
}

TEST(Words, BlanksAndSignsCut) {
  EXPECT_EQ(cased("The heart's\tsize,\r\n is (normal)."),
            (Words{"The", "heart", "'", "s", "size", ",", "is", "(", "normal", ")", "."}));
  EXPECT_EQ(cased(""), Words{});
  EXPECT_EQ(cased(" \t\n"), Words{});
  EXPECT_EQ(cased("a\u2003b\u3000c\u2028d"), (Words{"a", "b", "c", "d"}));
  EXPECT_EQ(cased("a$b=c^d`e|f"), (Words{"a", "$", "b", "=", "c", "^", "d", "`", "e", "|", "f"}))
      << "signs of ASCII that are no punctuation to Unicode";
  EXPECT_EQ(cased("a…b—c„d。e"), (Words{"a", "…", "b", "—", "c", "„", "d", "。", "e"}));
  EXPECT_EQ(cased("5° ± €3"), (Words{"5°", "±", "€3"})) << "symbols are no punctuation";
}

TEST(Words, WhatIsNotSeenIsLeftOut) {
  using namespace std::string_view_literals;
  EXPECT_EQ(cased("he\0art\x01\x7f"sv), Words{"heart"});
  EXPECT_EQ(cased("a\u200bb\u00adc\ufeffd\ufffde\u0085f"), Words{"abcdef"});
  EXPECT_EQ(cased("a\u0378b"), Words{"ab"}) << "a number that is no character";
  EXPECT_EQ(cased("a\xFF\xED\xA0\x80z"), Words{"az"}) << "no UTF-8";
}

TEST(Words, IdeographsStandAlone) {
  EXPECT_EQ(cased("heart心肺x"), (Words{"heart", "心", "肺", "x"}));
  EXPECT_EQ(cased("\U00020000\U0002B820\U0002CEA1"), (Words{"\U00020000", "\U0002B820", "\U0002CEA1"}));
  EXPECT_EQ(cased("한국 ひらがな"), (Words{"한국", "ひらがな"}));
  EXPECT_EQ(cased("\u33FF\u3400\u4DC0"), (Words{"\u33FF", "\u3400", "\u4DC0"}));
}

TEST(Words, UncasedHasNoAccents) {
  EXPECT_EQ(uncased("Café CAFE\u0301 Ångström İs"), (Words{"cafe", "cafe", "angstrom", "is"}));
  EXPECT_EQ(cased("Café CAFE\u0301"), (Words{"Café", "CAFE\u0301"}));
  EXPECT_EQ(uncased("Straße ﬁn ΚΑΣ"), (Words{"straße", "ﬁn", "κασ"})) << "compatible forms stay";
  EXPECT_EQ(uncased("한"), Words{"\u1112\u1161\u11AB"}) << "parts of a syllable are no marks";
  EXPECT_EQ(uncased("\u0301x"), Words{"x"});
  EXPECT_EQ(uncased("a\u037Eb"), (Words{"a", ";", "b"})) << "a sign that is another one, taken apart";
}

TEST(Sentences, EndWhereUnicodeSays) {
  EXPECT_EQ(sentences_of("Heart size is normal.  No effusion!\nIs it 1.5 cm? Yes"),
            (Words{"Heart size is normal.", "No effusion!", "Is it 1.5 cm?", "Yes"}));
  EXPECT_EQ(sentences_of(" \n "), Words{});
  EXPECT_EQ(sentences_of("心肺正常。无气胸。"), (Words{"心肺正常。", "无气胸。"}));
}

}  // namespace
}  // namespace cohort::text
