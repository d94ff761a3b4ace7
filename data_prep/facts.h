#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data_prep/convert.h"
#include "data_prep/table.h"

namespace cohort::data_prep {

/// A table with a line for each of what images are of: slides, patients, wells. It stays in its file: a line
/// takes 16 bytes while images look for theirs, an image 1 to 4 bytes.
class JoinedTable {
 public:
  /// `keys`, one an image, stand in the column `key` (named by --key). Several lines of one key are one where
  /// they agree in all columns that `columns` names. Lines without an image become known to `left_out`.
  /// Throws UsageError (no such column) or DataError.
  JoinedTable(const std::filesystem::path& file, const std::string& key, const Categories& keys,
              const ColumnOptions& columns, LeftOut& left_out);

  [[nodiscard]] bool has(const std::string& column) const;
  /// One an image. Throws as Table::column().
  [[nodiscard]] Categories cells(const std::string& name, const std::string& option) const;

 private:
  void check_agreement(std::int64_t first, std::int64_t second, std::size_t key,
                       const std::vector<std::size_t>& used) const;
  [[nodiscard]] std::vector<std::size_t> used_columns(const ColumnOptions& columns) const;
  void tell_unused(const std::vector<bool>& has_image, std::size_t key, LeftOut& left_out) const;

  LargeTable table_;
  std::shared_ptr<data::PackedIndices> lines_ = std::make_shared<data::PackedIndices>();  // one an image
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

/// On the first of `ranks`, which alone needs them: gives `source` its splits, labels and contexts, and what
/// --group-by asks for: columns of the table where it has them, else facts. Not collective. Throws as
/// JoinedTable and `facts`.
void read_facts(Source& source, const FactOptions& options, const ConvertOptions& common, const Facts& facts,
                const comm::Communicator& ranks);

/// Throws UsageError unless `name` is among `known` facts.
void check_fact(const std::string& name, const std::vector<std::string>& known, const std::string& option);

/// Calls visit(index) on one rank for each of `count` indices, and take(index, text) with the text that it
/// returned on all ranks, in order: some of them at a time. Collective. Throws on all ranks what either
/// throws.
void share_texts(std::int64_t count, comm::Communicator& ranks,
                 const std::function<std::string(std::int64_t index)>& visit,
                 const std::function<void(std::int64_t index, const std::string& text)>& take);

/// Of options that decide pixels, for Source::content.
std::uint64_t checksum_of(const std::string& text);

}  // namespace cohort::data_prep
