#pragma once
#include "cohort/report/report.h"

namespace cohort::jobs {

/// Pictures of images of the datasets that runs were evaluated on, where these are there and still have the
/// image. Datasets stay open as long as it lives. One thread.
report::PictureOf pictures_of_datasets();

}  // namespace cohort::jobs
