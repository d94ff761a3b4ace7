// cohort-data convert jump-cp: single cells of JUMP-CP's pilot plates (Chandrasekaran et al., Nature Methods
// 2024), cut out and masked, as ContextViT (arXiv 2305.19402) and ChannelViT (arXiv 2309.16108) publish them:
// a Parquet table for each plate and a .npy file for each cell.
#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/text.h"

#include "data_prep/convert.h"
#include "data_prep/image_file.h"
#include "data_prep/numpy_random.h"
#include "data_prep/table.h"

namespace cohort::data_prep {
namespace {

namespace fs = std::filesystem;

constexpr const char* kControl = "control";  // wells without a target
constexpr std::array kChannels{"Mito", "AGP", "RNA", "ER", "DNA", "HighZBF", "LowZBF", "Brightfield"};

struct JumpcpOptions {
  fs::path root, platemap, metadata;
  std::vector<fs::path> plates;
  std::string perturbation = "compound", splits = "contextvit";
  ConvertOptions common;
};

/// The file itself, or one of its name with another ending: the published tables are Parquet and called .tsv.
fs::path table_file(const JumpcpOptions& options, const fs::path& given, const std::string& kind) {
  if (!given.empty()) return given;
  const fs::path folder = options.root / "platemap_and_metadata";
  const std::string name = fmt::format("JUMP-Target-1_{}_{}", options.perturbation, kind);
  for (const char* ending : {".tsv", ".txt", ".parquet", ".pq"}) {
    if (fs::exists(folder / (name + ending))) return folder / (name + ending);
  }
  throw DataError({fmt::format("there is no {} of the perturbation '{}'", kind, options.perturbation),
                   (folder / (name + ".tsv")).string(), fmt::format("fetch it, or name it with --{}", kind)});
}

/// What was done to each well.
struct Wells {
  std::map<std::string, std::string> target;  ///< by well, "A01"
  std::vector<std::string> classes;           ///< control, then targets in order of first appearance
};

/// The platemap says which sample a well has, the metadata which target a sample has. Both joined in the
/// metadata's order, as the publications do, because that order numbers the classes.
Wells read_wells(const JumpcpOptions& options) {
  const Table platemap = Table::read(table_file(options, options.platemap, "platemap")),
              metadata = Table::read(table_file(options, options.metadata, "metadata"));
  const auto well = platemap.cells("well_position", "--platemap"),
             sample_of_well = platemap.cells("broad_sample", "--platemap"),
             sample = metadata.cells("broad_sample", "--metadata"),
             target = metadata.cells(options.perturbation == "compound" ? "target" : "gene", "--metadata");
  std::multimap<std::string, std::string> wells_of;
  for (std::size_t i = 0; i < well.size(); ++i) wells_of.emplace(sample_of_well[i], well[i]);
  Wells wells{{}, {kControl}};
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const std::string name = target[i].empty() ? kControl : target[i];
    const auto [begin, end] = wells_of.equal_range(sample[i]);
    for (auto of_sample = begin; of_sample != end; ++of_sample) {
      if (std::find(wells.classes.begin(), wells.classes.end(), name) == wells.classes.end())
        wells.classes.push_back(name);
      wells.target[of_sample->second] = name;
    }
  }
  return wells;
}

/// "s3://bucket/jumpcp/BR00116991/x.npy" lies at <root>/BR00116991/x.npy, where the bucket's folder was
/// copied to; or at <root>/jumpcp/…; other paths are relative to the root.
fs::path cell_file(const fs::path& root, std::string path) {
  constexpr std::string_view kScheme = "s3://";
  if (!path.starts_with(kScheme)) return root / path;
  path = path.substr(std::min(path.find('/', kScheme.size()), path.size() - 1) + 1);
  const std::size_t folder = path.find('/');
  const fs::path inside = folder == std::string::npos ? root / path : root / path.substr(folder + 1);
  return fs::exists(inside) ? inside : root / path;
}

/// Splits of the publications, which permute the cells of all plates together.
std::vector<std::string> splits_of(const JumpcpOptions& options, std::int64_t cells) {
  std::vector<std::string> splits(static_cast<std::size_t>(cells), "train");
  if (options.splits == "none") return splits;
  const bool in_halves = options.splits == "contextvit";
  const auto part = [&](double share) {
    return static_cast<std::int64_t>(share * static_cast<double>(cells));
  };
  const std::int64_t train = in_halves ? cells / 2 : part(0.6), valid = in_halves ? 0 : part(0.2);
  const std::vector<std::int64_t> order = numpy_permutation(0, cells);
  for (std::int64_t i = train; i < cells; ++i) {
    splits[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] =
        i < train + valid ? "valid" : "test";
  }
  return splits;
}

/// "BR00116991_A01_3_…": plate, well, field.
void add_cell(Source& source, const std::string& id, const std::string& well, const Wells& wells) {
  const std::vector<std::string> parts = split_text(id, '_');
  if (parts.size() < 3) {
    throw DataError({fmt::format("'{}' is no id of a cell: plate_well_field_… is expected", id), source.where,
                     "fetch the table again"});
  }
  const auto target = wells.target.find(well);
  source.ids.push_back(id);
  source.contexts[0].values.push_back(parts[0]);
  source.contexts[1].values.push_back(well);
  source.contexts[2].values.push_back(parts[2]);
  source.labels[0].values.push_back(target == wells.target.end() ? "" : target->second);
}

struct Cells {
  Source source;
  std::vector<std::string> paths, places;
};

Cells read_cells(const JumpcpOptions& options, const Wells& wells) {
  Cells cells;
  Source& source = cells.source;
  source.where = options.root.string();
  source.contexts = {{"plate", {}}, {"well", {}}, {"field", {}}};
  source.labels = {{"target", {}, wells.classes}};
  source.channels = {kChannels.begin(), kChannels.end()};
  Checksum sum;
  for (const fs::path& plate : options.plates) {
    const fs::path file = fs::exists(plate) ? plate : options.root / plate;
    const Table table = Table::read(file);
    source.where = table.file;
    const auto ids = table.cells("ID", "--plate"), paths = table.cells("path", "--plate"),
               well = table.cells("well_loc", "--plate");
    for (std::size_t i = 0; i < ids.size(); ++i) {
      add_cell(source, ids[i], well[i], wells);
      const std::string line = fmt::format("{}\n{}\n{}\n", ids[i], well[i], paths[i]);
      sum.update(std::as_bytes(std::span(line)));
      cells.places.push_back(table.place(i));
    }
    cells.paths.insert(cells.paths.end(), paths.begin(), paths.end());
  }
  for (const std::string& name : wells.classes) sum.update(std::as_bytes(std::span(name)));
  source.content = sum.value();
  source.splits = splits_of(options, std::ssize(source.ids));
  return cells;
}

ExitCode run(const JumpcpOptions& options, comm::Communicator& ranks) {
  Cells cells;
  comm::together(ranks, [&] {
    const Wells wells = read_wells(options);
    cells = read_cells(options, wells);
  });
  cells.source.path = [&](std::int64_t i) {
    return cell_file(options.root, cells.paths[static_cast<std::size_t>(i)]);
  };
  cells.source.image = [&](std::int64_t i) { return read_image(cells.source.path(i), "CHW"); };
  cells.source.place = [&](std::int64_t i) { return cells.places[static_cast<std::size_t>(i)]; };
  return convert(cells.source, options.common, ranks);
}

}  // namespace

void add_convert_jumpcp(CLI::App& convert, Action& action) {
  auto options = std::make_shared<JumpcpOptions>();
  ConvertOptions& common = options->common;
  common.name = "jumpcp";
  common.license = "CC0 1.0, https://github.com/jump-cellpainting/2024_Chandrasekaran_NatureMethods_CPJUMP1";
  CLI::App& command = add_command(
      convert, {"jump-cp",
                "JUMP-CP single cells: contexts plate, well and field, label target of the perturbation",
                {"mpirun -n 16 cohort-data convert jump-cp --root jumpcp --plate BR00116991.pq --plate "
                 "BR00116993.pq --out data/jumpcp"},
                endings_on_ranks(),
                "Splits are those of the publications, cell by cell: numpy.random.RandomState(0).permutation "
                "over the cells of all plates. Of several lines of the metadata for one sample the last one "
                "counts. Cells of wells that the platemap does not know have no label."});
  command
      .add_option("--root", options->root, "folder with the plates' tables, cells and platemap_and_metadata/")
      ->required()
      ->type_name("DIR");
  command
      .add_option(
          "--plate", options->plates,
          "Parquet table of a plate, in the root or anywhere; may be repeated, and their order matters to "
          "the splits")
      ->required()
      ->allow_extra_args(false)
      ->type_name("FILE");
  command.add_option("--perturbation", options->perturbation, "what was done to the wells of these plates")
      ->check(CLI::IsMember({"compound", "crispr", "orf"}))
      ->capture_default_str();
  command
      .add_option("--platemap", options->platemap,
                  "table well_position, broad_sample; without it that in the root")
      ->type_name("FILE");
  command
      .add_option("--metadata", options->metadata,
                  "table broad_sample, target or gene; without it that in the root")
      ->type_name("FILE");
  command
      .add_option("--splits", options->splits,
                  "contextvit: train and test, half each; channelvit: train, valid and test, 60, 20 and 20 "
                  "%; none: all "
                  "is train")
      ->check(CLI::IsMember({"contextvit", "channelvit", "none"}))
      ->capture_default_str();
  finish_convert<JumpcpOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep
