#include "case_pictures.h"

namespace cohort::report {

void add_case_pictures(std::vector<Run>& runs, std::span<const std::filesystem::path> folders,
                       const PictureOf& picture_of) {
  std::size_t bytes = 0;
  const auto add = [&](const std::filesystem::path& folder, const std::string& split, Case& one) {
    if (one.id.empty()) return;  // nothing tells whether the dataset is still the same
    one.picture = picture_of({folder, split, one.row, one.id});
    bytes += one.picture.size();
    if (bytes > kMostCasePictures) one.picture.clear();
  };
  for (std::size_t number = 0; number < kMostCases; ++number) {
    for (std::size_t i = 0; i < runs.size(); ++i) {
      for (Evaluation& evaluation : runs[i].evaluations) {
        if (bytes > kMostCasePictures) return;
        if (number < evaluation.cases.size()) add(folders[i], evaluation.images_of, evaluation.cases[number]);
      }
    }
  }
}

}  // namespace cohort::report
