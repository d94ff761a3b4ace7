#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace cohort::text {

/// How often each word occurs.
using WordCounts = std::map<std::string, std::int64_t>;

/// What every vocabulary begins with: [PAD], [UNK], [CLS], [SEP], [MASK].
std::vector<std::string> special_pieces();

/// special_pieces() and the most frequent words, at most `size` in all; of words as frequent, the first by
/// bytes.
std::vector<std::string> word_vocabulary(const WordCounts& words, std::int64_t size);

/// special_pieces(), all characters, and pieces joined of the pair that is most frequent in all words, again
/// and again (Sennrich et al., arXiv 1508.07909, with BERT's "##"); at most `size` in all. Of pairs as
/// frequent, the first by bytes. Of more characters than there is room for the most frequent ones are taken.
std::vector<std::string> piece_vocabulary(const WordCounts& words, std::int64_t size);

/// vocab.txt: a piece a line. Throws DataError: not readable, or not UTF-8.
std::vector<std::string> read_vocabulary(const std::filesystem::path& file);

}  // namespace cohort::text
