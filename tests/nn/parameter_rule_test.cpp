#include "cohort/nn/parameter_rule.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace cohort::nn {
namespace {

TEST(ParameterRule, PatternsAreComparedWithWholeNames) {
  for (const std::string pattern :
       {"blocks.3.attn.qkv.weight", "*", "**", "blocks.*", "*.weight", "blocks.?.attn.*", "*qkv*",
        "b*.3.*.weight", "*weight*", "blocks.3.attn.qkv.weigh?", "*3*t*"})
    EXPECT_TRUE(matches(pattern, "blocks.3.attn.qkv.weight")) << pattern;
  for (const std::string pattern :
       {"", "blocks", "blocks.", "locks.*", "*.bias", "blocks.??.attn.*", "blocks.*.weight?", "*.qkv",
        "blocks.3.attn.qkv.weight.*", "blocks[.]*", "?"})
    EXPECT_FALSE(matches(pattern, "blocks.3.attn.qkv.weight")) << pattern;
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("a*ab", "aaaab"));
  EXPECT_FALSE(matches("a*ab", "aaaa"));
}

TEST(ParameterRule, TheLastOneThatSaysSomethingCounts) {
  const std::vector<ParameterRule> rules{
      {.pattern = "text.*", .lr_scale = 2.0, .trained = false},
      {.pattern = "*.bias", .lr_scale = 3.0, .weight_decay = 0.5},
      {.pattern = "text.head.*", .trained = true, .first_epoch = 4},
      {.pattern = "image.*", .weight_decay = 0.25},
  };

  const ParameterRule found = rule_for("text.head.bias", rules);
  EXPECT_EQ(found.pattern, "text.head.bias");
  EXPECT_EQ(found.lr_scale, 3.0);
  EXPECT_EQ(found.weight_decay, 0.5);
  EXPECT_EQ(found.trained, true);
  EXPECT_EQ(found.first_epoch, 4);
  EXPECT_EQ(rule_for("text.body.weight", rules).trained, false);
  EXPECT_EQ(rule_for("image.bias", rules).weight_decay, 0.25);
  const ParameterRule none = rule_for("head.weight", rules);
  EXPECT_FALSE(none.lr_scale || none.weight_decay || none.trained || none.first_epoch);
}

}  // namespace
}  // namespace cohort::nn
