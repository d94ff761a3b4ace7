#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort {

/// The candidate nearest to `word` (Damerau–Levenshtein distance, at most a third of the word's length, at
/// least 1; a candidate whose last dotted part equals the word's counts as near); nothing if none is near.
std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates);

/// "did you mean 'x'?", or "known: a, b, c …" when nothing is near, or "there is none". For the `fix` of an
/// Error.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

/// With ASCII letters in small.
std::string in_small_letters(std::string text);

std::string join(std::span<const std::string> parts, std::string_view separator);

/// "cat, dog", of many the first ones and "… (200 in all)"; "none".
std::string list_of(std::span<const std::string> names);

/// Where each of `wanted` stands in `names`; -1: nowhere.
std::vector<std::int64_t> places_of(std::span<const std::string> wanted, std::span<const std::string> names);

/// "1.2 GiB", "512 B": binary units.
std::string format_bytes(std::uint64_t bytes);
/// "0.4 s", "3 min 20 s", "5 h 02 min".
std::string format_duration(std::chrono::duration<double> time);
/// With thousands separated: "2,484".
std::string format_count(std::int64_t count);

}  // namespace cohort
