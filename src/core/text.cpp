#include "cohort/core/text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

namespace cohort {
namespace {

// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  std::iota(cost[0].begin(), cost[0].end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, change});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

std::string_view last_part(std::string_view dotted) {
  return dotted.substr(dotted.rfind('.') + 1);
}

}  // namespace

std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates) {
  constexpr std::size_t kLongest = 256;  // what is compared takes the square of it
  // The first number decides whether a candidate is near; the second, which of several near ones is nearest.
  using Rank = std::pair<std::size_t, std::size_t>;
  std::optional<std::string> best;
  Rank best_rank{std::max<std::size_t>(1, word.size() / 3), SIZE_MAX};
  for (const std::string& candidate : candidates) {
    if (std::max(word.size(), candidate.size()) > kLongest) continue;
    const std::size_t d = distance(word, candidate);
    const bool same_end = last_part(candidate) == last_part(word);
    if (const Rank rank{same_end ? std::min<std::size_t>(1, d) : d, d}; rank < best_rank) {
      best = candidate;
      best_rank = rank;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  if (candidates.empty()) return "there is none";
  if (const auto near = nearest(word, candidates)) return fmt::format("did you mean '{}'?", *near);
  constexpr std::size_t kMost = 12;
  const auto shown = candidates.first(std::min(candidates.size(), kMost));
  return fmt::format("known: {}{}", join(shown, ", "), candidates.size() > kMost ? " …" : "");
}

std::string in_small_letters(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  std::string joined;
  for (const std::string& part : parts) {
    if (&part != &parts.front()) joined += separator;
    joined += part;
  }
  return joined;
}

std::vector<std::int64_t> places_of(std::span<const std::string> wanted, std::span<const std::string> names) {
  std::unordered_map<std::string_view, std::int64_t> known;
  for (std::size_t i = 0; i < names.size(); ++i) known.emplace(names[i], static_cast<std::int64_t>(i));
  std::vector<std::int64_t> places;
  places.reserve(wanted.size());
  for (const std::string& name : wanted) {
    const auto found = known.find(name);
    places.push_back(found == known.end() ? -1 : found->second);
  }
  return places;
}

std::string list_of(std::span<const std::string> names) {
  constexpr std::size_t kMost = 12;
  if (names.empty()) return "none";
  const std::string shown = join(names.first(std::min(names.size(), kMost)), ", ");
  return names.size() <= kMost ? shown
                               : fmt::format("{} … ({} in all)", shown, format_count(std::ssize(names)));
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024.0 && unit + 1 < kUnits.size(); ++unit) value /= 1024.0;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string format_duration(std::chrono::duration<double> time) {
  const double seconds = time.count();
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

std::string format_count(std::int64_t count) {
  std::string digits = std::to_string(count);
  for (std::ptrdiff_t at = std::ssize(digits) - 3; at > (count < 0 ? 1 : 0); at -= 3) {
    digits.insert(digits.begin() + at, ',');
  }
  return digits;
}

}  // namespace cohort
