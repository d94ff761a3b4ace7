#pragma once
#include <string>

#include "cohort/comm/communicator.h"

#include "support/json.h"

namespace cohort::perf {

/// What goes with every result: version and commit, host, processor, cores and their load, ranks and threads,
/// libraries, compiler, date, and the command line.
Json facts_of_process();
/// Collective. The same for a benchmark on ranks, on each of them.
Json facts_of(comm::Communicator& ranks);

/// The facts as the first line of a table: "cohort-perf step 0.1.0 (a1b2c3d)  4 ranks on node01 …".
std::string headline(const std::string& benchmark, const Json& facts);

}  // namespace cohort::perf
