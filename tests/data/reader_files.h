#pragma once
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "data/image_files.h"
#include "data_prep/npz.h"

namespace cohort::data_prep {

// Files of single fields, and what Python's readers give of them: tests/data/readers.py made both.

inline const std::filesystem::path kReaders = std::filesystem::path(COHORT_TEST_DATA) / "data" / "readers";

inline Array expected(const std::string& name) {
  return Npz(kReaders / "expected.npz").array(name);
}

template <class T>
std::vector<T> values_of_array(const Array& array) {
  std::vector<T> values(array.bytes.size() / sizeof(T));
  std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  return values;
}

/// The same values as what Python's reader gave.
inline void expect_same(const Image& image, const Array& array) {
  const char* type = image.layout.type == data::PixelType::u8    ? "u1"
                     : image.layout.type == data::PixelType::u16 ? "u2"
                                                                 : "f4";
  EXPECT_EQ(array.type, type);
  EXPECT_EQ(image.layout.width, array.shape.back());
  EXPECT_EQ(image.layout.height, array.shape[array.shape.size() - 2]);
  ASSERT_EQ(image.pixels.size(), array.bytes.size());
  EXPECT_EQ(std::memcmp(image.pixels.data(), array.bytes.data(), array.bytes.size()), 0);
}

inline int largest_difference(const Image& image, const Array& array) {
  const auto left = testing::values_of<std::uint8_t>(image), right = values_of_array<std::uint8_t>(array);
  EXPECT_EQ(left.size(), right.size());
  int most = 0;
  for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i)
    most = std::max(most, std::abs(left[i] - right[i]));
  return most;
}

inline std::string refusal_of(const std::function<void()>& read) {
  try {
    read();
  } catch (const Error& error) {
    return error.text().what;
  }
  return "it was accepted";
}

}  // namespace cohort::data_prep
