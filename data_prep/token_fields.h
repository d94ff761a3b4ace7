#pragma once
#include <memory>
#include <vector>

#include "cohort/data/field.h"
#include "cohort/text/tokenizer.h"

#include "data_prep/field_source.h"

namespace cohort::data_prep {

/// Adds a field `<name>_tokens` for each field of kind text among `fields`, as the options say, and
/// `<name>_sentences` where they are read sentence by sentence. Throws UsageError, also when there is no
/// text, or DataError naming a line of the vocabulary.
void add_token_fields(std::vector<FieldSource>& fields, const FieldOptions& options);

/// The same by a tokenizer that is there, `made` of which says what it is.
void add_token_fields(std::vector<FieldSource>& fields, const FieldOptions& options,
                      const std::shared_ptr<const text::Tokenizer>& tokenizer,
                      const data::Tokenization& made);

}  // namespace cohort::data_prep
