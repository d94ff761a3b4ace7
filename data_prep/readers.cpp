#include "data_prep/readers.h"

#include <fmt/format.h>

#include "cohort/core/error.h"

namespace cohort::data_prep {

void refuse_left_out(const std::string& files, const std::string& package, const std::string& where) {
  throw UsageError(
      {fmt::format("this build reads no {}", files), where,
       fmt::format("install {} (scripts/bootstrap.sh does) and build again: docs/install.md", package)});
}

}  // namespace cohort::data_prep
