#include "cohort/text/word_piece.h"

#include <array>

#include <fmt/format.h>

#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/text/vocabulary.h"

#include "unicode.h"

namespace cohort::text {
namespace {

constexpr std::string_view kContinues = "##";

/// What stands at the beginning of `text`; nothing: no special token does.
std::string_view special_at(std::string_view text) {
  static const std::vector<std::string> specials = special_pieces();
  for (const std::string& special : specials) {
    if (text.starts_with(special)) return special;
  }
  return "";
}

/// The end of the character before the last one of text[0, end).
std::size_t one_less(std::string_view text, std::size_t end) {
  do --end;
  while (end > 0 && U8_IS_TRAIL(text[end]));
  return end;
}

}  // namespace

WordPiece::WordPiece(std::vector<std::string> pieces, Letters letters, const std::string& file)
    : pieces_(std::move(pieces)), letters_(letters) {
  for (std::size_t id = 0; id < pieces_.size(); ++id) add(pieces_[id], static_cast<std::int32_t>(id), file);
  specials_ = {required("[CLS]", file), required("[SEP]", file), required("[PAD]", file),
               required("[UNK]", file)};
  const auto mask = first_.find("[MASK]");
  if (mask != first_.end()) specials_.mask = mask->second;
}

std::unique_ptr<WordPiece> WordPiece::read(const std::filesystem::path& file, Letters letters) {
  return std::make_unique<WordPiece>(read_vocabulary(file), letters, file.string());
}

void WordPiece::add(const std::string& piece, std::int32_t id, const std::string& file) {
  if (piece.empty())
    throw DataError({"a line of the vocabulary is empty", fmt::format("{}:{}", file, id + 1),
                     "remove it, if the weights were trained without it; a line is a piece"});
  const bool continues = piece.starts_with(kContinues) && piece.size() > kContinues.size();
  const std::string letters = continues ? piece.substr(kContinues.size()) : piece;
  longest_ = std::max(longest_, letters.size());
  const auto [other, is_new] = (continues ? next_ : first_).try_emplace(letters, id);
  if (is_new) return;
  throw DataError({fmt::format("the vocabulary has '{}' twice", printable(piece)),
                   fmt::format("{}:{}", file, id + 1),
                   fmt::format("remove one of them; the other is on line {}", other->second + 1)});
}

std::int32_t WordPiece::required(const std::string& piece, const std::string& file) const {
  const auto found = first_.find(piece);
  if (found != first_.end()) return found->second;
  throw DataError(
      {fmt::format("the vocabulary has no token {}", piece), file,
       "give the vocab.txt of a BERT model, a piece a line, or make one: cohort-data vocabulary"});
}

std::string WordPiece::name() const {
  return letters_ == Letters::cased ? "wordpiece-cased" : "wordpiece-uncased";
}

void WordPiece::append_word(std::string_view word, Ids& ids) const {
  const std::size_t before = ids.size();
  const auto unknown = [&] { ids.resize(before), ids.push_back(specials_.unknown); };
  if (is_too_long(word)) return unknown();
  for (std::string_view rest = word; !rest.empty();) {
    const IdOfText& pieces = rest.size() == word.size() ? first_ : next_;
    std::size_t end = rest.size();
    while (end > longest_) end = one_less(rest, end);
    auto piece = pieces.find(rest.substr(0, end));
    while (end > 0 && piece == pieces.end()) {
      end = one_less(rest, end);
      piece = pieces.find(rest.substr(0, end));
    }
    if (end == 0) return unknown();
    ids.push_back(piece->second);
    rest.remove_prefix(end);
  }
}

Ids WordPiece::encode(std::string_view text) const {
  Ids ids;
  const auto append_words = [&](std::string_view part) {
    for_each_word(part, letters_, [&](std::string_view word) { append_word(word, ids); });
  };
  for (std::size_t at = text.find('['); at != std::string_view::npos;) {
    const auto special = first_.find(special_at(text.substr(at)));
    if (special == first_.end()) {
      at = text.find('[', at + 1);
      continue;
    }
    append_words(text.substr(0, at));
    ids.push_back(special->second);
    text.remove_prefix(at + special->first.size());
    at = text.find('[');
  }
  append_words(text);
  return ids;
}

std::string WordPiece::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= size())
      throw DataError(
          {fmt::format("there is no token {}", id), "WordPiece vocabulary",
           fmt::format("take the vocabulary that the text was encoded with; this one has {} tokens",
                       size())});
    const std::string& piece = pieces_[static_cast<std::size_t>(id)];
    if (piece.starts_with(kContinues) && piece.size() > kContinues.size())
      text += piece.substr(kContinues.size());
    else
      text += (text.empty() ? "" : " ") + piece;
  }
  return text;
}

}  // namespace cohort::text
