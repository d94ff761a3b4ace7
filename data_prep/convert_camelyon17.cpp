// cohort-data convert wilds-camelyon17: Camelyon17-WILDS (Koh et al., "WILDS: A benchmark of in-the-wild
// distribution shifts", ICML 2021; Bandi et al. 2018) and its unlabelled patches (Sagawa et al., "Extending
// the WILDS benchmark for unsupervised adaptation", ICLR 2022), as the package wilds unpacks them.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/file.h"

#include "data_prep/convert.h"
#include "data_prep/image_file.h"
#include "data_prep/table.h"

namespace cohort::data_prep {
namespace {

// The hospitals ("centers") that the benchmark holds out.
constexpr const char* kValidationCenter = "1";
constexpr const char* kTestCenter = "2";

struct CamelyonOptions {
  std::filesystem::path root;
  ConvertOptions common;
};

/// Cells of metadata.csv by name.
class Metadata {
 public:
  explicit Metadata(const std::filesystem::path& file) : table_(Table::read(file)) {
    for (std::size_t i = 0; i < kNames.size(); ++i) columns_[i] = table_.column(kNames[i], "metadata.csv");
    labelled_ = has("tumor") && has("split");
    if (labelled_)
      columns_[kTumor] = table_.column("tumor", ""), columns_[kSplit] = table_.column("split", "");
  }
  enum Name : std::size_t { kPatient, kNode, kX, kY, kSlide, kCenter, kTumor, kSplit };

  [[nodiscard]] const std::vector<Line>& lines() const noexcept { return table_.lines; }
  [[nodiscard]] bool is_labelled() const noexcept { return labelled_; }
  [[nodiscard]] const std::string& cell(const Line& line, Name name) const {
    return line.cells[columns_[name]];
  }

 private:
  static constexpr std::array<const char*, 6> kNames{"patient", "node",  "x_coord",
                                                     "y_coord", "slide", "center"};

  [[nodiscard]] bool has(const std::string& name) const {
    return std::find(table_.columns.begin(), table_.columns.end(), name) != table_.columns.end();
  }

  Table table_;
  std::array<std::size_t, 8> columns_{};
  bool labelled_ = false;
};

/// "patches/patient_004_node_4/patch_patient_004_node_4_x_3328_y_21792.png"
std::string patch_path(const Metadata& metadata, const Line& line) {
  const std::string place = fmt::format("patient_{:0>3}_node_{}", metadata.cell(line, Metadata::kPatient),
                                        metadata.cell(line, Metadata::kNode));
  return fmt::format("patches/{0}/patch_{0}_x_{1}_y_{2}.png", place, metadata.cell(line, Metadata::kX),
                     metadata.cell(line, Metadata::kY));
}

/// The official splits: hospital 2 is test, hospital 1 val; of the others column split says 0 train, 1
/// id_val.
std::string split_of(const Metadata& metadata, const Line& line, const std::string& where) {
  const std::string& center = metadata.cell(line, Metadata::kCenter);
  if (!metadata.is_labelled()) {
    return center == kTestCenter         ? "test_unlabeled"
           : center == kValidationCenter ? "val_unlabeled"
                                         : "train_unlabeled";
  }
  if (center == kTestCenter) return "test";
  if (center == kValidationCenter) return "val";
  const std::string& split = metadata.cell(line, Metadata::kSplit);
  if (split == "0") return "train";
  if (split == "1") return "id_val";
  throw DataError({fmt::format("split '{}' of line {} is neither 0 nor 1", split, line.number), where,
                   "unpack the archive again: this is not the benchmark's metadata.csv"});
}

Source read_source(const CamelyonOptions& options) {
  const std::filesystem::path file = options.root / "metadata.csv";
  const Metadata metadata(file);
  Source source;
  source.where = file.string();
  source.content = checksum_file(file);
  source.contexts = {{"hospital", {}}, {"slide", {}}};
  if (metadata.is_labelled()) source.labels = {{"tumor", {}}};
  source.statistics = metadata.is_labelled() ? "train" : "train_unlabeled";
  std::vector<std::int64_t> lines;
  for (const Line& line : metadata.lines()) {
    source.ids.push_back(patch_path(metadata, line));
    source.splits.push_back(split_of(metadata, line, source.where));
    source.contexts[0].values.push_back(metadata.cell(line, Metadata::kCenter));
    source.contexts[1].values.push_back(metadata.cell(line, Metadata::kSlide));
    lines.push_back(line.number);
    if (metadata.is_labelled()) source.labels[0].values.push_back(metadata.cell(line, Metadata::kTumor));
  }
  source.place = [where = source.where, lines = std::move(lines)](std::int64_t i) {
    return fmt::format("{}:{}", where, lines[static_cast<std::size_t>(i)]);
  };
  return source;
}

ExitCode run(const CamelyonOptions& options, comm::Communicator& ranks) {
  Source source;
  comm::together(ranks, [&] { source = read_source(options); });
  source.path = [&](std::int64_t i) { return options.root / source.ids[static_cast<std::size_t>(i)]; };
  source.image = [&](std::int64_t i) { return read_image(source.path(i)); };
  return convert(source, options.common, ranks);
}

}  // namespace

void add_convert_camelyon17(CLI::App& convert, Action& action) {
  auto options = std::make_shared<CamelyonOptions>();
  ConvertOptions& common = options->common;
  common.name = "camelyon17";
  common.license = "CC0 1.0, https://wilds.stanford.edu/datasets/#camelyon17";
  common.classes = {"0,1"};
  CLI::App& command = add_command(
      convert,
      {"wilds-camelyon17",
       "Camelyon17-WILDS, labelled or unlabelled: contexts hospital and slide, label tumor",
       {"mpirun -n 16 cohort-data convert wilds-camelyon17 --root camelyon17_v1.0 --out data/camelyon17"},
       endings_on_ranks(),
       "Splits: hospital 2 is test, hospital 1 val; of the other three, train and id_val as the benchmark "
       "has them. Unlabelled patches: test_unlabeled, val_unlabeled, train_unlabeled."});
  command
      .add_option("--root", options->root,
                  "folder of the unpacked archive: camelyon17_v1.0 or camelyon17_unlabeled_v1.0")
      ->required()
      ->type_name("DIR");
  finish_convert<CamelyonOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep
