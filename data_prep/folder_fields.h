#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cohort/comm/communicator.h"

#include "data_prep/field_source.h"
#include "data_prep/options.h"
#include "data_prep/texts.h"

namespace cohort::data_prep {

/// Of "FOLDER=NAME", or of "FOLDER", whose last part is the name of the field then.
std::pair<std::filesystem::path, std::string> folder_and_name(const std::string& text);

/// Collective. The fields that the options name, in folders beside the images: files with the ids of the
/// images, but for their endings. One rank lists every folder once. Throws UsageError or DataError.
std::vector<FieldSource> folder_fields(const FieldOptions& options, const ConvertOptions& common,
                                       const Texts& ids, comm::Communicator& ranks);

}  // namespace cohort::data_prep
