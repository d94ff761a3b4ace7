#include "comm/same_command.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "cohort/comm/different_rank.h"
#include "cohort/core/error.h"

#include "comm/failure.h"

namespace cohort::comm {
namespace {

constexpr char kEnd = '\0';  // of a word: none holds it
constexpr const char* kFix = "start all ranks with the same command and the same arguments";

std::string text_of(const std::string& program, const std::vector<std::string>& words) {
  std::string text = program + kEnd;
  for (const std::string& word : words) text += word + kEnd;
  return text;
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t begin = 0, end; (end = text.find(kEnd, begin)) != std::string::npos; begin = end + 1)
    words.push_back(text.substr(begin, end - begin));
  return words;
}

bool is_option(std::string_view word) {
  return word.starts_with('-');
}

/// What `words[at]` gives a value to, and that value: "seed" of "seed=1", "--split" of "--split test". The
/// name is empty for a word that stands for itself.
struct Argument {
  std::string name, value;
};

Argument argument(const std::vector<std::string>& words, std::size_t at) {
  if (at >= words.size()) return {"", ""};
  const std::string& word = words[at];
  if (const std::size_t sign = word.find('='); sign != std::string::npos)
    return {word.substr(0, sign), word.substr(sign + 1)};
  if (!is_option(word) && is_option(words[at - 1])) return {words[at - 1], word};
  return {"", word};
}

UsageError difference(const DifferentRank& found) {
  const auto first = words_of(found.first), other = words_of(found.other);
  if (first[0] != other[0]) {
    return UsageError(
        {fmt::format("ranks were started with different commands: '{}' on rank 0, '{}' on rank {}", first[0],
                     other[0], found.rank),
         found.place(), kFix});
  }
  const auto at = static_cast<std::size_t>(
      std::mismatch(first.begin(), first.end(), other.begin(), other.end()).first - first.begin());
  const Argument mine = argument(first, at), theirs = argument(other, at);
  if (!mine.name.empty() && mine.name == theirs.name) {
    return UsageError({fmt::format("ranks were started with different values of {}: '{}' on rank 0, '{}' on "
                                   "rank {}",
                                   mine.name, mine.value, theirs.value, found.rank),
                       found.place(), kFix});
  }
  const auto shown = [at](const auto& words) { return at < words.size() ? words[at] : std::string(); };
  return UsageError(
      {fmt::format("ranks were started with different arguments: '{}' on rank 0, '{}' on rank {}",
                   shown(first), shown(other), found.rank),
       found.place(), kFix});
}

}  // namespace

void check_same_command(const std::string& program, const std::vector<std::string>& words,
                        Communicator& ranks) {
  if (const auto found = different_rank(text_of(program, words), ranks))
    throw_agreed(describe(std::make_exception_ptr(difference(*found))));
}

}  // namespace cohort::comm
