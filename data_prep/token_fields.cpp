#include "data_prep/token_fields.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/text/report.h"
#include "cohort/text/words.h"

#include "data_prep/facts.h"

namespace cohort::data_prep {
namespace {

using text::Ids;

/// The values of one field of texts, and what makes tokens of them.
struct TextReader {
  FieldSource source;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::int64_t maximal_length;
  std::shared_ptr<Remarks> remarks = std::make_shared<Remarks>();

  [[nodiscard]] std::string text(std::int64_t index) const {
    const std::vector<std::byte> values = source.values(source.field, index, {});
    const void* start = values.data();
    return {static_cast<const char*>(start), values.size()};
  }

  void remark(const Ids& ids, bool is_cut) const {
    const auto unknown = std::count(ids.begin(), ids.end(), tokenizer->specials().unknown);
    *remarks = {.cut_text = is_cut, .no_token = unknown + 2 == std::ssize(ids)};
  }

  [[nodiscard]] Ids whole(std::int64_t index) const {
    Ids ids = encode_whole(*tokenizer, text(index), maximal_length + 1);
    const bool is_cut = std::ssize(ids) > maximal_length;
    if (is_cut) ids.erase(ids.end() - 2);
    remark(ids, is_cut);
    return ids;
  }

  [[nodiscard]] text::EncodedReport report(std::int64_t index) const {
    constexpr std::int64_t kAnyLength = INT32_MAX;
    const std::vector<std::string> sentences = text::sentences_of(text(index));
    text::EncodedReport report = encode_report(*tokenizer, sentences, maximal_length);
    remark(report.ids, encode_report(*tokenizer, sentences, kAnyLength).ids.size() > report.ids.size());
    return report;
  }

  /// Of how many tokens each sentence consists.
  [[nodiscard]] Ids sentences(std::int64_t index) const {
    const text::EncodedReport all = report(index);
    Ids counts(static_cast<std::size_t>(all.sentences), 0);
    for (const std::int32_t sentence : all.sentence) {
      if (sentence >= 0) ++counts[static_cast<std::size_t>(sentence)];
    }
    return counts;
  }
};

using Reader = std::shared_ptr<const TextReader>;

/// A field whose row `index` holds `numbers_of(reader, index)`.
template <class NumbersOf>
FieldSource field_of_numbers(const std::string& name, const std::string& of, const FieldOptions& options,
                             const Reader& reader, NumbersOf numbers_of) {
  data::Field field{name, data::FieldKind::tokens, data::ValueType::i32, {-1}, options.codec_of(name), of};
  return {std::move(field), [=](const data::Field&, std::int64_t index, const ImageChange&) {
            const Ids numbers = numbers_of(*reader, index);
            const auto bytes = std::as_bytes(std::span(numbers));
            return std::vector<std::byte>(bytes.begin(), bytes.end());
          }};
}

void add_fields_of(const Reader& reader, const data::Tokenization& made, const FieldOptions& options,
                   std::vector<FieldSource>& fields) {
  const bool by_sentence = options.tokens.by_sentence;
  const std::string& name = reader->source.field.name;
  FieldSource tokens = field_of_numbers(name + "_tokens", name, options, reader,
                                        [=](const TextReader& texts, std::int64_t index) {
                                          return by_sentence ? texts.report(index).ids : texts.whole(index);
                                        });
  tokens.field.tokenization = made;
  const std::string made_by = fmt::format("{} {} {} {}", made.tokenizer, checksum_text(made.vocabulary),
                                          made.maximal_length, by_sentence);
  tokens.content = [sum = checksum_of(made_by)] { return sum; };
  tokens.remarks = reader->remarks;
  fields.push_back(std::move(tokens));
  if (by_sentence)
    fields.push_back(field_of_numbers(name + "_sentences", name + "_tokens", options, reader,
                                      std::mem_fn(&TextReader::sentences)));
}

}  // namespace

void add_token_fields(std::vector<FieldSource>& fields, const FieldOptions& options,
                      const std::shared_ptr<const text::Tokenizer>& tokenizer,
                      const data::Tokenization& made) {
  const std::vector<FieldSource> before = fields;
  for (const FieldSource& field : before) {
    if (field.field.kind != data::FieldKind::text) continue;
    const TextReader texts{field, tokenizer, made.maximal_length};
    add_fields_of(std::make_shared<const TextReader>(texts), made, options, fields);
  }
}

void add_token_fields(std::vector<FieldSource>& fields, const FieldOptions& options) {
  const text::TokenizerOptions& chosen = options.tokens.tokenizer;
  if (chosen.vocabulary.empty()) return;
  const std::shared_ptr<const text::Tokenizer> tokenizer = make_tokenizer(chosen);
  const std::size_t before = fields.size();
  add_token_fields(fields, options, tokenizer,
                   {tokenizer->name(), text::vocabulary_checksum(chosen.vocabulary), tokenizer->size(),
                    chosen.maximal_length});
  if (fields.size() == before)
    throw UsageError({"there are no texts that the vocabulary could be for", "--vocabulary",
                      "name them with --text, or leave the vocabulary out"});
}

void TokenOptions::add_to(CLI::App& command) {
  CLI::Option* vocabulary =
      command
          .add_option("--vocabulary", tokenizer.vocabulary,
                      "turns texts into tokens as well: vocab.txt; of byte-pair merges.txt or vocab.json")
          ->type_name("FILE");
  command.add_option("--tokenizer", tokenizer.tokenizer, "that the vocabulary is of")
      ->capture_default_str()
      ->check(CLI::IsMember(text::tokenizer_names()))
      ->needs(vocabulary);
  command
      .add_option("--maximal-length", tokenizer.maximal_length,
                  "tokens of a text, at most, begin and end included; BERT takes 512, CLIP 77")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20))
      ->needs(vocabulary);
  command
      .add_flag("--by-sentence", by_sentence,
                "sentences are encoded one by one, and those that fit are kept with how many tokens each has")
      ->needs(vocabulary);
}

}  // namespace cohort::data_prep
