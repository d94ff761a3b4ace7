// Files of the kinds reports.wordpiece, reports.collate and clip.bpe: tokens of texts.
#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "cohort/text/byte_pair.h"
#include "cohort/text/report.h"
#include "cohort/text/word_piece.h"

#include "checks.h"

namespace cohort::golden_check {
namespace {

using nlohmann::json;
using text::Ids;

/// Places where two lists differ, and how much longer one is.
void compare(Comparison& file, const std::string& name, const Ids& actual, const json& expected) {
  const Ids wanted = expected.get<Ids>();
  const std::size_t both = std::min(actual.size(), wanted.size());
  std::size_t different = std::max(actual.size(), wanted.size()) - both;
  for (std::size_t i = 0; i < both; ++i) different += actual[i] != wanted[i] ? 1 : 0;
  file.number(name, static_cast<double>(different), 0, kExact);
}

text::WordPiece word_piece(const json& vocabulary, text::Letters letters) {
  return {vocabulary.get<std::vector<std::string>>(), letters, "vocab"};
}

/// Of the file that `tokenizer` names last, "uncased, vocab of wordpiece.json": beside, else the
/// repository's.
json vocabulary_of(const Comparison& file, const std::string& tokenizer) {
  const std::string name = tokenizer.substr(tokenizer.rfind(' ') + 1);
  const std::filesystem::path beside = file.folder() / name, ours(COHORT_TEST_DATA);
  std::ifstream stream(std::filesystem::exists(beside) ? beside : ours / "golden" / name);
  return json::parse(stream).at("vocab");
}

Ids flat(const json& rows) {
  Ids values;
  for (const json& row : rows) {
    const Ids of_row = row.get<Ids>();
    values.insert(values.end(), of_row.begin(), of_row.end());
  }
  return values;
}

}  // namespace

void check_word_piece(Comparison& file) {
  const json& about = file.about();
  const auto cased = word_piece(about.at("vocab"), text::Letters::cased),
             uncased = word_piece(about.at("vocab"), text::Letters::uncased);
  for (std::size_t i = 0; i < about.at("cases").size(); ++i) {
    const json& item = about.at("cases")[i];
    const auto words = item.at("text").get<std::string>();
    compare(file, "cased " + std::to_string(i), cased.encode(words), item.at("cased"));
    compare(file, "uncased " + std::to_string(i), uncased.encode(words), item.at("uncased"));
  }
}

void check_collate(Comparison& file) {
  const json& about = file.about();
  const auto said = about.at("tokenizer").get<std::string>();
  const auto tokenizer = word_piece(
      vocabulary_of(file, said), said.starts_with("cased") ? text::Letters::cased : text::Letters::uncased);
  for (const json& item : about.at("cases")) {
    const auto most = item.at("max_length").get<std::int64_t>();
    std::vector<text::EncodedReport> reports;
    for (const json& sentences : about.at("reports"))
      reports.push_back(text::encode_report(tokenizer, sentences.get<std::vector<std::string>>(), most));
    const text::ReportBatch batch = text::collate(reports, tokenizer.specials().padding);
    const std::string name = " at most " + std::to_string(most);
    file.number("length" + name, static_cast<double>(batch.length),
                static_cast<double>(item.at("input_ids").at(0).size()), kExact);
    compare(file, "input_ids" + name, batch.ids, flat(item.at("input_ids")));
    compare(file, "attention_mask" + name, batch.mask, flat(item.at("attention_mask")));
    compare(file, "sentence_of_token" + name, batch.sentence, flat(item.at("sentence_of_token")));
    compare(file, "sentences" + name, batch.sentences, item.at("sentences"));
  }
}

void check_byte_pair(Comparison& file) {
  const json& about = file.about();
  const auto tokenizer = text::BytePair::read(file.folder() / about.at("merges_file").get<std::string>());
  const auto context = about.at("context_length").get<std::size_t>();
  file.number("vocabulary", static_cast<double>(tokenizer->size()), about.at("vocabulary"), kExact);
  file.number("start", tokenizer->specials().begin, about.at("start"), kExact);
  file.number("end", tokenizer->specials().end, about.at("end"), kExact);
  for (std::size_t i = 0; i < about.at("items").size(); ++i) {
    const json& item = about.at("items")[i];
    const auto words = item.at("text").get<std::string>();
    const std::string number = " " + std::to_string(i);
    const Ids ids = tokenizer->encode(words);
    Ids whole = text::encode_whole(*tokenizer, words, static_cast<std::int64_t>(context));
    whole.resize(context, tokenizer->specials().padding);
    compare(file, "ids" + number, ids, item.at("ids"));
    compare(file, "context" + number, whole, item.at("context"));
    file.number("too_long" + number, ids.size() + 2 > context ? 1 : 0,
                item.at("too_long").get<bool>() ? 1 : 0, kExact);
    file.number("decoded" + number, tokenizer->decode(ids) == item.at("decoded").get<std::string>() ? 0 : 1,
                0, kExact);
  }
}

}  // namespace cohort::golden_check
