#pragma once
#include <string>

namespace cohort::data_prep {

/// "this build reads no DICOM files": for a reader whose library was not there when Cohort was built. Throws
/// UsageError; `package` is Debian's.
[[noreturn]] void refuse_left_out(const std::string& files, const std::string& package,
                                  const std::string& where);

}  // namespace cohort::data_prep
