#pragma once
// The sub-commands of cohort-data as they are typed, on the ranks of a test.
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "data/image_files.h"
#include "data_prep/options.h"
#include "support/ranks.h"
#include "support/tiny_dataset.h"

namespace cohort::data_prep {

using testing::SharedFolder;

inline const std::filesystem::path kNuclei = std::filesystem::path(COHORT_TEST_DATA) / "data" / "nuclei";

inline ExitCode run(const std::string& line, comm::Communicator& ranks) {
  CLI::App program;
  Action action;
  CLI::App& convert = *program.add_subcommand("convert");
  add_convert_images(convert, action);
  add_convert_manifest(convert, action);
  add_convert_npz(convert, action);
  add_convert_hdf5(convert, action);
  add_convert_camelyon17(convert, action);
  add_convert_fmow(convert, action);
  add_convert_webdataset(convert, action);
  add_convert_jumpcp(convert, action);
  add_convert_elpv(convert, action);
  add_convert_dicom(convert, action);
  add_convert_zarr(convert, action);
  add_convert_slides(convert, action);
  add_convert_nifti(convert, action);
  add_convert_coco(convert, action);
  add_convert_voc(convert, action);
  add_inspect(program, action);
  add_verify(program, action);
  add_synth(program, action);
  add_shapes(program, action);
  add_merge(program, action);
  add_split(program, action);
  add_export(program, action);
  add_vocabulary(program, action);
  program.parse(line, false);
  return action(ranks);
}

inline std::string refusal(const std::string& line, comm::Communicator& ranks) {
  try {
    run(line, ranks);
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was refused";
}

class Commands : public ::testing::Test {
 protected:
  /// photos/<site>/<kind>/<n>.png of 4 x 6 pixels: 2 sites, 2 kinds, 3 of each.
  void make_photos() {
    if (world_.rank() == 0) {
      std::uint8_t level = 0;
      for (const char* folder : {"north/cat", "north/dog", "south/cat", "south/dog"}) {
        for (int i = 0; i < 3; ++i) {
          testing::write_png(path("photos") / folder / fmt::format("{}.png", i), 4, 6, 1,
                             std::vector<std::uint8_t>(24, level += 10));
        }
      }
    }
    world_.barrier();
  }
  void write(const std::string& name, const std::string& content) {
    if (world_.rank() == 0) {
      std::filesystem::create_directories(path(name).parent_path());
      write_file_atomically(path(name), content);
    }
    world_.barrier();
  }
  [[nodiscard]] std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }
  ExitCode in_folder(const std::string& format) {
    return run(fmt::format(fmt::runtime(format), folder_.path().string()), world_);
  }
  std::string refused(const std::string& format) {
    return refusal(fmt::format(fmt::runtime(format), folder_.path().string()), world_);
  }

  comm::Communicator world_ = test::world();
  SharedFolder folder_{world_};
};

}  // namespace cohort::data_prep
