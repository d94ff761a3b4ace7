#pragma once
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"

#include "data_prep/field_source.h"
#include "data_prep/options.h"
#include "data_prep/texts.h"

namespace cohort::data_prep {

/// Collective. The fields that the options name, in folders beside the images: files with the ids of the
/// images, but for their endings. One rank lists every folder once. Throws UsageError or DataError.
std::vector<FieldSource> folder_fields(const FieldOptions& options, const ConvertOptions& common,
                                       const Texts& ids, comm::Communicator& ranks);

}  // namespace cohort::data_prep
