#include "cohort/text/byte_pair.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>
#include <unicode/casemap.h>

#include "cohort/core/file.h"
#include "cohort/core/printable.h"
#include "cohort/text/word_piece.h"

#include "html.h"
#include "lines.h"
#include "support/json.h"
#include "unicode.h"

namespace cohort::text {

/// What merges.txt has, and where, for messages.
struct MergesFile {
  struct Line {
    std::int64_t number = 0;
    std::string left, right;
  };
  std::filesystem::path path;
  std::vector<Line> merges;
};

namespace {

constexpr std::string_view kBegin = "<|startoftext|>", kEnd = "<|endoftext|>", kWordEnd = "</w>";
constexpr std::size_t kMostMerges = 48894;  // 49408 - 512 bytes - 2 markers, of CLIP's larger file

/// Whether a byte is its own symbol.
constexpr bool is_printed(int byte) noexcept {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

/// The characters that stand for bytes: those that can be printed for themselves, the others, in order, for
/// U+0100 and what follows.
struct ByteSymbols {
  std::array<std::string, 256> of_byte;
  std::vector<int> in_order;  ///< as CLIP numbers them
  std::unordered_map<UChar32, char> byte_of;
};

const ByteSymbols& byte_symbols() {
  static const ByteSymbols symbols = [] {
    ByteSymbols made;
    UChar32 next = 0x100;
    for (const bool printed : {true, false}) {
      for (int byte = 0; byte < 256; ++byte) {
        if (is_printed(byte) != printed) continue;
        const UChar32 symbol = printed ? byte : next++;
        append(made.of_byte.at(static_cast<std::size_t>(byte)), symbol);
        made.byte_of[symbol] = static_cast<char>(byte);
        made.in_order.push_back(byte);
      }
    }
    return made;
  }();
  return symbols;
}

bool is_of_bytes(std::string_view token) {
  for (std::int32_t at = 0; at < size_of(token);) {
    if (byte_symbols().byte_of.count(next_character(token, at)) == 0) return false;
  }
  return true;
}

std::uint64_t pair_of(std::int32_t left, std::int32_t right) noexcept {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32U |
         static_cast<std::uint32_t>(right);
}

/// As CLIP numbers them.
std::vector<std::string> numbered(const MergesFile& file) {
  std::vector<std::string> tokens;
  for (const std::string_view end : {std::string_view(), kWordEnd}) {
    for (const int byte : byte_symbols().in_order)
      tokens.push_back(byte_symbols().of_byte.at(static_cast<std::size_t>(byte)) + std::string(end));
  }
  for (const auto& merge : file.merges) tokens.push_back(merge.left + merge.right);
  tokens.emplace_back(kBegin);
  tokens.emplace_back(kEnd);
  return tokens;
}

MergesFile read_merges(const std::filesystem::path& path) {
  MergesFile file{path, {}};
  std::int64_t number = 0;
  for (const std::string& line : read_text_lines(path, "merges")) {
    if (++number == 1 || line.empty()) continue;
    if (file.merges.size() == kMostMerges) break;
    const std::size_t blank = line.find(' ');
    const bool is_pair = blank != std::string::npos && blank > 0 && blank + 1 < line.size() &&
                         line.find(' ', blank + 1) == std::string::npos;
    if (!is_pair) {
      throw DataError({"a line of the merges is no pair of symbols",
                       fmt::format("{}:{}", path.string(), number),
                       "after the header each line has two symbols with one blank between them: give the "
                       "merges.txt of a CLIP model"});
    }
    file.merges.push_back({number, line.substr(0, blank), line.substr(blank + 1)});
  }
  return file;
}

DataError bad_vocabulary(const std::string& file) {
  return DataError({"the vocabulary is no JSON object of tokens and their numbers", file,
                    "give the vocab.json of a CLIP model, with its merges.txt beside it"});
}

std::vector<std::string> read_json_vocabulary(const std::filesystem::path& file) {
  constexpr std::int64_t kMostTokens = 1 << 20;
  const std::string content = read_file(file, kMostVocabulary);
  const auto parsed =
      is_nested_deeply(content) ? nlohmann::json() : nlohmann::json::parse(content, nullptr, false);
  if (!parsed.is_object()) throw bad_vocabulary(file.string());
  std::vector<std::string> tokens;
  for (const auto& [token, number] : parsed.items()) {
    const bool fits = number.is_number_unsigned() && number.get<std::uint64_t>() < kMostTokens;
    if (!fits || token.empty() || !is_of_bytes(token)) throw bad_vocabulary(file.string());
    const auto id = number.get<std::size_t>();
    tokens.resize(std::max(tokens.size(), id + 1));
    if (!tokens[id].empty())
      throw DataError({fmt::format("two tokens have number {}", id), file.string(),
                       fmt::format("'{}' and '{}': give the file that belongs to the weights",
                                   printable(tokens[id]), printable(token))});
    tokens[id] = token;
  }
  return tokens;
}

// What follows reads a text that is small already, as the published regular expression does, which ignores
// case: "ſ" is a "s" to it, and U+0345, a mark whose large form is a letter, belongs to nothing.

/// Bytes of `literal` at the beginning of `text`; 0: something else is there.
std::size_t matched(std::string_view text, std::string_view literal) {
  constexpr std::string_view kLongS = "ſ";
  std::size_t at = 0;
  for (const char c : literal) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with(c))
      ++at;
    else if (c == 's' && rest.starts_with(kLongS))
      at += kLongS.size();
    else
      return 0;
  }
  return at;
}

std::size_t fixed_token_at(std::string_view text) {
  if (text.front() != '<' && text.front() != '\'') return 0;
  for (const std::string_view literal :
       {kBegin, kEnd, std::string_view("'s"), std::string_view("'t"), std::string_view("'re"),
        std::string_view("'ve"), std::string_view("'m"), std::string_view("'ll"), std::string_view("'d")}) {
    if (const std::size_t bytes = matched(text, literal); bytes > 0) return bytes;
  }
  return 0;
}

enum class Kind { letter, number, blank, other };

Kind kind_of(UChar32 c) noexcept {
  constexpr UChar32 kIotaBelow = 0x345;
  if (is_of(c, U_GC_L_MASK)) return Kind::letter;
  if (is_of(c, U_GC_N_MASK)) return Kind::number;
  return u_isUWhiteSpace(c) || c == kIotaBelow ? Kind::blank : Kind::other;
}

template <class Visit>
void for_each_token(std::string_view text, Visit&& visit) {
  const std::int32_t size = size_of(text);
  for (std::int32_t at = 0; at < size;) {
    const auto first = static_cast<std::size_t>(at);
    if (const std::size_t bytes = fixed_token_at(text.substr(first)); bytes > 0) {
      at += static_cast<std::int32_t>(bytes);
      visit(text.substr(first, bytes));
      continue;
    }
    const Kind kind = kind_of(next_character(text, at));
    for (std::int32_t next = at; kind != Kind::number && at < size; at = next) {
      if (kind_of(next_character(text, next)) != kind) break;
    }
    if (kind != Kind::blank) visit(text.substr(first, static_cast<std::size_t>(at) - first));
  }
}

/// What Python's str.strip() takes away.
bool is_stripped(UChar32 c) noexcept {
  return u_isUWhiteSpace(c) || (c >= 0x1C && c <= 0x1F);
}

std::string_view stripped(std::string_view text) {
  std::int32_t first = 0, end = 0;
  for (std::int32_t at = 0, next = 0; at < size_of(text); at = next) {
    const bool is_blank = is_stripped(next_character(text, next));
    if (is_blank && end == 0) first = next;
    if (!is_blank) end = next;
  }
  return end == 0 ? "" : text.substr(static_cast<std::size_t>(first), static_cast<std::size_t>(end - first));
}

std::string in_small_characters(std::string_view text) {
  std::string result;
  icu::StringByteSink<std::string> sink(&result, size_of(text));
  UErrorCode status = U_ZERO_ERROR;
  icu::CaseMap::utf8ToLower("", 0, piece_of(text), sink, nullptr, status);
  check(status);
  return result;
}

std::string prepared(std::string_view text) {
  if (text.find('&') == std::string_view::npos) return in_small_characters(stripped(text));
  return in_small_characters(stripped(unescaped(unescaped(text))));
}

std::int32_t id_of(const std::string& token, const IdOfText& ids, const std::string& file) {
  const auto found = ids.find(token);
  if (found != ids.end()) return found->second;
  throw DataError({fmt::format("the vocabulary has no token '{}'", printable(token)), file,
                   "take vocab.json and merges.txt of one model"});
}

void refuse_unknown(const MergesFile::Line& line, const IdOfText& ids, const std::string& place) {
  for (const std::string& symbol : {line.left, line.right}) {
    if (ids.find(symbol) != ids.end()) continue;
    throw DataError({fmt::format("no other merge makes '{}'", printable(symbol)), place,
                     "the file is damaged, or no merges.txt of CLIP: get it anew"});
  }
}

}  // namespace

BytePair::BytePair(const MergesFile& merges, std::vector<std::string> tokens, const std::string& file)
    : tokens_(std::move(tokens)) {
  IdOfText ids;
  for (std::size_t id = 0; id < tokens_.size(); ++id) ids[tokens_[id]] = static_cast<std::int32_t>(id);
  for (std::size_t byte = 0; byte < within_.size(); ++byte) {
    const std::string& symbol = byte_symbols().of_byte.at(byte);
    within_.at(byte) = id_of(symbol, ids, file);
    last_.at(byte) = id_of(symbol + std::string(kWordEnd), ids, file);
  }
  specials_.begin = id_of(std::string(kBegin), ids, file);
  specials_.end = id_of(std::string(kEnd), ids, file);
  for (const MergesFile::Line& line : merges.merges) {
    const std::string place = fmt::format("{}:{}", merges.path.string(), line.number);
    refuse_unknown(line, ids, place);
    const std::uint64_t pair = pair_of(id_of(line.left, ids, file), id_of(line.right, ids, file));
    const Merge merge{static_cast<std::int32_t>(merges_.size()), id_of(line.left + line.right, ids, file)};
    if (merges_.try_emplace(pair, merge).second) continue;
    throw DataError(
        {fmt::format("the merge '{} {}' stands twice", printable(line.left), printable(line.right)), place,
         "remove one of the two lines, or get the file anew"});
  }
}

std::unique_ptr<BytePair> BytePair::read(const std::filesystem::path& file) {
  const bool is_json = file.extension() == ".json";
  const MergesFile merges = read_merges(is_json ? file.parent_path() / "merges.txt" : file);
  std::vector<std::string> tokens = is_json ? read_json_vocabulary(file) : numbered(merges);
  return std::unique_ptr<BytePair>(new BytePair(merges, std::move(tokens), file.string()));
}

/// The symbols of a word, whose pairs are joined; room for one after the other.
class BytePair::Word {
 public:
  explicit Word(const Merges& merges) : merges_(merges) {}

  void clear() { symbols_.clear(); }
  void add(std::int32_t id) {
    const auto at = static_cast<std::int32_t>(symbols_.size());
    symbols_.push_back({id, at - 1, at + 1});
  }
  void set_last(std::int32_t id) { symbols_.back().id = id; }
  void join_pairs();
  void append_to(Ids& ids) const {
    for (const Symbol& symbol : symbols_) {
      if (symbol.id != kJoined) ids.push_back(symbol.id);
    }
  }

 private:
  static constexpr std::int32_t kJoined = -1;  // to the symbol before
  struct Symbol {
    std::int32_t id, before, next;
  };
  /// Where a pair begins that a merge is for; those of one merge from left to right.
  struct Place {
    std::int32_t rank, at;
    const Merges::value_type* merge;
    friend bool operator<(const Place& a, const Place& b) {
      return std::tie(b.rank, b.at) < std::tie(a.rank, a.at);  // the first of a heap is the largest
    }
  };

  Symbol& symbol(std::int32_t at) { return symbols_[static_cast<std::size_t>(at)]; }
  bool begins_pair(std::int32_t at) {
    return at >= 0 && symbol(at).id != kJoined && symbol(at).next < std::ssize(symbols_);
  }
  /// Precondition: begins_pair().
  std::uint64_t pair_at(std::int32_t at) { return pair_of(symbol(at).id, symbol(symbol(at).next).id); }
  void note(std::int32_t at);
  Place take_first();
  void join(std::int32_t at, std::int32_t result);

  const Merges& merges_;
  std::vector<Symbol> symbols_;
  std::vector<Place> places_;  // a heap
  std::vector<std::int32_t> joined_;
};

void BytePair::Word::note(std::int32_t at) {
  if (!begins_pair(at)) return;
  const auto merge = merges_.find(pair_at(at));
  if (merge == merges_.end()) return;
  places_.push_back({merge->second.rank, at, &*merge});
  std::push_heap(places_.begin(), places_.end());
}

BytePair::Word::Place BytePair::Word::take_first() {
  std::pop_heap(places_.begin(), places_.end());
  const Place first = places_.back();
  places_.pop_back();
  return first;
}

void BytePair::Word::join(std::int32_t at, std::int32_t result) {
  const std::int32_t gone = symbol(at).next, behind = symbol(gone).next;
  symbol(gone).id = kJoined;
  symbol(at).id = result;
  symbol(at).next = behind;
  if (behind < std::ssize(symbols_)) symbol(behind).before = at;
  joined_.push_back(at);
}

void BytePair::Word::join_pairs() {
  for (std::int32_t at = 0; at < std::ssize(symbols_); ++at) note(at);
  while (!places_.empty()) {
    const auto [rank, at, merge] = take_first();
    if (begins_pair(at) && pair_at(at) == merge->first) join(at, merge->second.result);
    // As published, all places of a pair are joined before another pair is looked for.
    if (!places_.empty() && places_.front().rank == rank) continue;
    for (const std::int32_t place : joined_) {
      note(symbol(place).before);
      note(place);
    }
    joined_.clear();
  }
}

void BytePair::append_word(std::string_view bytes, Word& word, Ids& ids) const {
  if (bytes == kBegin) return ids.push_back(specials_.begin);
  if (bytes == kEnd) return ids.push_back(specials_.end);
  word.clear();
  for (const char byte : bytes) word.add(within_[static_cast<unsigned char>(byte)]);
  word.set_last(last_[static_cast<unsigned char>(bytes.back())]);
  word.join_pairs();
  word.append_to(ids);
}

Ids BytePair::encode(std::string_view text) const {
  Ids ids;
  Word word(merges_);
  for_each_token(prepared(text), [&](std::string_view token) { append_word(token, word, ids); });
  return ids;
}

std::string BytePair::decode(std::span<const std::int32_t> ids) const {
  std::string symbols, bytes;
  for (const std::int32_t id : ids) {
    const bool is_known = id >= 0 && id < size() && !tokens_[static_cast<std::size_t>(id)].empty();
    if (!is_known)
      throw DataError(
          {fmt::format("there is no token {}", id), "byte-pair vocabulary",
           fmt::format("take the vocabulary that the text was encoded with; this one has {} tokens",
                       size())});
    symbols += tokens_[static_cast<std::size_t>(id)];
  }
  for (std::int32_t at = 0; at < size_of(symbols);)
    bytes += byte_symbols().byte_of.at(next_character(symbols, at));
  std::string text;
  for (std::int32_t at = 0; at < size_of(bytes);) append(text, next_character(bytes, at));
  for (std::size_t at = text.find(kWordEnd); at != std::string::npos; at = text.find(kWordEnd, at + 1))
    text.replace(at, kWordEnd.size(), " ");
  return text;
}

}  // namespace cohort::text
