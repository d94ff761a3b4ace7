#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cohort/comm/communicator.h"

#include "data_prep/convert.h"

namespace cohort::data_prep {

/// Collective. The files below a folder that `takes` wants: paths below it, sorted; through links to folders
/// as well. What is left out is known to rank 0. `skips`: folders that cannot be read are left out. Throws
/// DataError, also when there is none: `kind` names them, "DICOM files".
std::vector<std::string> files_below(const std::filesystem::path& root, const std::string& kind,
                                     const std::function<bool(const std::filesystem::path& file)>& takes,
                                     bool skips, LeftOut& left_out, comm::Communicator& ranks);

/// Collective. The images below a folder by their names: paths below it, sorted. `skips`: folders that cannot
/// be read are left out. What is left out is known to rank 0. Throws DataError, also when there is no image.
std::vector<std::string> images_below(const std::filesystem::path& root, bool skips, LeftOut& left_out,
                                      comm::Communicator& ranks);

/// The file of an image below `folder`: called like it, with one of the endings; the first where there is
/// none.
std::string file_beside(const std::filesystem::path& folder, const std::string& image,
                        const std::vector<std::string>& endings);

/// Images that are files, `paths` below `root` (empty: paths as they are), which are their ids as well.
/// `axes` of .npy files: see axes.h.
Source source_of_files(const std::filesystem::path& root, const std::vector<std::string>& paths,
                       const std::string& axes);

/// The same with the splits, contexts and labels that their folders say: "split/context:hospital/label".
/// Throws UsageError (no such layout) or DataError (folders of another depth).
Source source_of_files(const std::filesystem::path& root, const std::vector<std::string>& paths,
                       const std::string& layout, const std::string& axes);

}  // namespace cohort::data_prep
