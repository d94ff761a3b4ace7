#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cohort/text/tokenizer.h"

namespace cohort::text {

/// A report that is read in one pass, of which each token knows its sentence.
struct EncodedReport {
  Ids ids;                             ///< begin, tokens of the sentences, end
  std::vector<std::int32_t> sentence;  ///< of every token, from 0; -1: begin or end
  std::int32_t sentences = 0;          ///< how many are in
};

/// As LoVT (arXiv 2112.02889) collates reports: sentences, each cut to `maximal_length` - 2 tokens, follow
/// one another while they fit; the first that does not ends the report.
EncodedReport encode_report(const Tokenizer& tokenizer, std::span<const std::string> sentences,
                            std::int64_t maximal_length);

/// Reports of one length: rows one after another, [B, length] each.
struct ReportBatch {
  std::int64_t length = 0;                   ///< of the longest one
  Ids ids;                                   ///< padding behind the end
  std::vector<std::int32_t> mask, sentence;  ///< 1: a token, 0: padding, which has sentence -1
  std::vector<std::int32_t> sentences;       ///< [B]
};

ReportBatch collate(std::span<const EncodedReport> reports, std::int32_t padding);

}  // namespace cohort::text
