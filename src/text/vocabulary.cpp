#include "cohort/text/vocabulary.h"

#include <algorithm>
#include <queue>
#include <set>
#include <unordered_map>

#include "lines.h"
#include "unicode.h"

namespace cohort::text {
namespace {

/// By how often they occur, then by bytes.
std::vector<std::string> most_frequent(const WordCounts& counts, std::int64_t most) {
  std::vector<std::pair<std::int64_t, std::string>> order;
  for (const auto& [text, count] : counts) order.emplace_back(-count, text);
  std::sort(order.begin(), order.end());
  order.resize(std::min(order.size(), static_cast<std::size_t>(std::max<std::int64_t>(most, 0))));
  std::vector<std::string> texts;
  for (auto& [count, text] : order) texts.push_back(std::move(text));
  return texts;
}

/// The pieces that a word begins with: its characters, "##" before those that go on.
std::vector<std::string> characters_of(const std::string& word) {
  std::vector<std::string> characters;
  for (std::int32_t at = 0; at < size_of(word);) {
    std::string& character = characters.emplace_back(at == 0 ? "" : "##");
    append(character, next_character(word, at));
  }
  return characters;
}

/// Pieces that are joined pair by pair.
class Joiner {
 public:
  Joiner(const WordCounts& words, std::int64_t size) : size_(size) {
    WordCounts characters;
    for (const auto& [word, count] : words) {
      for (const std::string& character : characters_of(word)) characters[character] += count;
    }
    for (const std::string& piece : special_pieces()) add(piece);
    std::vector<std::string> alphabet = most_frequent(characters, size - std::ssize(pieces_));
    std::sort(alphabet.begin(), alphabet.end());
    for (const std::string& piece : alphabet) add(piece);
    for (const auto& [word, count] : words) add_word(word, count);
    for (const auto& [pair, count] : counts_) order_.push({count, pair});
  }

  std::vector<std::string> run() {
    while (std::ssize(pieces_) < size_ && !order_.empty()) {
      const Candidate best = order_.top();
      order_.pop();
      const std::int64_t count = counts_[best.pair];
      if (count == best.count && count > 0) {
        join(best.pair);
      } else if (count > 0 && count < best.count) {
        order_.push({count, best.pair});  // other pairs have taken some of it
      }
    }
    return std::move(pieces_);
  }

 private:
  using Pair = std::pair<std::int32_t, std::int32_t>;
  struct Candidate {
    std::int64_t count = 0;
    Pair pair;
  };
  struct Word {
    std::vector<std::int32_t> pieces;
    std::int64_t count = 0;
  };
  struct HashOfPair {
    std::size_t operator()(const Pair& pair) const noexcept {
      return std::hash<std::int64_t>{}(std::int64_t{pair.first} << 32 | pair.second);
    }
  };
  struct IsWorse {
    const Joiner* joiner;
    bool operator()(const Candidate& a, const Candidate& b) const {
      if (a.count != b.count) return a.count < b.count;
      return joiner->texts_of(a.pair) > joiner->texts_of(b.pair);
    }
  };

  [[nodiscard]] std::pair<const std::string&, const std::string&> texts_of(const Pair& pair) const {
    return {pieces_[static_cast<std::size_t>(pair.first)], pieces_[static_cast<std::size_t>(pair.second)]};
  }

  std::int32_t add(const std::string& piece) {
    const auto [entry, is_new] = ids_.try_emplace(piece, static_cast<std::int32_t>(pieces_.size()));
    if (is_new) pieces_.push_back(piece);
    return entry->second;
  }

  /// Words of characters that there is no room for have no pieces.
  void add_word(const std::string& text, std::int64_t count) {
    Word word{{}, count};
    for (const std::string& character : characters_of(text)) {
      const auto found = ids_.find(character);
      if (found == ids_.end()) return;
      word.pieces.push_back(found->second);
    }
    for (std::size_t i = 0; i + 1 < word.pieces.size(); ++i) {
      const Pair pair{word.pieces[i], word.pieces[i + 1]};
      counts_[pair] += count;
      places_[pair].insert(std::ssize(words_));
    }
    words_.push_back(std::move(word));
  }

  void join(const Pair& pair) {
    const auto [left, right] = texts_of(pair);
    const std::int32_t joined = add(left + right.substr(2));
    const auto places = std::move(places_[pair]);
    places_.erase(pair);
    std::set<Pair> grown;
    for (const std::int64_t place : places) join(pair, joined, place, grown);
    counts_.erase(pair);
    for (const Pair& other : grown) order_.push({counts_[other], other});
  }

  void join(const Pair& pair, std::int32_t joined, std::int64_t place, std::set<Pair>& grown) {
    Word& word = words_[static_cast<std::size_t>(place)];
    const auto change = [&](std::int64_t sign) {
      for (std::size_t i = 0; i + 1 < word.pieces.size(); ++i) {
        const Pair there{word.pieces[i], word.pieces[i + 1]};
        counts_[there] += sign * word.count;
        if (sign > 0 && (there.first == joined || there.second == joined)) {
          places_[there].insert(place);
          grown.insert(there);
        }
      }
    };
    change(-1);
    std::vector<std::int32_t> pieces;
    for (std::size_t i = 0; i < word.pieces.size(); ++i) {
      const bool joins = i + 1 < word.pieces.size() && Pair{word.pieces[i], word.pieces[i + 1]} == pair;
      pieces.push_back(joins ? joined : word.pieces[i]);
      if (joins) ++i;
    }
    word.pieces = std::move(pieces);
    change(1);
  }

  std::int64_t size_;
  std::vector<std::string> pieces_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<Word> words_;
  std::unordered_map<Pair, std::int64_t, HashOfPair> counts_;
  std::unordered_map<Pair, std::set<std::int64_t>, HashOfPair> places_;
  std::priority_queue<Candidate, std::vector<Candidate>, IsWorse> order_{IsWorse{this}};
};

}  // namespace

std::vector<std::string> read_vocabulary(const std::filesystem::path& file) {
  return read_text_lines(file, "vocabulary");
}

std::vector<std::string> special_pieces() {
  return {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
}

std::vector<std::string> word_vocabulary(const WordCounts& words, std::int64_t size) {
  std::vector<std::string> pieces = special_pieces();
  const std::vector<std::string> found = most_frequent(words, size - std::ssize(pieces));
  pieces.insert(pieces.end(), found.begin(), found.end());
  return pieces;
}

std::vector<std::string> piece_vocabulary(const WordCounts& words, std::int64_t size) {
  return Joiner(words, size).run();
}

}  // namespace cohort::text
