#pragma once
#include <string>

namespace cohort::perf {

class Results;

/// A self-contained HTML page: what ran where, and the tables with their pictures.
std::string page_of(const Results& results);

}  // namespace cohort::perf
