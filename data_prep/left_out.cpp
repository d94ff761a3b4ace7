#include "data_prep/left_out.h"

#include <algorithm>

#include <fmt/format.h>

#include "cohort/core/printable.h"
#include "cohort/core/text.h"

namespace cohort::data_prep {

bool is_hidden(const std::string& name) {
  return name.starts_with('.') || name == "__MACOSX" || name == "@eaDir";
}

void LeftOut::add(const std::string& reason, const std::string& name, const std::string& remedy) {
  constexpr std::size_t kShown = 3;
  Kind& kind = kinds_[reason];
  ++kind.count;
  kind.remedy = remedy;
  if (kind.first.size() < kShown) kind.first.push_back(printable_name(name, 2 * kNameColumns));
}

std::string LeftOut::text() const {
  std::string text = kinds_.empty() ? "" : "left out:\n";
  for (const auto& [reason, kind] : kinds_) {
    const bool has_more = kind.count > static_cast<std::int64_t>(kind.first.size());
    text += fmt::format("  {} {}: {}{}\n", format_count(kind.count), reason, join(kind.first, ", "),
                        has_more ? ", …" : "");
    if (!kind.remedy.empty()) text += fmt::format("    {}\n", kind.remedy);
  }
  return text;
}

std::string LeftOut::remedies() const {
  std::vector<std::pair<std::string, const Kind*>> known;
  for (const auto& [reason, kind] : kinds_) {
    if (!kind.remedy.empty()) known.emplace_back(reason, &kind);
  }
  std::stable_sort(known.begin(), known.end(),
                   [](const auto& a, const auto& b) { return a.second->count > b.second->count; });
  std::vector<std::string> texts;
  for (const auto& [reason, kind] : known)
    texts.push_back(fmt::format("{} {}: {}", format_count(kind->count), reason, kind->remedy));
  return join(texts, ". ");
}

}  // namespace cohort::data_prep
