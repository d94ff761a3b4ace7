#include "data_prep/remarks.h"

#include <fmt/format.h>

#include "cohort/core/log.h"
#include "cohort/core/text.h"

namespace cohort::data_prep {
namespace {

struct Kind {
  bool Remarks::*has;
  const char* text;
};

constexpr std::array kKindsOfRemarks{
    Kind{&Remarks::turned, "turned upright, as the orientation in their metadata says"},
    Kind{&Remarks::no_orientation,
         "taken as they are stored: their metadata say no orientation that can be read"},
    Kind{&Remarks::alpha, "an alpha channel (transparency) was left out"},
    Kind{&Remarks::profile, "a colour profile, which is not applied"},
    Kind{&Remarks::converted, "colours for print (CMYK) became RGB without a profile"},
    Kind{&Remarks::junk, "bytes that belong to no part of the JPEG file were read over"},
    Kind{&Remarks::cut_text, "a text has more tokens than --maximal-length and lost its end"},
    Kind{&Remarks::no_token, "a text is empty, or has no token that the vocabulary knows"}};

}  // namespace

void RemarkCounts::add(const Remarks& remarks) {
  static_assert(kKindsOfRemarks.size() == kKinds);
  for (std::size_t i = 0; i < kKinds; ++i) counts_[i] += remarks.*kKindsOfRemarks[i].has ? 1 : 0;
}

void RemarkCounts::log(comm::Communicator& ranks, bool keeps_jpeg) const {
  for (std::size_t i = 0; i < kKinds; ++i) {
    const auto& [has, text] = kKindsOfRemarks[i];
    const std::int64_t count = ranks.sum(counts_[i]);
    if (count == 0) continue;
    const std::string line = fmt::format("{} image{}: {}", format_count(count), count == 1 ? "" : "s", text);
    if (has == &Remarks::turned)
      log_info(line + (keeps_jpeg ? "; JPEG files among them are encoded again" : ""));
    else
      log_warning(line);
  }
}

}  // namespace cohort::data_prep
