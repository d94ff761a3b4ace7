// The program `cohort-data`: makes, shows and checks datasets. Every sub-command stands in a file of its own.
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "cohort/comm/session.h"

#include "command_line/docs.h"
#include "data_prep/options.h"

namespace {

using namespace cohort;

void add_commands(CLI::App& program, data_prep::Action& action) {
  program.require_subcommand(1);
  CLI::App& convert = command_line::add_command(
      program, {"convert",
                "Make a dataset; under mpirun all ranks write shards",
                {"mpirun -n 4 cohort-data convert images photos --layout context/label --out data/mine"},
                command_line::endings_on_ranks()});
  convert.require_subcommand(1);
  data_prep::add_convert_images(convert, action);
  data_prep::add_convert_manifest(convert, action);
  data_prep::add_convert_npz(convert, action);
  data_prep::add_convert_hdf5(convert, action);
  data_prep::add_convert_camelyon17(convert, action);
  data_prep::add_convert_fmow(convert, action);
  data_prep::add_convert_webdataset(convert, action);
  data_prep::add_convert_jumpcp(convert, action);
  data_prep::add_convert_elpv(convert, action);
  data_prep::add_convert_dicom(convert, action);
  data_prep::add_convert_zarr(convert, action);
  data_prep::add_convert_slides(convert, action);
  data_prep::add_convert_nifti(convert, action);
  data_prep::add_convert_coco(convert, action);
  data_prep::add_convert_voc(convert, action);
  data_prep::add_inspect(program, action);
  data_prep::add_verify(program, action);
  data_prep::add_merge(program, action);
  data_prep::add_split(program, action);
  data_prep::add_export(program, action);
  data_prep::add_synth(program, action);
  data_prep::add_shapes(program, action);
  data_prep::add_vocabulary(program, action);
}

}  // namespace

int main(int argc, char** argv) {
  command_line::Command program({"cohort-data",
                                 "Makes, shows and checks Cohort datasets: sharded HDF5 and dataset.json",
                                 {"cohort-data convert images photos --layout context/label --out data/mine",
                                  "cohort-data inspect data/mine"},
                                 command_line::endings_on_ranks()});
  data_prep::Action action;
  std::function<ExitCode()> alone;
  add_commands(program, action);
  command_line::add_docs(program, [&](std::function<ExitCode()> print) { alone = std::move(print); });
  const std::span<char* const> arguments(argv, static_cast<std::size_t>(argc));
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& help) {
    alone = [&program, help] { return static_cast<ExitCode>(program.exit(help)); };
  } catch (const CLI::ParseError& error) {
    action = [text =
                  command_line::explain(program, arguments, error)](comm::Communicator& ranks) -> ExitCode {
      ranks.agree(std::make_exception_ptr(UsageError(text)));
      return ExitCode::usage;
    };
  }
  const std::string name = command_line::full_name(command_line::chosen_command(program));
  // A copy: `docs check` parses command lines, which chooses anew.
  if (const auto chosen = alone) return comm::run_without_ranks(argc, argv, name, chosen);
  return comm::run_ranks(argc, argv, name, action);
}
