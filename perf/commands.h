#pragma once
#include <functional>

#include "cohort/comm/communicator.h"

#include "command_line/command.h"
#include "table.h"

namespace cohort::perf {

using command_line::add_command;
using command_line::endings_alone;
using command_line::endings_on_ranks;
using command_line::with;

/// What a command line asks for: one of the two functions is set once it was parsed.
struct Job {
  std::function<ExitCode(comm::Communicator&)> with_ranks{};
  std::function<ExitCode()> alone{};  ///< without MPI
};

/// --json and --html.
void add_output(CLI::App* command, Output& output);

// Each adds a command, which fills in `job` when it was chosen.
void add_baseline(CLI::App& app, Job& job);
void add_calibrate(CLI::App& app, Job& job);
void add_checkpoint(CLI::App& app, Job& job);
void add_collectives(CLI::App& app, Job& job);
void add_compare(CLI::App& app, Job& job);
void add_context(CLI::App& app, Job& job);
void add_engine(CLI::App& app, Job& job);
void add_explain(CLI::App& app, Job& job);
void add_features(CLI::App& app, Job& job);
void add_gate(CLI::App& app, Job& job);
void add_loader(CLI::App& app, Job& job);
void add_peak(CLI::App& app, Job& job);
void add_plan(CLI::App& app, Job& job);
void add_published(CLI::App& app, Job& job);
void add_recorder(CLI::App& app, Job& job);
void add_sampler(CLI::App& app, Job& job);
void add_scale(CLI::App& app, Job& job);
void add_scaling(CLI::App& app, Job& job);
void add_step(CLI::App& app, Job& job);
void add_trace(CLI::App& app, Job& job);
void add_views(CLI::App& app, Job& job);

}  // namespace cohort::perf
