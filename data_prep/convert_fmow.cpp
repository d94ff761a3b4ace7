// cohort-data convert wilds-fmow: FMoW-WILDS (Koh et al., "WILDS: A benchmark of in-the-wild distribution
// shifts", ICML 2021; Christie et al., "Functional Map of the World", CVPR 2018), as the package wilds
// unpacks it.
#include <charconv>
#include <map>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/file.h"

#include "data_prep/convert.h"
#include "data_prep/image_file.h"
#include "data_prep/table.h"

namespace cohort::data_prep {
namespace {

// The official splits: before 2013 in distribution, then three years of validation, test from 2016.
constexpr int kValidationYear = 2013, kTestYear = 2016;
constexpr const char* kOtherRegion = "Other";

struct FmowOptions {
  std::filesystem::path root;
  ConvertOptions common;
};

/// Region of each country by its code of three letters.
std::map<std::string, std::string> read_regions(const std::filesystem::path& file) {
  const Table table = Table::read(file);
  const auto codes = table.cells("alpha-3", file.filename().string()),
             names = table.cells("region", file.filename().string());
  std::map<std::string, std::string> regions;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const auto [first, is_new] = regions.emplace(codes[i], names[i]);
    if (is_new || first->second == names[i]) continue;
    throw DataError({fmt::format("two lines contradict each other about '{}'", codes[i]), table.place(i),
                     "remove one of them"});
  }
  return regions;
}

/// Of "2015-03-02T09:21:44Z".
int year_of(const std::string& time, const std::string& where) {
  int year = 0;
  const auto [end, error] = std::from_chars(time.data(), time.data() + time.size(), year);
  if (error == std::errc() && end == time.data() + 4 && year > 1900) return year;
  throw DataError({fmt::format("the time '{}' does not begin with a year", time), where,
                   "unpack the archive again: this is not the benchmark's rgb_metadata.csv"});
}

/// Empty: the benchmark does not use the image.
std::string fmow_split(const std::string& split, int year) {
  if (split == "test") return year >= kTestYear ? "test" : year < kValidationYear ? "id_test" : "";
  if (split == "val") {
    if (year < kValidationYear) return "id_val";
    return year < kTestYear ? "val" : "";
  }
  return split == "train" && year < kValidationYear ? "train" : "";
}

Source read_fmow(const FmowOptions& options) {
  const std::filesystem::path file = options.root / "rgb_metadata.csv",
                              countries = options.root / "country_code_mapping.csv";
  const std::map<std::string, std::string> regions = read_regions(countries);
  const Table table = Table::read(file);
  const auto column = [&](const char* name) { return table.cells(name, file.filename().string()); };
  const auto split = column("split"), time = column("timestamp"), country = column("country_code"),
             category = column("category");
  Source source;
  source.where = file.string();
  source.content = checksum_file(file) ^ checksum_file(countries);
  source.labels = {{"category", {}}};
  source.contexts = {{"region", {}}, {"year", {}}, {"country", {}}};
  for (std::size_t i = 0; i < split.size(); ++i) {
    const int year = year_of(time[i], source.where);
    std::string name = fmow_split(split[i], year);
    if (name.empty()) {
      source.left_out.add("images that the benchmark does not use", fmt::format("rgb_img_{}.png", i));
      continue;
    }
    const auto region = regions.find(country[i]);
    source.ids.push_back(fmt::format("images/rgb_img_{}.png", i));
    source.splits.push_back(std::move(name));
    source.labels[0].values.push_back(category[i]);
    source.contexts[0].values.push_back(region == regions.end() ? kOtherRegion : region->second);
    source.contexts[1].values.push_back(std::to_string(year));
    source.contexts[2].values.push_back(country[i]);
  }
  return source;
}

ExitCode convert_fmow(const FmowOptions& options, comm::Communicator& ranks) {
  Source source;
  comm::together(ranks, [&] { source = read_fmow(options); });
  source.path = [&](std::int64_t i) { return options.root / source.ids[static_cast<std::size_t>(i)]; };
  source.image = [&](std::int64_t i) { return read_image(source.path(i)); };
  return convert(source, options.common, ranks);
}

}  // namespace

void add_convert_fmow(CLI::App& convert, Action& action) {
  auto options = std::make_shared<FmowOptions>();
  ConvertOptions& common = options->common;
  common.name = "fmow";
  common.license = "FMoW Challenge Public License, https://github.com/fMoW/dataset/blob/master/LICENSE";
  CLI::App& command =
      add_command(convert, {"wilds-fmow",
                            "FMoW-WILDS, satellite images: contexts region, year and country, label category",
                            {"mpirun -n 16 cohort-data convert wilds-fmow --root fmow_v1.1 --out data/fmow"},
                            endings_on_ranks(),
                            "Splits are the benchmark's: train, id_val and id_test before 2013, val from "
                            "2013 to 2015, test from 2016; images that it does not use are left out."});
  command.add_option("--root", options->root, "folder of the unpacked archive: fmow_v1.1")
      ->required()
      ->type_name("DIR");
  finish_convert<FmowOptions>(command, action, options, convert_fmow);
}

}  // namespace cohort::data_prep
