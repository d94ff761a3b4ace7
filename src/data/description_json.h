#pragma once
// dataset.json as text.
#include <string>
#include <vector>

#include "cohort/data/description.h"

namespace cohort::data {

/// Throws DataError naming `file` and the key: not JSON, a key twice, missing or of the wrong kind, values
/// that contradict each other.
Description parse_description(const std::string& content, const std::string& file);

std::string description_text(const Description& description);

template <class Element>
std::vector<std::string> names_of(const std::vector<Element>& elements) {
  std::vector<std::string> names;
  for (const Element& element : elements) names.push_back(element.name);
  return names;
}

}  // namespace cohort::data
