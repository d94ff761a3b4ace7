#include "cohort/core/printable.h"

#include <gtest/gtest.h>

namespace cohort {
namespace {

TEST(Printable, WhatSteersATerminalIsEscaped) {
  EXPECT_EQ(printable("site\x1b[31mA\x07"), "site\\x1b[31mA\\x07");
  EXPECT_EQ(printable("a\nb\r\tc\x7f"), "a\\nb\\r\\tc\\x7f");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\u009b31m")
      << "C1: the same as ESC [ on some terminals";
  EXPECT_EQ(printable("cat\xE2\x80\xAEgnp.exe"), "cat\\u202egnp.exe");
  EXPECT_EQ(printable("a\xE2\x80\xA8z"), "a\\u2028z");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(Printable, NamesOfAnyScriptStay) {
  for (const char* name : {"Zürich", "北京", "قاهرة", "👩‍🔬", "a b-c_1.png", "C:\\photos"})
    EXPECT_EQ(printable(name), name);
}

TEST(Printable, BytesThatAreNotUtf8AreNamed) {
  EXPECT_EQ(printable("Z\xFCrich"), "Z\\xfcrich");
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80") << "half of a surrogate pair";
  EXPECT_EQ(printable("\xC0\xAF"), "\\xc0\\xaf") << "longer than it need be";
  EXPECT_EQ(printable("\xE2\x82"), "\\xe2\\x82") << "cut off";
  EXPECT_TRUE(is_utf8("Zürich 北京"));
  EXPECT_FALSE(is_utf8("Z\xFCrich"));
}

TEST(Printable, LinesStayLines) {
  EXPECT_EQ(printable_lines("a\n\tb\x1b[0m\n"), "a\n\tb\\x1b[0m\n");
}

TEST(Folded, TheWaysToWriteANameAreOne) {
  EXPECT_EQ(folded("Z\xC3\xBCrich"), folded("Zu\xCC\x88rich"));
  EXPECT_EQ(folded("\xE1\xBB\x87"), folded("e\xCC\xA3\xCC\x82")) << "two marks";
  EXPECT_EQ(folded("\xE1\xBB\x87"), folded("e\xCC\x82\xCC\xA3")) << "the other one first";
  EXPECT_EQ(folded("\xED\x95\x9C"), folded("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB")) << "Hangul";
  EXPECT_EQ(folded("\xE3\x81\x8C"), folded("\xE3\x81\x8B\xE3\x82\x99"));
  EXPECT_EQ(folded("\xC2\xB5m"), folded("\xCE\xBCm")) << "micro sign and Greek letter";
  EXPECT_EQ(folded("ÄRZTIN Straße"), folded("ärztin STRASSE"));
  EXPECT_EQ(folded("ΣΊΣΥΦΟΣ"), folded("σίσυφος"));
  EXPECT_EQ(folded("a\xE2\x80\x8B"
                   "b"),
            "ab")
      << "a blank that is not seen";
  EXPECT_EQ(folded("plain \xFF"), "plain \xFF");
  EXPECT_EQ(folded(""), "");
  EXPECT_NE(folded("a"), folded("\xC3\xA4"));
}

TEST(AppendUtf8, IsUtf8ForCodePointsAlone) {
  const auto text_of = [](std::uint32_t point) {
    std::string text;
    append_utf8(text, point);
    return text;
  };
  EXPECT_EQ(text_of('a'), "a");
  EXPECT_EQ(text_of(0xFC), "ü");
  EXPECT_EQ(text_of(0x5317), "北");
  EXPECT_EQ(text_of(0x1F52C), "🔬");
  for (const std::uint32_t point : {0xD83DU, 0x110000U, 0xFFFFFFFFU}) EXPECT_FALSE(is_utf8(text_of(point)));
}

TEST(DisplayWidth, IsThatOfATerminal) {
  EXPECT_EQ(display_width("abc"), 3U);
  EXPECT_EQ(display_width("Zürich"), 6U);
  EXPECT_EQ(display_width("Zu\xCC\x88rich"), 6U) << "a combining mark";
  EXPECT_EQ(display_width("北京"), 4U);
  EXPECT_EQ(display_width("สวัสดี"), 4U) << "signs above and below in other scripts";
  EXPECT_EQ(display_width("שָׁלוֹם"), 4U);
  EXPECT_EQ(display_width("\xF0\x97\x80\x80"), 2U) << "Tangut";
  EXPECT_EQ(display_width("\xF0\x9F\x95\x86"), 1U) << "a picture that is not wide";
}

TEST(PrintableName, IsCutByWidth) {
  EXPECT_EQ(printable_name("short", 5), "short");
  EXPECT_EQ(printable_name("longer", 5), "long…");
  EXPECT_EQ(printable_name("北京市", 5), "北京…");
  EXPECT_EQ(printable_name("北京市", 4), "北…");
  EXPECT_EQ(display_width(printable_name(std::string(1 << 20, 'x'))), kNameColumns);
}

TEST(Aligned, ByWidth) {
  EXPECT_EQ(left_aligned("北", 4) + "|", "北  |");
  EXPECT_EQ(right_aligned("ü", 3), "  ü");
  EXPECT_EQ(right_aligned("long", 2), "long");
}

}  // namespace
}  // namespace cohort
