#include "cohort/text/tokenizer.h"

#include <algorithm>
#include <functional>
#include <map>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"
#include "cohort/text/byte_pair.h"
#include "cohort/text/word_piece.h"

#include "lines.h"

namespace cohort::text {
namespace {

using Read = std::function<std::unique_ptr<Tokenizer>(const std::filesystem::path&)>;

const std::map<std::string, Read>& table() {
  static const std::map<std::string, Read> tokenizers{
      {"byte-pair", BytePair::read},
      {"wordpiece-cased", [](const auto& file) { return WordPiece::read(file, Letters::cased); }},
      {"wordpiece-uncased", [](const auto& file) { return WordPiece::read(file, Letters::uncased); }},
  };
  return tokenizers;
}

}  // namespace

std::vector<std::string> tokenizer_names() {
  std::vector<std::string> names;
  for (const auto& [name, read] : table()) names.push_back(name);
  return names;
}

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerOptions& options) {
  const auto found = table().find(options.tokenizer);
  if (found == table().end())
    throw UsageError({fmt::format("there is no tokenizer '{}'", options.tokenizer), "tokenizer",
                      did_you_mean(options.tokenizer, tokenizer_names())});
  if (options.maximal_length < 2)
    throw UsageError(
        {fmt::format("texts of at most {} tokens have no room for begin and end", options.maximal_length),
         "maximal length of texts", "give 2 or more; BERT takes 512, CLIP 77"});
  return found->second(options.vocabulary);
}

std::uint64_t vocabulary_checksum(const std::filesystem::path& vocabulary) {
  std::string content = read_file(vocabulary, kMostVocabulary);
  if (vocabulary.extension() == ".json")
    content += read_file(vocabulary.parent_path() / "merges.txt", kMostVocabulary);
  return checksum(std::as_bytes(std::span(content)));
}

Ids encode_whole(const Tokenizer& tokenizer, std::string_view text, std::int64_t maximal_length) {
  COHORT_CHECK(maximal_length >= 2, "{} tokens have no room for begin and end", maximal_length);
  Ids ids = tokenizer.encode(text);
  ids.resize(std::min(ids.size(), static_cast<std::size_t>(maximal_length - 2)));
  ids.insert(ids.begin(), tokenizer.specials().begin);
  ids.push_back(tokenizer.specials().end);
  return ids;
}

}  // namespace cohort::text
