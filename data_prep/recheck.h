#pragma once
#include "data_prep/convert.h"

namespace cohort::data_prep {

/// Collective. Reads all images of `source` again and compares them with the dataset in `options.out`, which
/// was made from it. Throws DataError naming an image that has changed.
/// `rows`: of rank 0, that it was made of.
void recheck(const Source& source, const data::RowTable& rows, const ConvertOptions& options,
             comm::Communicator& ranks);

}  // namespace cohort::data_prep
