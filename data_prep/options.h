#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"
#include "cohort/data/description.h"

#include "command_line/command.h"
#include "data_prep/splits.h"
#include "data_prep/vocabulary.h"

namespace cohort::data_prep {

using command_line::add_command;
using command_line::endings_on_ranks;

/// What the chosen sub-command does; collective.
using Action = std::function<ExitCode(comm::Communicator& ranks)>;

/// Options that all converters share.
struct ConvertOptions {
  std::filesystem::path out;
  std::string name;  ///< empty: the name of the folder `out`
  std::string license;
  std::string resize;  ///< "64", "64x48" (height x width) or "32x64x48" (depth first); empty: as they are
  std::string fit;     ///< "crop" …; empty: stretch
  bool gray = false;
  std::string shard_size = "256MiB";
  std::string codec = "raw";
  int jpeg_quality = 0;               ///< 0: JPEG files as they are, other images with 95
  std::vector<std::string> classes;   ///< "NAME=a,b,c", or "a,b,c" for the first label
  std::vector<std::string> channels;  ///< names; empty: those of the source, or usual ones
  HoldOut hold_out;
  DivisionOptions division;
  std::string on_error = "stop";
  std::string statistics_split;  ///< empty: train or training, else the first one
  bool dry_run = false, overwrite = false, recheck = false;
  bool all_contexts = false;  ///< in tables of counts

  void add_to(CLI::App& command);
  void add_shards_to(CLI::App& command);      ///< --shard-size, --codec, --jpeg-quality alone
  void add_statistics_to(CLI::App& command);  ///< --statistics-split, --all-contexts alone
  void add_recheck_to(CLI::App& command);     ///< --recheck alone
  /// What is to be done to each image. Throws UsageError.
  [[nodiscard]] data::Preparation preparation() const;
  /// The classes listed for label number `index` called `label`; empty: none were.
  [[nodiscard]] std::vector<std::string> classes_of(const std::string& label, std::size_t index) const;
  /// Throws UsageError.
  [[nodiscard]] std::uint64_t shard_bytes() const;
  [[nodiscard]] data::Codec image_codec() const;
  /// Whether rules give splits to all images, whatever splits they have.
  [[nodiscard]] bool makes_splits_of_all() const {
    return hold_out.contexts > 0 || hold_out.images > 0 || division.folds > 0;
  }
  [[nodiscard]] bool skips_damaged() const { return on_error == "skip"; }
};

/// Which columns of a table, or arrays of an archive, hold what.
struct ColumnOptions {
  std::string split;                          ///< empty: there is none
  std::vector<std::string> labels, contexts;  ///< "COLUMN=NAME", or "COLUMN" when the name is the same

  /// `what` the texts name: "column" or "array".
  void add_to(CLI::App& command, const std::string& what);
};

/// Makes `action` run(options) when the command line chooses `command`.
template <class Options>
void choose_on(CLI::App& command, Action& action, std::shared_ptr<const Options> options,
               ExitCode (*run)(const Options&, comm::Communicator&)) {
  command.callback(
      [=, &action] { action = [=](comm::Communicator& ranks) { return run(*options, ranks); }; });
}

/// The same for a converter, after the options that all of them share.
template <class Options>
void finish_convert(CLI::App& command, Action& action, const std::shared_ptr<Options>& options,
                    ExitCode (*run)(const Options&, comm::Communicator&)) {
  options->common.add_to(command);
  choose_on<Options>(command, action, options, run);
}

/// --all-contexts, which tables of counts share.
void add_all_contexts(CLI::App& command, bool& all);

std::vector<std::string> split_text(const std::string& text, char separator);

/// "array=name" as a pair; "name" stands for "name=name".
std::pair<std::string, std::string> renamed(const std::string& text);

// The sub-commands, one file each. `action` is set when the command line chooses one.
void add_convert_images(CLI::App& convert, Action& action);
void add_convert_manifest(CLI::App& convert, Action& action);
void add_convert_npz(CLI::App& convert, Action& action);
void add_convert_hdf5(CLI::App& convert, Action& action);
void add_convert_camelyon17(CLI::App& convert, Action& action);
void add_convert_fmow(CLI::App& convert, Action& action);
void add_convert_webdataset(CLI::App& convert, Action& action);
void add_convert_jumpcp(CLI::App& convert, Action& action);
void add_convert_elpv(CLI::App& convert, Action& action);
void add_convert_dicom(CLI::App& convert, Action& action);
void add_convert_zarr(CLI::App& convert, Action& action);
void add_convert_slides(CLI::App& convert, Action& action);
void add_convert_nifti(CLI::App& convert, Action& action);
void add_convert_coco(CLI::App& convert, Action& action);
void add_convert_voc(CLI::App& convert, Action& action);
void add_merge(CLI::App& program, Action& action);
void add_split(CLI::App& program, Action& action);
void add_export(CLI::App& program, Action& action);
void add_inspect(CLI::App& program, Action& action);
void add_synth(CLI::App& program, Action& action);
void add_shapes(CLI::App& program, Action& action);
void add_verify(CLI::App& program, Action& action);
void add_vocabulary(CLI::App& program, Action& action);

}  // namespace cohort::data_prep
