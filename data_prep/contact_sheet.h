#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"

namespace cohort::data_prep {

struct ContactSheetOptions {
  std::filesystem::path out;  ///< folder of the sheets
  std::string context;        ///< key whose values get a sheet each; empty: the first, if there is one
  std::int64_t images = 12;   ///< of each class, at most
  std::vector<std::int64_t> channels;  ///< one (gray) or three (RGB); empty: the first, or the first three
};

/// Collective. A PNG file for each context, without contexts one for the dataset (all.png): a line of images
/// for each class of the first label, in order of the classes, then those without one, spread evenly over the
/// rows of the context in all splits; without labels one line. Above stand the context and the classes with
/// their numbers of images, below each image its split and the end of its id. Images smaller than 64 pixels
/// are shown larger, larger ones than 160 smaller. Each channel goes from black at mean − 2 deviations to
/// white at mean + 2; u8 images are shown as they are. Masks are drawn as
/// outlines, boxes as frames. Prints what it wrote on rank 0. Throws UsageError or
/// DataError.
void write_contact_sheets(const std::filesystem::path& dataset, const ContactSheetOptions& options,
                          comm::Communicator& ranks);

}  // namespace cohort::data_prep
