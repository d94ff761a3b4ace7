#pragma once
#include <functional>
#include <string>
#include <vector>

#include "cohort/comm/session.h"

#include "command_line/command.h"

namespace cohort::jobs {

using command_line::add_command;

/// What a command line asks for: exactly one of the two functions is set once it was parsed.
struct Job {
  std::string program;            ///< "cohort train": opens every message
  std::vector<std::string> rest;  ///< of cohort submit: what stands behind --
  std::function<ExitCode(comm::Communicator&)> with_ranks;
  std::function<ExitCode()> alone;  ///< without MPI
};

// Each adds a sub-command, which fills in `job` when it was chosen.
void add_checkpoint(CLI::App& app, Job& job);
void add_configs(CLI::App& app, Job& job);
void add_embed(CLI::App& app, Job& job);
void add_explain(CLI::App& app, Job& job);
void add_export(CLI::App& app, Job& job);
void add_train(CLI::App& app, Job& job);
void add_finetune(CLI::App& app, Job& job);
void add_downstream(CLI::App& app, Job& job);
void add_eval(CLI::App& app, Job& job);
void add_predict(CLI::App& app, Job& job);
void add_extract(CLI::App& app, Job& job);
void add_knn(CLI::App& app, Job& job);
void add_probe(CLI::App& app, Job& job);
void add_report(CLI::App& app, Job& job);
void add_submit(CLI::App& app, Job& job);
void add_status(CLI::App& app, Job& job);
void add_docs(CLI::App& app, Job& job);
void add_doctor(CLI::App& app, Job& job);

}  // namespace cohort::jobs
