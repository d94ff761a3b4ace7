#pragma once
#include <vector>

#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"
#include "cohort/eval/stored_rows.h"

namespace cohort::eval {

/// Images and texts as vectors [N, D] and [M, D]; those of image i are texts begins[i] … begins[i + 1] - 1.
struct ImagesAndTexts {
  const StoredRows &images, &texts;
  const std::vector<std::int64_t>& begins;  ///< [N + 1]
};

/// How many others come before the first one that belongs to a query: more similar ones, by the dot product,
/// and of equally similar ones those with lower numbers.
struct RetrievalRanks {
  std::vector<std::int64_t> of_images;  ///< [N]; M for an image without texts
  std::vector<std::int64_t> of_texts;   ///< [M]
};

/// Collective: the same on every rank, and on any number of them. Vectors are multiplied in fp64, block by
/// block; a rank holds 1024 queries, 4096 of what is searched, and all ranks, 8 bytes each. Throws DataError.
RetrievalRanks retrieval_ranks(const ImagesAndTexts& all, comm::Communicator& ranks);

}  // namespace cohort::eval
