#include "cohort/text/report.h"

#include <algorithm>

#include "cohort/core/error.h"

namespace cohort::text {

EncodedReport encode_report(const Tokenizer& tokenizer, std::span<const std::string> sentences,
                            std::int64_t maximal_length) {
  COHORT_CHECK(maximal_length >= 2, "{} tokens have no room for begin and end", maximal_length);
  const auto room = static_cast<std::size_t>(maximal_length - 2);
  EncodedReport report{{tokenizer.specials().begin}, {-1}, 0};
  for (const std::string& sentence : sentences) {
    Ids ids = tokenizer.encode(sentence);
    ids.resize(std::min(ids.size(), room));
    if (report.ids.size() - 1 + ids.size() > room) break;
    report.ids.insert(report.ids.end(), ids.begin(), ids.end());
    report.sentence.insert(report.sentence.end(), ids.size(), report.sentences++);
  }
  report.ids.push_back(tokenizer.specials().end);
  report.sentence.push_back(-1);
  return report;
}

ReportBatch collate(std::span<const EncodedReport> reports, std::int32_t padding) {
  ReportBatch batch;
  for (const EncodedReport& report : reports) batch.length = std::max(batch.length, std::ssize(report.ids));
  for (const EncodedReport& report : reports) {
    const auto missing = static_cast<std::size_t>(batch.length) - report.ids.size();
    batch.ids.insert(batch.ids.end(), report.ids.begin(), report.ids.end());
    batch.ids.insert(batch.ids.end(), missing, padding);
    batch.mask.insert(batch.mask.end(), report.ids.size(), 1);
    batch.mask.insert(batch.mask.end(), missing, 0);
    batch.sentence.insert(batch.sentence.end(), report.sentence.begin(), report.sentence.end());
    batch.sentence.insert(batch.sentence.end(), missing, -1);
    batch.sentences.push_back(report.sentences);
  }
  return batch;
}

}  // namespace cohort::text
