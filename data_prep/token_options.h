#pragma once
#include <CLI/CLI.hpp>

#include "cohort/text/tokenizer.h"

namespace cohort::data_prep {

/// How the texts of a conversion become tokens as well; without a vocabulary they do not.
struct TokenOptions {
  text::TokenizerOptions tokenizer;
  bool by_sentence = false;

  void add_to(CLI::App& command);
};

}  // namespace cohort::data_prep
