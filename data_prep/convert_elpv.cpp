// cohort-data convert elpv: electroluminescence images of solar cells (Buerhop-Lutz et al. 2018, Deitsch et
// al. 2021), https://github.com/zae-bayern/elpv-dataset. Context: the photographed module; label: defective
// or not.
#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/file.h"

#include "data_prep/convert.h"
#include "data_prep/image_file.h"
#include "data_prep/zip.h"

namespace cohort::data_prep {
namespace {

constexpr const char* kData = "elpv_dataset/data/";  // inside the package

/// First row of labels.csv of every module. The file does not name the modules, but its rows follow them:
/// found from where the cell type changes and from the pictures. Uncertain is only the 50-cell module that
/// begins at 1674.
constexpr std::array<std::int64_t, 44> kFirstRows{
    0,    60,   120,  180,  240,  300,  360,  420,  480,  540,  600,  660,  720,  780,  840,
    900,  960,  1020, 1080, 1140, 1200, 1260, 1314, 1374, 1434, 1494, 1554, 1614, 1674, 1724,
    1784, 1844, 1904, 1964, 2024, 2084, 2144, 2216, 2276, 2336, 2396, 2444, 2504, 2564};
constexpr std::int64_t kRows = 2624;

struct ElpvOptions {
  std::filesystem::path source;
  ConvertOptions common;
};

/// The files of the package: of the wheel, which is a zip archive, or of a folder into which it, or its data,
/// were unpacked.
class Package {
 public:
  explicit Package(const std::filesystem::path& path) : folder_(path) {
    if (!std::filesystem::exists(path)) {
      throw DataError(
          {"there is no such wheel or folder", path.string(), "pip download --no-deps elpv-dataset==1.0.0"});
    }
    if (!std::filesystem::is_directory(path)) zip_ = Zip::open(path);
    if (!std::filesystem::exists(folder_ / "labels.csv")) folder_ /= kData;
  }
  [[nodiscard]] bool is_archive() const { return zip_.has_value(); }
  [[nodiscard]] std::filesystem::path path(const std::string& name) const { return folder_ / name; }
  [[nodiscard]] std::string read(const std::string& name) const {
    return zip_ ? zip_->read(kData + name) : read_file(folder_ / name);
  }

 private:
  std::filesystem::path folder_;
  std::optional<Zip> zip_;
};

std::string module_of(std::int64_t row) {
  const auto next = std::upper_bound(kFirstRows.begin(), kFirstRows.end(), row);
  return fmt::format("module_{:02}", next - kFirstRows.begin() - 1);
}

void add_row(Source& source, std::int64_t row, const std::string& line) {
  std::istringstream words(line);
  std::string path;
  double probability = -1;  // that the cell is defective: 0, 1/3, 2/3 or 1
  if (!(words >> path >> probability) || probability < 0 || probability > 1) {
    throw DataError({fmt::format("'{}' is not a path and a probability", line),
                     fmt::format("{}: labels.csv:{}", source.where, row + 1), "fetch the package again"});
  }
  source.ids.push_back(path);
  source.labels[0].values.push_back(probability >= 0.5 ? "defective" : "functional");
  source.contexts[0].values.push_back(module_of(row));
}

Source read_source(const Package& package, const ElpvOptions& options) {
  const std::string labels = package.read("labels.csv");
  Source source;
  source.where = options.source.string();
  source.content = checksum(std::as_bytes(std::span(labels)));
  source.labels = {{"condition", {}}};
  source.contexts = {{"module", {}}};
  std::int64_t row = 0;
  for (const std::string& line : split_text(labels, '\n')) {
    if (!line.empty()) add_row(source, row++, line);
  }
  if (row != kRows) {
    throw DataError({fmt::format("labels.csv has {} rows, elpv-dataset 1.0.0 has {}", row, kRows),
                     source.where, "fetch version 1.0.0: the modules are known for its order of rows only"});
  }
  return source;
}

ExitCode run(const ElpvOptions& options, comm::Communicator& ranks) {
  std::optional<Package> package;
  Source source;
  comm::together(ranks, [&] {
    package.emplace(options.source);
    source = read_source(*package, options);
  });
  if (package->is_archive())
    source.archives = {options.source};
  else
    source.path = [&](std::int64_t i) { return package->path(source.ids[static_cast<std::size_t>(i)]); };
  source.image = [&](std::int64_t index) {
    const std::string& id = source.ids[static_cast<std::size_t>(index)];
    return decode_image(package->read(id), fmt::format("{}: {}", source.where, id));
  };
  return convert(source, options.common, ranks);
}

}  // namespace

void add_convert_elpv(CLI::App& convert, Action& action) {
  auto options = std::make_shared<ElpvOptions>();
  ConvertOptions& common = options->common;
  common.name = "elpv";
  common.license = "CC BY-NC-SA 4.0, https://github.com/zae-bayern/elpv-dataset";
  common.gray = true;
  common.resize = "64";
  common.shard_size = "2MiB";  // small as it is, several ranks shall have something to write and to read
  common.classes = {"functional,defective"};
  common.hold_out = {4, 4};
  CLI::App& command = add_command(
      convert, {"elpv",
                "Photos of solar cells, elpv-dataset 1.0.0: context module",
                {"mpirun -n 2 cohort-data convert elpv elpv_dataset-1.0.0-py3-none-any.whl --out data/elpv"},
                endings_on_ranks(),
                "Splits: every 4th module (0, 4 … 40) is unseen_test; of the others every 4th image is "
                "seen_test, the rest train."});
  command
      .add_option("source", options->source,
                  "the wheel elpv_dataset-1.0.0-py3-none-any.whl, or a folder it was unpacked to")
      ->required()
      ->type_name("WHEEL_OR_FOLDER");
  command.add_option("--out", common.out, "folder of the new dataset")->required()->type_name("DIR");
  command.add_option("--size", common.resize, "height x width, or one number for both; the photos have 300")
      ->capture_default_str();
  command.add_option("--shard-size", common.shard_size, "largest size of one shard")->capture_default_str();
  common.add_statistics_to(command);
  common.add_recheck_to(command);
  command.add_flag("--dry-run", common.dry_run,
                   "only show how many images each split, label and context would get");
  command.add_flag("--overwrite", common.overwrite, "replace the dataset that is in the folder");
  choose_on<ElpvOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep
