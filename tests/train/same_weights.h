#pragma once
#include <filesystem>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/safetensors.h"

namespace cohort::train {

/// Bit by bit, of two safetensors files.
inline void expect_same_weights(const std::filesystem::path& a, const std::filesystem::path& b) {
  const auto expected = checkpoint::read_safetensors(a), actual = checkpoint::read_safetensors(b);
  for (const auto& [name, values] : expected.tensors)
    EXPECT_TRUE(at::equal(values, *actual.find(name))) << name;
}

}  // namespace cohort::train
