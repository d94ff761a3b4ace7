#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data_prep/convert.h"
#include "data_prep/table.h"

namespace cohort::data_prep {

/// A table with a line for each of what images are of: slides, patients, wells.
class JoinedTable {
 public:
  /// `keys`, one an image, stand in the column `key` (named by --key). Several lines of one key are one where
  /// they agree in all columns that `columns` names. Lines without an image become known to `left_out`.
  /// Throws UsageError (no such column) or DataError.
  JoinedTable(const std::filesystem::path& file, const std::string& key, const Categories& keys,
              const ColumnOptions& columns, LeftOut& left_out);

  [[nodiscard]] bool has(const std::string& column) const;
  /// One an image. Throws as Table::column().
  [[nodiscard]] std::vector<std::string> cells(const std::string& name, const std::string& option) const;

 private:
  void check_agreement(const std::string& key, std::size_t first, std::size_t second,
                       const ColumnOptions& columns) const;
  [[nodiscard]] std::vector<std::size_t> used_columns(const ColumnOptions& columns) const;

  Table table_;
  std::vector<std::size_t> lines_;  // one an image
};

/// Which facts of images become labels, contexts and splits: facts that files tell of themselves, and those
/// of a table.
struct FactOptions {
  std::filesystem::path table{};
  std::string by{};   ///< the fact that joins the table to the images
  std::string key{};  ///< the table's column with it; empty: it is called like the fact
  ColumnOptions columns{};

  /// `facts`: "tag, such as PatientID", for the help.
  void add_to(CLI::App& command, const std::string& facts);
};

/// The facts that options ask for, sorted: some may be columns of the table.
std::vector<std::string> wanted_facts(const FactOptions& options, const ConvertOptions& common);

/// The values of a fact, one an image; `option` asked for it. Throws UsageError: there is no such fact.
using Facts = std::function<Categories(const std::string& name, const std::string& option)>;

/// Gives `source` its splits, labels and contexts, and what --group-by asks for: columns of the table where
/// it has them, else facts. Throws as JoinedTable and `facts`.
void read_facts(Source& source, const FactOptions& options, const ConvertOptions& common, const Facts& facts);

/// Throws UsageError unless `name` is among `known` facts.
void check_fact(const std::string& name, const std::vector<std::string>& known, const std::string& option);

/// Calls visit(index) on one rank for each of `count` indices, and gives the texts that it returned to all.
/// Collective.
std::vector<std::string> shared_texts(std::int64_t count, comm::Communicator& ranks,
                                      const std::function<std::string(std::int64_t index)>& visit);

/// Of options that decide pixels, for Source::content.
std::uint64_t checksum_of(const std::string& text);

}  // namespace cohort::data_prep
