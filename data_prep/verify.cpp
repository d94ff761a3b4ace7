// cohort-data verify: checks every byte of a dataset.
#include "data_prep/verify.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include <ATen/Functions.h>
#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/count_progress.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/data/shard_reader.h"

#include "data_prep/options.h"

namespace cohort::data_prep {
namespace {

constexpr std::int64_t kIds = 1024;  // that are read at once

/// Damage found by one rank, and the shards whose ids it can read.
struct Findings {
  std::vector<std::string> damage;
  std::vector<data::ShardEntry> readable;
};

std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

void check_range(const std::vector<std::int32_t>& column, const std::string& name, std::size_t size,
                 std::int32_t lowest, const std::string& file, Findings& findings) {
  for (std::size_t row = 0; row < column.size(); ++row) {
    if (column[row] >= lowest && column[row] < static_cast<std::int32_t>(size)) continue;
    findings.damage.push_back(fmt::format("{}: row {}: {} is {}, outside {} … {}", file, row, name,
                                          column[row], lowest, static_cast<std::int64_t>(size) - 1));
  }
}

void check_columns(const data::ShardReader& reader, const data::Description& description,
                   const data::ShardEntry& entry, Findings& findings) {
  const std::string& file = entry.file;
  for (const auto& label : description.labels) {
    check_range(reader.labels(label.name), "label " + label.name, label.classes.size(), -1, file, findings);
  }
  for (const auto& key : description.contexts) {
    check_range(reader.contexts(key.name), "context " + key.name, key.values.size(), 0, file, findings);
  }
  for (std::int64_t row = 0; row < entry.rows; row += kIds)
    static_cast<void>(reader.ids(row, std::min(kIds, entry.rows - row)));
  findings.readable.push_back(entry);
}

/// `check` of something in a file; what it throws is damage.
template <class Check>
void note_damage(const std::string& file, Findings& findings, const Check& check) {
  try {
    check();
  } catch (const DataError& error) {
    findings.damage.push_back(fmt::format("{}: {}", file, first_line(error)));
  }
}

void check_field(const data::ShardReader& reader, const data::Field& field, std::size_t number,
                 std::int64_t row, const std::string& file, Findings& findings) {
  std::vector<std::byte> values;
  note_damage(file, findings, [&] {
    reader.read_field(row, number, values);
    const std::string problem = data::problem_of_values(field, values);
    if (!problem.empty())
      findings.damage.push_back(
          fmt::format("{}: row {} ('{}') of field '{}' {}", file, row, reader.id(row), field.name, problem));
  });
}

void check_rows(const data::ShardReader& reader, const data::Description& description,
                const std::string& file, Findings& findings) {
  std::vector<std::byte> image(static_cast<std::size_t>(description.images.bytes()));
  for (std::int64_t row = 0; row < reader.rows(); ++row) {
    note_damage(file, findings, [&] { reader.read(row, image); });
    for (std::size_t i = 0; i < description.fields.size(); ++i)
      check_field(reader, description.fields[i], i, row, file, findings);
  }
}

void check_shard(const std::filesystem::path& folder, const data::Description& description,
                 const data::ShardEntry& entry, Findings& findings) {
  try {
    const data::ShardReader reader =
        data::ShardReader::open(folder, entry, description.images, description.codec, description.fields);
    const std::size_t before = findings.damage.size();
    check_rows(reader, description, entry.file, findings);
    check_columns(reader, description, entry, findings);
    const bool rows_whole = findings.damage.size() == before;
    if (checksum_file(folder / entry.file) != entry.checksum) {
      findings.damage.push_back(fmt::format("{}: the file's checksum is not the one of dataset.json{}",
                                            entry.file, rows_whole ? ", although all images are whole" : ""));
    }
  } catch (const DataError& error) {
    findings.damage.push_back(fmt::format("{}: {}", entry.file, first_line(error)));
  }
}

/// Shards of this rank.
struct ShardsHere {
  const std::filesystem::path& folder;
  const data::Description& description;
  const std::vector<data::ShardEntry>& entries;
};

struct FoundId {
  std::string file, id;
  std::int64_t row;
};

/// The ids of shards, some at a time.
class IdStream {
 public:
  explicit IdStream(const ShardsHere& shards) : shards_(shards) {}

  /// The next ones, at most kIds; none: all have been read.
  std::vector<FoundId> next() {
    std::vector<FoundId> ids;
    while (std::ssize(ids) < kIds && number_ < shards_.entries.size()) {
      const data::ShardEntry& entry = shards_.entries[number_];
      if (!reader_)
        reader_.emplace(data::ShardReader::open(shards_.folder, entry, shards_.description.images,
                                                shards_.description.codec));
      const std::int64_t count = std::min(kIds - std::ssize(ids), entry.rows - row_);
      for (std::string& id : reader_->ids(row_, count)) ids.push_back({entry.file, std::move(id), row_++});
      if (row_ < entry.rows) continue;
      reader_.reset();
      row_ = 0, ++number_;
    }
    return ids;
  }

 private:
  const ShardsHere& shards_;
  std::optional<data::ShardReader> reader_;
  std::size_t number_ = 0;
  std::int64_t row_ = 0;
};

std::int64_t hash_of(const std::string& id) {
  return static_cast<std::int64_t>(checksum(std::as_bytes(std::span(id))));
}

/// Collective. Calls visit(hash) for the ids of all ranks, on every rank.
template <class Visit>
void visit_hashes(const ShardsHere& shards, comm::Communicator& ranks, const Visit& visit) {
  IdStream ids(shards);
  at::Tensor all;
  do {
    std::vector<std::int64_t> mine;
    comm::together(ranks, [&] {
      for (const FoundId& found : ids.next()) mine.push_back(hash_of(found.id));
    });
    all = ranks.gather_rows(at::tensor(mine, at::kLong));
    const auto* hashes = all.const_data_ptr<std::int64_t>();
    std::for_each(hashes, hashes + all.numel(), visit);
  } while (all.numel() > 0);
}

/// Collective. Hashes of 64 bits that several ids of the dataset have, on every rank. Each rank looks for
/// them in its share of all hashes; where that is large, in one part of it after another, so that the memory
/// it takes does not grow with the dataset. `rows`: of the dataset.
std::vector<std::int64_t> repeated_hashes(const ShardsHere& shards, std::int64_t rows,
                                          comm::Communicator& ranks) {
  constexpr std::int64_t kMost = std::int64_t{1} << 20;
  const auto size = static_cast<std::uint64_t>(ranks.size()), rank = static_cast<std::uint64_t>(ranks.rank()),
             passes = static_cast<std::uint64_t>(rows / (ranks.size() * kMost)) + 1;
  std::vector<std::int64_t> repeated;
  for (std::uint64_t pass = 0; pass < passes; ++pass) {
    std::vector<std::int64_t> mine;
    visit_hashes(shards, ranks, [&](std::int64_t hash) {
      if (static_cast<std::uint64_t>(hash) % (size * passes) == pass * size + rank) mine.push_back(hash);
    });
    std::sort(mine.begin(), mine.end());
    for (std::size_t i = 1; i < mine.size(); ++i) {
      if (mine[i] == mine[i - 1]) repeated.push_back(mine[i]);
    }
  }
  const at::Tensor all = ranks.gather_rows(at::tensor(repeated, at::kLong));
  repeated.assign(all.const_data_ptr<std::int64_t>(), all.const_data_ptr<std::int64_t>() + all.numel());
  std::sort(repeated.begin(), repeated.end());
  return repeated;
}

/// Collective. Ids of all ranks meet as hashes.
void find_double_ids(const std::filesystem::path& folder, const data::Description& description,
                     std::int64_t rows, Findings& findings, comm::Communicator& ranks) {
  const ShardsHere shards{folder, description, findings.readable};
  const std::vector<std::int64_t> repeated = repeated_hashes(shards, rows, ranks);
  if (repeated.empty()) return;
  comm::together(ranks, [&] {
    IdStream ids(shards);
    for (std::vector<FoundId> some = ids.next(); !some.empty(); some = ids.next()) {
      for (const FoundId& found : some) {
        if (std::binary_search(repeated.begin(), repeated.end(), hash_of(found.id)))
          findings.damage.push_back(fmt::format("{}: row {} ('{}'): the id occurs more than once", found.file,
                                                found.row, found.id));
      }
    }
  });
}

std::vector<std::string> gather(const std::vector<std::string>& damage, comm::Communicator& ranks) {
  std::vector<std::string> all;
  for (const std::string& text : ranks.gather_texts(join(damage, "\n"))) {
    for (const std::string& line : split_text(text, '\n')) {
      if (!line.empty()) all.push_back(line);
    }
  }
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

ExitCode verify(const std::filesystem::path& folder, comm::Communicator& ranks) {
  Findings findings;
  std::int64_t shards = 0, rows = 0;
  const data::Description description = data::Description::read(folder, ranks);
  comm::together(ranks, [&] {
    const std::int64_t all =
        std::accumulate(description.splits.begin(), description.splits.end(), std::int64_t{0},
                        [](std::int64_t sum, const data::Split& split) { return sum + split.rows(); });
    CountProgress progress("checking", all, ranks.size());
    for (const data::Split& split : description.splits) {
      for (const data::ShardEntry& entry : split.shards) {
        rows += entry.rows;
        if (shards++ % ranks.size() == ranks.rank()) check_shard(folder, description, entry, findings);
        if (ranks.rank() == 0) progress.show(rows, all);
      }
    }
  });
  find_double_ids(folder, description, rows, findings, ranks);
  const std::vector<std::string> damage = gather(findings.damage, ranks);
  if (ranks.rank() == 0) {
    for (const std::string& line : damage) fmt::print("{}\n", printable(line));
    fmt::print("{}: {} images in {} shards, {}\n", printable(folder.string()), format_count(rows),
               format_count(shards),
               damage.empty() ? "all whole" : fmt::format("{} problems", damage.size()));
  }
  return damage.empty() ? ExitCode::done : ExitCode::data;
}

void add_verify(CLI::App& program, Action& action) {
  auto folder = std::make_shared<std::filesystem::path>();
  CLI::App& command = add_command(
      program,
      {"verify",
       "Check every byte of a dataset",
       {"mpirun -n 8 cohort-data verify data/elpv"},
       command_line::with(endings_on_ranks(), {ExitCode::data, "something is damaged, or cannot be read"})});
  command.add_option("dataset", *folder, "the folder")->required()->type_name("DIR");
  command.callback(
      [folder, &action] { action = [folder](comm::Communicator& ranks) { return verify(*folder, ranks); }; });
}

}  // namespace cohort::data_prep
