#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace cohort::comm {

/// Text of at most N-1 bytes inside an object that can be sent to other ranks and read by signal handlers.
template <std::size_t N>
struct ShortText : std::array<char, N> {
  ShortText() : std::array<char, N>{} {}
  explicit ShortText(std::string_view text) : std::array<char, N>{} {
    std::copy_n(text.begin(), std::min(text.size(), N - 1), this->begin());
  }
  [[nodiscard]] std::string_view text() const { return this->data(); }
};

}  // namespace cohort::comm
