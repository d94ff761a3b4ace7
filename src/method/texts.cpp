#include "method/texts.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort::method {
namespace {

using TokenNumbers = std::vector<std::int64_t>;

bool is_of_tokens(const data::Field& field, const data::Description& description) {
  return field.kind == data::FieldKind::tokens && field.differs() &&
         std::none_of(description.fields.begin(), description.fields.end(), [&](const data::Field& other) {
           return other.name == field.of && other.kind == data::FieldKind::tokens;
         });
}

const data::Field& tokens_field(const data::Description& description, const std::string& asked,
                                const std::string& option) {
  std::vector<std::string> names;
  for (const data::Field& field : description.fields) {
    if (is_of_tokens(field, description)) names.push_back(field.name);
  }
  if (names.empty())
    throw UsageError({"the dataset has no tokens of texts", option,
                      "convert it with --text and --vocabulary (docs/text.md)"});
  if (asked.empty() && names.size() == 1) return description.field(names.front());
  if (asked.empty())
    throw UsageError({"the dataset has tokens of several texts", option,
                      fmt::format("choose one of {}", join(names, ", "))});
  if (std::find(names.begin(), names.end(), asked) == names.end())
    throw UsageError({fmt::format("'{}' is no field of tokens", asked), option, did_you_mean(asked, names)});
  return description.field(asked);
}

std::vector<TokenNumbers> rows_of(const data::Column& column) {
  const at::Tensor values = column.values.to(at::kCPU, at::kLong).contiguous(),
                   offsets = column.offsets.to(at::kCPU, at::kLong).contiguous();
  const std::span all(values.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(values.numel()));
  const auto* const at_row = offsets.const_data_ptr<std::int64_t>();
  std::vector<TokenNumbers> rows;
  for (std::int64_t i = 0; i + 1 < offsets.numel(); ++i)
    rows.emplace_back(all.begin() + at_row[i], all.begin() + at_row[i + 1]);
  return rows;
}

void check_text(const Text& text, const data::Batch& batch, std::size_t image, const TextFields& fields) {
  const std::int64_t inner = std::accumulate(text.sentences.begin(), text.sentences.end(), std::int64_t{0});
  if (inner > 0 && inner + 2 == std::ssize(text.tokens)) return;
  const auto sample = batch.sample[static_cast<std::int64_t>(image)].item<std::int64_t>();
  const std::string where = fmt::format("row {}, field {}", sample, fields.tokens);
  if (inner == 0)
    throw DataError({"an image has no sentence", where, "leave images without texts out of the dataset"});
  throw DataError({"an image has other tokens than its sentences, begin and end", where,
                   "convert the texts again (docs/text.md)"});
}

}  // namespace

std::vector<std::string> TextFields::names() const {
  return sentences.empty() ? std::vector<std::string>{tokens} : std::vector<std::string>{tokens, sentences};
}

TextFields text_fields(const data::Description& description, const std::string& asked,
                       const std::string& option) {
  const data::Field& tokens = tokens_field(description, asked, option);
  if (!tokens.tokenization)
    throw UsageError({fmt::format("nothing says what vocabulary the numbers of '{}' are of", tokens.name),
                      option, "convert the texts with --vocabulary (docs/text.md)"});
  TextFields fields{.tokens = tokens.name,
                    .sentences = {},
                    .vocabulary = tokens.tokenization->size,
                    .longest = tokens.tokenization->maximal_length};
  for (const data::Field& field : description.fields) {
    if (field.kind == data::FieldKind::tokens && field.of == tokens.name) fields.sentences = field.name;
  }
  return fields;
}

Text Text::of(const TokenNumbers& order) const {
  std::vector<std::int64_t> begins(sentences.size());
  std::exclusive_scan(sentences.begin(), sentences.end(), begins.begin(), std::int64_t{1});
  Text chosen{{tokens.front()}, {}};
  for (const std::int64_t sentence : order) {
    const auto place = static_cast<std::size_t>(sentence);
    const auto from = tokens.begin() + begins[place];
    chosen.tokens.insert(chosen.tokens.end(), from, from + sentences[place]);
    chosen.sentences.push_back(sentences[place]);
  }
  chosen.tokens.push_back(tokens.back());
  return chosen;
}

std::vector<Text> texts_of(const data::Batch& batch, const TextFields& fields) {
  std::vector<TokenNumbers> tokens = rows_of(batch.columns.at(fields.tokens)), sentences;
  if (!fields.sentences.empty()) sentences = rows_of(batch.columns.at(fields.sentences));
  std::vector<Text> texts;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    Text text{std::move(tokens[i]), {}};
    text.sentences = fields.sentences.empty() ? TokenNumbers{std::ssize(text.tokens) - 2} : sentences[i];
    std::erase(text.sentences, 0);
    check_text(text, batch, i, fields);
    texts.push_back(std::move(text));
  }
  return texts;
}

TokenNumbers one_sentence(std::int64_t sentences, RandomStream& stream) {
  return {static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(sentences)))};
}

TokenNumbers swapped_sentences(std::int64_t sentences, double further, RandomStream& stream) {
  TokenNumbers order(static_cast<std::size_t>(sentences));
  std::iota(order.begin(), order.end(), 0);
  const auto any = [&] { return stream.below(static_cast<std::uint64_t>(sentences)); };
  while (stream.uniform() < further) {
    const auto first = any(), second = any();
    std::swap(order[first], order[second]);
  }
  return order;
}

nn::SentenceExtents extents_of(const std::vector<Text>& texts, const nn::PackedTexts& packed) {
  nn::SentenceExtents extents;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::int64_t begin = packed.begins[i] + 1;  // behind the token that begins the text
    std::vector<std::pair<std::int64_t, std::int64_t>> of_text;
    for (const std::int64_t tokens : texts[i].sentences) {
      of_text.emplace_back(begin, begin + tokens);
      begin += tokens;
    }
    extents.push_back(std::move(of_text));
  }
  return extents;
}

}  // namespace cohort::method
