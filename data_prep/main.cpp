// The program `cohort-data`: makes, shows and checks datasets. Every sub-command stands in a file of its own.
#include <CLI/CLI.hpp>

#include "cohort/comm/session.h"

#include "data_prep/options.h"

namespace {

using namespace cohort;

void add_commands(CLI::App& program, data_prep::Action& action) {
  program.require_subcommand(1);
  CLI::App& convert =
      *program.add_subcommand("convert", "make a dataset; under mpirun all ranks write shards");
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
  data_prep::add_inspect(program, action);
  data_prep::add_verify(program, action);
  data_prep::add_merge(program, action);
  data_prep::add_split(program, action);
  data_prep::add_export(program, action);
  data_prep::add_synth(program, action);
}

/// "cohort-data convert npz": opens every message.
std::string called(const CLI::App& program) {
  std::string name = program.get_name();
  for (const CLI::App* chosen : program.get_subcommands()) name += " " + called(*chosen);
  return name;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App program("Makes, shows and checks Cohort datasets: sharded HDF5 and dataset.json.", "cohort-data");
  program.set_version_flag("--version", "cohort-data " COHORT_VERSION);
  data_prep::Action action;
  add_commands(program, action);
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return comm::run_alone("cohort-data", [&] { return program.exit(help), ExitCode::done; });
  } catch (const CLI::ParseError& error) {
    const std::string text = error.what();
    action = [text](comm::Communicator&) -> ExitCode {
      throw UsageError({text, "command line", "see --help of the sub-command"});
    };
  }
  return comm::run_ranks(argc, argv, called(program), action);
}
