// cohort-data vocabulary: a vocabulary of the words, or pieces of words, of texts.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <span>
#include <unordered_map>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/file.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/text/vocabulary.h"
#include "cohort/text/word_piece.h"

#include "data_prep/options.h"
#include "data_prep/table.h"

namespace cohort::data_prep {
namespace {

struct VocabularyOptions {
  std::vector<std::filesystem::path> files;
  std::filesystem::path out;
  std::string column;  ///< empty: files are texts, one a line
  std::string tokenizer = "wordpiece-uncased", of = "pieces";
  std::int64_t size = 8000;
  bool overwrite = false;
};

using CountOfWord = std::unordered_map<std::string, std::int64_t, text::TextHash, std::equal_to<>>;
using VisitText = std::function<void(const std::string& text)>;

/// A line at a time. Throws DataError naming a line that is not UTF-8.
void for_each_text_of_file(const std::filesystem::path& file, const VisitText& visit) {
  const FileDescriptor is_readable = open_file(file);
  std::ifstream stream(file, std::ios::binary);
  std::int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (is_utf8(line)) {
      visit(line);
      continue;
    }
    throw DataError({"the text is not UTF-8, but Latin-1, UTF-16 or another encoding",
                     fmt::format("{}:{}", file.string(), number),
                     "save it as UTF-8: iconv -f WINDOWS-1252 -t UTF-8; of a table name the --column"});
  }
  if (stream.bad())
    throw DataError({"the file cannot be read to its end", file.string(), "check the disk or copy it again"});
}

void for_each_text(const VocabularyOptions& options, const VisitText& visit) {
  for (const std::filesystem::path& file : options.files) {
    if (options.column.empty())
      for_each_text_of_file(file, visit);
    else
      for (const std::string& text : Table::read(file).cells(options.column, "--column")) visit(text);
  }
}

/// Of every rank's share of the texts.
CountOfWord count_words(const VocabularyOptions& options, const comm::Communicator& ranks) {
  const auto letters = options.tokenizer == "wordpiece-cased" ? text::Letters::cased : text::Letters::uncased;
  CountOfWord counts;
  const auto count = [&](std::string_view word) {
    if (text::is_too_long(word)) return;
    const auto found = counts.find(word);
    if (found != counts.end())
      ++found->second;
    else
      counts.emplace(word, 1);
  };
  std::int64_t texts = 0;
  for_each_text(options, [&](const std::string& text) {
    if (texts++ % ranks.size() == ranks.rank()) text::for_each_word(text, letters, count);
  });
  return counts;
}

/// A word and its count a line: words have no blanks and line ends.
template <class Counts>
void append_lines(const Counts& counts, const std::function<std::string&(const std::string& word)>& to) {
  for (const auto& [word, count] : counts) to(word) += fmt::format("{} {}\n", word, count);
}

void add_lines(const std::string& lines, text::WordCounts& sums) {
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t blank = lines.find(' ', at), end = lines.find('\n', at);
    sums[lines.substr(at, blank - at)] += std::stoll(lines.substr(blank + 1, end - blank - 1));
    at = end + 1;
  }
}

/// Collective. Text r of `texts` goes to rank r; returns what came from each rank. Texts are as long as the
/// longest one on the way.
std::vector<std::string> exchanged(const std::vector<std::string>& texts, comm::Communicator& ranks) {
  std::size_t longest = 1;
  for (const std::string& text : texts) longest = std::max(longest, text.size());
  const std::int64_t block = ranks.max(static_cast<std::int64_t>(longest));
  const at::Tensor sent = at::zeros({std::ssize(texts) * block}, at::kByte), got = at::empty_like(sent);
  auto* to = static_cast<char*>(sent.mutable_data_ptr());
  for (const std::string& text : texts) {
    std::copy(text.begin(), text.end(), to);
    to += block;
  }
  ranks.all_to_all(got, sent).wait();
  std::vector<std::string> received;
  const auto* from = static_cast<const char*>(got.const_data_ptr());
  for (std::size_t i = 0; i < texts.size(); ++i, from += block)
    received.emplace_back(from, ::strnlen(from, static_cast<std::size_t>(block)));
  return received;
}

/// Collective. Those of all ranks. Each rank sums the words that are its own by their checksums: what it gets
/// of them is about as much as it had itself, however many ranks there are.
text::WordCounts sum_over_ranks(const CountOfWord& counts, comm::Communicator& ranks) {
  const auto size = static_cast<std::uint64_t>(ranks.size());
  std::vector<std::string> of_owner(size);
  append_lines(counts, [&](const std::string& word) -> std::string& {
    return of_owner[checksum(std::as_bytes(std::span(word))) % size];
  });
  text::WordCounts own;
  for (const std::string& lines : exchanged(of_owner, ranks)) add_lines(lines, own);
  std::string lines;
  append_lines(own, [&](const std::string&) -> std::string& { return lines; });
  text::WordCounts sums;
  for (const std::string& of_rank : ranks.gather_texts(lines)) add_lines(of_rank, sums);
  return sums;
}

void refuse_existing(const VocabularyOptions& options) {
  if (options.overwrite || !std::filesystem::exists(options.out)) return;
  throw UsageError({"there is a file already, and texts may have been encoded with it", options.out.string(),
                    "give another --out, or --overwrite to replace it"});
}

void write_vocabulary(const VocabularyOptions& options, const text::WordCounts& words) {
  if (words.empty()) {
    throw DataError({"the texts have no word", options.files.front().string(),
                     "see what is in the files; of tables --column says where the texts are"});
  }
  const std::vector<std::string> pieces = options.of == "words" ? text::word_vocabulary(words, options.size)
                                                                : text::piece_vocabulary(words, options.size);
  write_file_atomically(options.out, join(pieces, "\n") + "\n");
  fmt::print("{}: {} tokens from {} different words\n", printable(options.out.string()),
             format_count(std::ssize(pieces)), format_count(std::ssize(words)));
}

ExitCode run(const VocabularyOptions& options, comm::Communicator& ranks) {
  CountOfWord counts;
  comm::together(ranks, [&] {
    refuse_existing(options);
    counts = count_words(options, ranks);
  });
  const text::WordCounts words = sum_over_ranks(counts, ranks);
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) write_vocabulary(options, words);
  });
  return ExitCode::done;
}

}  // namespace

void add_vocabulary(CLI::App& program, Action& action) {
  auto options = std::make_shared<VocabularyOptions>();
  CLI::App& command = add_command(
      program,
      {"vocabulary",
       "Make the vocabulary of a tokenizer from texts",
       {"cohort-data vocabulary reports.csv --column findings --size 8000 --out vocab.txt",
        "mpirun -n 4 cohort-data vocabulary captions.txt --of words --size 2000 --out words.txt"},
       endings_on_ranks(),
       "The file has a piece a line: [PAD], [UNK], [CLS], [SEP], [MASK], then what was found. Any number of "
       "ranks writes the same bytes. Of files without --column a line at a time is in memory, of tables all; "
       "of words the different ones."});
  command.add_option("files", options->files, "text files with a text a line; with --column tables")
      ->required()
      ->type_name("FILE");
  command.add_option("--column", options->column, "column of tables with the texts (CSV, tabs, Parquet)");
  command
      .add_option("--of", options->of,
                  "pieces: words can be written that the texts do not have; words: whole ones alone")
      ->capture_default_str()
      ->check(CLI::IsMember({"pieces", "words"}));
  command
      .add_option("--tokenizer", options->tokenizer,
                  "that will use it: it says what a word is, and whether capital letters and accents count")
      ->capture_default_str()
      ->check(CLI::IsMember({"wordpiece-cased", "wordpiece-uncased"}));
  command.add_option("--size", options->size, "pieces, at most")
      ->capture_default_str()
      ->check(CLI::Range(6, 10000000));
  command.add_option("--out", options->out, "the vocabulary")->required()->type_name("FILE");
  command.add_flag("--overwrite", options->overwrite, "replace the file of that name");
  choose_on<VocabularyOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep
