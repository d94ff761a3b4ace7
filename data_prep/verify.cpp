// cohort-data verify: checks every byte of a dataset.
#include "data_prep/verify.h"

#include <algorithm>
#include <numeric>

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

/// Damage found by one rank, and what is needed to look for ids that occur twice.
struct Findings {
  std::vector<std::string> damage;
  std::vector<std::int64_t> id_hashes;
  std::vector<std::string> ids;  // "file: row 3 ('x')", for each hash
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
                   const std::string& file, Findings& findings) {
  for (const auto& label : description.labels) {
    check_range(reader.labels(label.name), "label " + label.name, label.classes.size(), -1, file, findings);
  }
  for (const auto& key : description.contexts) {
    check_range(reader.contexts(key.name), "context " + key.name, key.values.size(), 0, file, findings);
  }
  const std::vector<std::string> ids = reader.ids();
  for (std::size_t row = 0; row < ids.size(); ++row) {
    findings.id_hashes.push_back(static_cast<std::int64_t>(checksum(std::as_bytes(std::span(ids[row])))));
    findings.ids.push_back(fmt::format("{}: row {} ('{}')", file, row, ids[row]));
  }
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
    check_columns(reader, description, entry.file, findings);
    const bool rows_whole = findings.damage.size() == before;
    if (checksum_file(folder / entry.file) != entry.checksum) {
      findings.damage.push_back(fmt::format("{}: the file's checksum is not the one of dataset.json{}",
                                            entry.file, rows_whole ? ", although all images are whole" : ""));
    }
  } catch (const DataError& error) {
    findings.damage.push_back(fmt::format("{}: {}", entry.file, first_line(error)));
  }
}

/// Collective. Ids of all ranks meet as hashes of 64 bits.
void find_double_ids(Findings& findings, comm::Communicator& ranks) {
  const at::Tensor all =
      ranks.gather_rows(at::tensor(findings.id_hashes, at::kLong));  // [rows of the dataset]
  std::vector<std::int64_t> hashes(all.data_ptr<std::int64_t>(), all.data_ptr<std::int64_t>() + all.numel());
  std::sort(hashes.begin(), hashes.end());
  for (std::size_t i = 0; i < findings.ids.size(); ++i) {
    const auto [first, last] = std::equal_range(hashes.begin(), hashes.end(), findings.id_hashes[i]);
    if (last - first > 1) findings.damage.push_back(findings.ids[i] + ": the id occurs more than once");
  }
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
  find_double_ids(findings, ranks);
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
