#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <mpi.h>

#include "cohort/core/text.h"

#include "commands.h"
#include "device.h"
#include "table.h"
#include "timing.h"

namespace cohort::perf {
namespace {

struct CollectivesOptions {
  std::vector<std::string> operations{"all_reduce", "all_gather", "reduce_scatter", "broadcast"};
  std::vector<std::string> types{"f32"};                 ///< f32, bf16, f64
  std::string place = "in";                              ///< in, out or both
  std::string device = "cpu";                            ///< or cuda: over NCCL
  std::uint64_t smallest = 1 << 10, largest = 64 << 20;  ///< bytes of the larger of the two buffers
  std::uint64_t factor = 8;                              ///< from one size to the next
  double seconds = 0.3;                                  ///< for each measurement
  Output output;
};

struct Type {
  std::string name;
  at::ScalarType scalar;
  MPI_Datatype sum;   ///< that MPI can add; null: none
  MPI_Datatype move;  ///< of the same size, which MPI can move
};

std::vector<Type> known_types() {
  return {{"f32", at::kFloat, MPI_FLOAT, MPI_FLOAT},
          {"bf16", at::kBFloat16, MPI_DATATYPE_NULL, MPI_UINT16_T},
          {"f64", at::kDouble, MPI_DOUBLE, MPI_DOUBLE}};
}

/// What a rank gives and what it gets; in place they share memory.
struct Buffers {
  at::Tensor input, output;
  bool in_place = false;

  [[nodiscard]] const void* mpi_input() const { return in_place ? MPI_IN_PLACE : input.data_ptr(); }
  [[nodiscard]] const at::Tensor& larger() const { return input.numel() > output.numel() ? input : output; }
  [[nodiscard]] const at::Tensor& smaller() const { return input.numel() > output.numel() ? output : input; }
};

struct Group {
  comm::Communicator* ranks;
  MPI_Comm mpi;
  [[nodiscard]] double size() const { return ranks->size(); }
  [[nodiscard]] int rank() const { return ranks->rank(); }
};

int count(const at::Tensor& tensor) {
  return static_cast<int>(tensor.numel());
}

/// A collective as nccl-tests measures it (its doc/PERFORMANCE.md): its size is that of the larger buffer.
struct Operation {
  std::string name;
  bool sums = false, has_in_place = true;
  double (*bus_factor)(double ranks);  ///< bytes on each link for each byte of the size
  Buffers (*buffers)(const Group&, std::int64_t each, at::TensorOptions, bool in_place);
  void (*cohort)(const Group&, Buffers&);
  void (*mpi)(const Group&, Buffers&, MPI_Datatype);
  at::Tensor (*expected)(const Group&, const Buffers&);
};

/// Small whole numbers: sums are exact in any order.
at::Tensor pattern(std::int64_t first, const at::Tensor& like) {
  return at::arange(first, first + like.numel(), like.options().dtype(at::kDouble)).remainder(7);
}

void fill(const Group& group, Buffers& buffers) {
  buffers.output.zero_();
  buffers.input.copy_(pattern(0, buffers.input).mul_(group.rank() + 1));
}

double total_factor(const Group& group) {
  return group.size() * (group.size() + 1) / 2;
}

Buffers of_equal_size(const Group& group, std::int64_t each, at::TensorOptions options, bool in_place) {
  const at::Tensor output = at::empty({each * group.ranks->size()}, options);
  return {in_place ? output : at::empty_like(output), output, in_place};
}

Operation all_reduce() {
  return {
      "all_reduce",
      true,
      true,
      [](double n) { return 2 * (n - 1) / n; },
      of_equal_size,
      [](const Group& group, Buffers& b) {
        if (!b.in_place) b.output.copy_(b.input);
        group.ranks->all_reduce(b.output).wait();
      },
      [](const Group& group, Buffers& b, MPI_Datatype type) {
        MPI_Allreduce(b.mpi_input(), b.output.data_ptr(), count(b.output), type, MPI_SUM, group.mpi);
      },
      [](const Group& group, const Buffers& b) { return pattern(0, b.output).mul_(total_factor(group)); }};
}

Operation all_gather() {
  return {"all_gather",
          false,
          true,
          [](double n) { return (n - 1) / n; },
          [](const Group& group, std::int64_t each, at::TensorOptions options, bool in_place) {
            const at::Tensor output = at::empty({each * group.ranks->size()}, options);
            return Buffers{
                in_place ? output.narrow(0, group.rank() * each, each) : at::empty({each}, options), output,
                in_place};
          },
          [](const Group& group, Buffers& b) { group.ranks->all_gather(b.output, b.input).wait(); },
          [](const Group& group, Buffers& b, MPI_Datatype type) {
            MPI_Allgather(b.mpi_input(), count(b.input), type, b.output.data_ptr(), count(b.input), type,
                          group.mpi);
          },
          [](const Group& group, const Buffers& b) {
            const at::Tensor one = pattern(0, b.input);
            return at::outer(at::arange(1, group.size() + 1, one.options()), one).flatten();
          }};
}

Operation reduce_scatter() {
  return {"reduce_scatter",
          true,
          false,
          [](double n) { return (n - 1) / n; },
          [](const Group& group, std::int64_t each, at::TensorOptions options, bool) {
            return Buffers{at::empty({each * group.ranks->size()}, options), at::empty({each}, options)};
          },
          [](const Group& group, Buffers& b) { group.ranks->reduce_scatter(b.output, b.input).wait(); },
          [](const Group& group, Buffers& b, MPI_Datatype type) {
            MPI_Reduce_scatter_block(b.input.data_ptr(), b.output.data_ptr(), count(b.output), type, MPI_SUM,
                                     group.mpi);
          },
          [](const Group& group, const Buffers& b) {
            return pattern(group.rank() * b.output.numel(), b.output).mul_(total_factor(group));
          }};
}

Operation broadcast() {
  return {"broadcast",
          false,
          true,
          [](double) { return 1.0; },
          of_equal_size,
          [](const Group& group, Buffers& b) {
            if (!b.in_place && group.rank() == 0) b.output.copy_(b.input);
            group.ranks->broadcast(b.output).wait();
          },
          [](const Group& group, Buffers& b, MPI_Datatype type) {
            if (!b.in_place && group.rank() == 0) b.output.copy_(b.input);
            MPI_Bcast(b.output.data_ptr(), count(b.output), type, 0, group.mpi);
          },
          [](const Group&, const Buffers& b) { return pattern(0, b.output); }};
}

/// Those of `known` that are named; throws UsageError.
template <class Choice>
std::vector<Choice> choose(const std::vector<Choice>& known, const std::vector<std::string>& names,
                           const char* option, const char* what) {
  std::vector<std::string> known_names;
  for (const Choice& choice : known) known_names.push_back(choice.name);
  std::vector<Choice> chosen;
  for (const std::string& name : names) {
    const auto found = std::find(known_names.begin(), known_names.end(), name);
    if (found == known_names.end())
      throw UsageError({fmt::format("unknown {} '{}'", what, name), option, did_you_mean(name, known_names)});
    chosen.push_back(known[static_cast<std::size_t>(found - known_names.begin())]);
  }
  return chosen;
}

struct Case {
  Operation operation;
  Type type;
  std::uint64_t bytes;
  bool in_place;
};

/// The cases in the order of the table.
std::vector<Case> cases_of(const CollectivesOptions& options) {
  std::vector<Case> cases;
  const auto operations = choose<Operation>({all_reduce(), all_gather(), reduce_scatter(), broadcast()},
                                            options.operations, "--op", "collective");
  const auto types = choose(known_types(), options.types, "--dtype", "dtype");
  for (const Operation& operation : operations) {
    std::vector<bool> places;
    if (options.place != "in" || !operation.has_in_place) places.push_back(false);
    if (options.place != "out" && operation.has_in_place) places.push_back(true);
    for (const Type& type : types) {
      for (std::uint64_t bytes = options.smallest; bytes <= options.largest; bytes *= options.factor) {
        for (const bool in_place : places) cases.push_back({operation, type, bytes, in_place});
      }
    }
  }
  return cases;
}

/// One case: the buffers, and what is measured with them.
class Run {
 public:
  Run(const Case& of, const Group& group, at::Device device, double seconds)
      : case_(of), group_(group), device_(device), seconds_(seconds) {
    const auto element = static_cast<std::uint64_t>(c10::elementSize(of.type.scalar));
    const auto each =
        std::max<std::uint64_t>(1, of.bytes / element / static_cast<std::uint64_t>(group.size()));
    buffers_ = of.operation.buffers(group, static_cast<std::int64_t>(each),
                                    at::TensorOptions(of.type.scalar).device(device), of.in_place);
  }

  /// Cohort; copying the larger buffer once, all ranks at the same time; and MPI, where it can do it.
  std::vector<Times> times() {
    at::Tensor target = at::empty_like(buffers_.larger());
    const MPI_Datatype type = case_.operation.sums ? case_.type.sum : case_.type.move;
    std::vector<std::function<void()>> runs{[&] { case_.operation.cohort(group_, buffers_); },
                                            [&] { target.copy_(buffers_.larger()); }};
    if (type != MPI_DATATYPE_NULL && device_.is_cpu())
      runs.emplace_back([&] { case_.operation.mpi(group_, buffers_, type); });
    for (auto& run : runs) {
      run = [this, call = std::move(run)] {
        call();
        synchronise(device_);
      };
    }
    // As mpi4py and the OSU benchmarks do it; more work here would leave less of the buffers in the cache.
    const auto prepare = [&] {
      buffers_.input.fill_(group_.rank() + 1);
      synchronise(device_);
    };
    return measure_in_turns(*group_.ranks, seconds_, prepare, runs);
  }
  /// Wrong values on all ranks after one run on fresh data.
  std::int64_t wrong() {
    fill(group_, buffers_);
    case_.operation.cohort(group_, buffers_);
    synchronise(device_);
    const at::Tensor expected = case_.operation.expected(group_, buffers_).to(buffers_.output.scalar_type());
    return group_.ranks->sum(buffers_.output.ne(expected).sum().item<std::int64_t>());
  }
  [[nodiscard]] std::int64_t bytes() const { return static_cast<std::int64_t>(buffers_.larger().nbytes()); }
  [[nodiscard]] std::int64_t elements() const { return buffers_.smaller().numel(); }

 private:
  const Case& case_;
  Group group_;
  at::Device device_;
  double seconds_;
  Buffers buffers_;
};

std::int64_t run_case(const Case& of, const Group& group, at::Device device, double seconds, Table& table) {
  Run run(of, group, device, seconds);
  const std::vector<Times> times = run.times();
  const Times &ours = times[0], &copy = times[1];
  const std::int64_t wrong = run.wrong();
  const auto size = static_cast<double>(run.bytes());
  const double algorithm = size / ours.median * 1e-9, limit = size / copy.median * 1e-9;
  const double bus = algorithm * of.operation.bus_factor(group.size());
  Cell peer_time, of_peer;
  if (times.size() > 2) peer_time = times[2].median * 1e6, of_peer = 100 * times[2].median / ours.median;
  table.add({of.operation.name, run.bytes(), run.elements(), of.type.name, of.operation.sums ? "sum" : "none",
             of.in_place ? "in" : "out", ours.median * 1e6, ours.p99 * 1e6, algorithm, bus, limit,
             100 * bus / limit, peer_time, of_peer, wrong},
            ours.microseconds());
  return wrong;
}

Table& make_table(Results& results) {
  return results.table(
      "",
      {"sizes, counts, algbw and busbw as in nccl-tests: size of the larger buffer, count of the smaller; "
       "busbw: algbw times 2(n-1)/n for",
       "all_reduce, (n-1)/n for gather and scatter. times: slowest rank. limit: copying as many bytes, all "
       "ranks at once. mpi: the same",
       "blocking call of MPI on the host; of mpi: its time over ours"},
      {{"op", "", 14, 0, Role::key},
       {"size", "B", 10, 0, Role::key},
       {"count", "elements", 10},
       {"type", "", 5, 0, Role::key},
       {"redop", "", 5},
       {"place", "", 5, 0, Role::key},
       {"time p50", "us", 10, 1, Role::lower},
       {"p99", "us", 10, 1},
       {"algbw", "GB/s", 7, 2},
       {"busbw", "GB/s", 7, 2},
       {"limit", "GB/s", 7, 2},
       {"of limit", "%", 8},
       {"mpi p50", "us", 10, 1},
       {"of mpi", "%", 6},
       {"#wrong", "", 6}},
      {{"bus bandwidth", "size", {"busbw"}, true}});
}

/// Collective. cohort::comm against the same call of MPI and against memcpy. ExitCode::bug if a value is
/// wrong.
ExitCode collectives(const CollectivesOptions& options, comm::Communicator& ranks) {
  std::vector<Case> cases;
  comm::together(ranks, [&] { cases = cases_of(options); });
  const at::Device device = device_named(options.device, ranks);
  Results results("collectives", options.output, ranks);
  Table& table = make_table(results);
  const Group group{&ranks, MPI_Comm_f2c(ranks.mpi_handle())};
  std::int64_t wrong = 0;
  for (const Case& each : cases) wrong += run_case(each, group, device, options.seconds, table);
  results.finish();
  return wrong == 0 ? ExitCode::done : ExitCode::bug;
}

}  // namespace

void add_collectives(CLI::App& app, Job& job) {
  const auto options = std::make_shared<CollectivesOptions>();
  CLI::App* command =
      &add_command(app, {"collectives",
                         "Collectives over sizes, dtypes and devices, against plain MPI and copies",
                         {"mpirun -n 4 cohort-perf collectives --op all_reduce --max 64M"},
                         endings_on_ranks()});
  command->add_option("--op", options->operations, "which: all_reduce all_gather reduce_scatter broadcast")
      ->capture_default_str();
  command->add_option("--dtype", options->types, "which: f32 bf16 f64")->capture_default_str();
  command
      ->add_option("--place", options->place,
                   "in: results replace what was given; out: they have buffers of their own; both")
      ->check(CLI::IsMember({"in", "out", "both"}))
      ->capture_default_str();
  command->add_option("--device", options->device, "cpu: over MPI; cuda: over NCCL")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--min", options->smallest, "smallest size in bytes, for example 4K")
      ->transform(CLI::AsSizeValue(false));
  command->add_option("--max", options->largest, "largest size in bytes")->transform(CLI::AsSizeValue(false));
  command->add_option("--factor", options->factor, "from one size to the next")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "time for each measurement")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_output(command, options->output);
  command->callback([options, &job] {
    job.with_ranks = [options](comm::Communicator& ranks) { return collectives(*options, ranks); };
  });
}

}  // namespace cohort::perf
