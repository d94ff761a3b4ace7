// cohort-data convert dicom: a folder of DICOM files, an image for each frame.
#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/data/pixel_type.h"

#include "data_prep/convert.h"
#include "data_prep/dicom.h"
#include "data_prep/facts.h"
#include "data_prep/image_files.h"

namespace cohort::data_prep {
namespace {

constexpr const char* kFile = "file";  // the one fact that is no tag: the path below the folder

struct DicomOptions {
  std::filesystem::path root;
  std::string window, type;
  FactOptions facts{.by = kFile};
  ConvertOptions common;
};

double window_number(const std::string& text, const std::string& all) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  throw UsageError({fmt::format("'{}' is no window", all), "--window",
                    "write file, or centre and width: --window 40,400"});
}

DicomValues values_of(const DicomOptions& options) {
  DicomValues values;
  if (!options.type.empty()) values.type = data::pixel_type_of(options.type);
  values.has_window = !options.window.empty();
  if (!values.has_window || options.window == "file") return values;
  const std::vector<std::string> parts = split_text(options.window, ',');
  values.window = {window_number(parts.front(), options.window), window_number(parts.back(), options.window)};
  if (parts.size() != 2 || values.window->width <= 0) window_number("", options.window);
  return values;
}

struct Frame {
  std::size_t file;
  std::int64_t index;
};

/// The images of all files.
class DicomFiles {
 public:
  /// Collective.
  DicomFiles(const DicomOptions& options, comm::Communicator& ranks)
      : options_(options), values_(values_of(options)), tags_(wanted_facts(options.facts, options.common)) {
    source.where = options.root.string();
    const bool skips = options.common.skips_damaged();
    paths_ = files_below(options.root, "DICOM file", is_dicom, skips, source.left_out, ranks);
    read_headers(ranks);
    for (std::size_t file = 0; file < paths_.size(); ++file) source.archives.push_back(path(file));
    source.place = [this](std::int64_t i) {
      return path(frames_[static_cast<std::size_t>(i)].file).string();
    };
    source.image = [this](std::int64_t i) { return image(frames_[static_cast<std::size_t>(i)]); };
    source.content = checksum_of(fmt::format("window {} type {}", options.window, options.type));
    comm::together(ranks, [&] { read_facts(source, options.facts, options.common, facts(), ranks); });
  }
  DicomFiles(const DicomFiles&) = delete;
  DicomFiles& operator=(const DicomFiles&) = delete;

  Source source;

 private:
  [[nodiscard]] std::filesystem::path path(std::size_t file) const { return options_.root / paths_[file]; }

  void read_headers(comm::Communicator& ranks) {
    const bool is_first = ranks.rank() == 0;
    share_texts(
        std::ssize(paths_), ranks, [&](std::int64_t i) { return header(static_cast<std::size_t>(i)); },
        [&](std::int64_t i, const std::string& header) {
          add(static_cast<std::size_t>(i), nlohmann::json::parse(header), is_first);
        });
    comm::together(ranks, [&] {
      if (source.ids.empty())
        throw DataError({"no DICOM file has an image", source.where, "check the path and the options"});
    });
  }

  /// [frames, value of the first tag, …], or why there is none.
  [[nodiscard]] std::string header(std::size_t file) const {
    nlohmann::json text;
    try {
      const DicomHeader header = read_dicom_header(path(file), tags_);
      text = header.values;
      text.insert(text.begin(), header.frames);
    } catch (const DataError& error) {
      if (!options_.common.skips_damaged()) throw;
      text = error.text().what;
    }
    return text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

  /// `has_facts`: facts are kept here.
  void add(std::size_t file, const nlohmann::json& header, bool has_facts) {
    if (header.is_string()) return source.left_out.add("DICOM files that cannot be read", paths_[file]);
    const auto frames = header.front().get<std::int64_t>();
    if (frames == 0) return source.left_out.add("DICOM files without an image", paths_[file]);
    for (std::int64_t frame = 0; frame < frames; ++frame) {
      source.ids.push_back(frames == 1 ? paths_[file] : fmt::format("{}_{:06}", paths_[file], frame));
      frames_.push_back({file, frame});
      for (std::size_t tag = 0; tag < tags_.size() && has_facts; ++tag)
        found_[tags_[tag]].push_back(header[tag + 1].get<std::string>());
    }
  }

  [[nodiscard]] Facts facts() const {
    return [this](const std::string& name, const std::string& option) -> Categories {
      if (name == kFile) return files_of_frames();
      check_tag(name, option);
      return found_.at(name);
    };
  }

  [[nodiscard]] Categories files_of_frames() const {
    return {std::ssize(frames_),
            [this](std::int64_t i) { return paths_[frames_[static_cast<std::size_t>(i)].file]; }};
  }

  [[nodiscard]] Image image(const Frame& frame) {
    if (!open_ || frame.file != open_file_) open_.emplace(path(frame.file));
    open_file_ = frame.file;
    return open_->frame(frame.index, values_);
  }

  const DicomOptions& options_;
  DicomValues values_;
  std::vector<std::string> tags_, paths_;
  std::vector<Frame> frames_;
  std::map<std::string, Categories> found_;  // of a tag, one an image, on the first rank
  std::optional<DicomFile> open_;
  std::size_t open_file_ = 0;
};

ExitCode convert_files(const DicomOptions& options, comm::Communicator& ranks) {
  DicomFiles files(options, ranks);
  return convert(files.source, options.common, ranks);
}

}  // namespace

void add_convert_dicom(CLI::App& convert, Action& action) {
  auto options = std::make_shared<DicomOptions>();
  CLI::App& command = add_command(
      convert,
      {"dicom",
       "A folder of DICOM files, an image for each frame",
       {"mpirun -n 4 cohort-data convert dicom scans --context Manufacturer --window 40,400 --resize 256 "
        "--out data/scans",
        "cohort-data convert dicom films --table findings.csv --by PatientID --label effusion --context "
        "StationName --group-by PatientID --out data/films"},
       endings_on_ranks(),
       "Facts are tags by their keyword in DICOM's dictionary (PatientID, StudyInstanceUID, Manufacturer) "
       "and "
       "`file`, the path below the folder. Values are those of the modality (rescaled, MONOCHROME1 "
       "inverted): u8 or u16 where they are stored so, else f32."});
  command.add_option("root", options->root, "the folder")->required()->type_name("FOLDER");
  command
      .add_option("--window", options->window,
                  "range of gray values that becomes 0 … 255: centre and width, or file: the first one that "
                  "each file names (default: values are kept)")
      ->type_name("CENTRE,WIDTH");
  command.add_option("--type", options->type, "type of gray images (default: what holds their values)")
      ->check(CLI::IsMember({"u8", "u16", "f32"}));
  options->facts.add_to(command, "tag");
  finish_convert<DicomOptions>(command, action, options, convert_files);
}

}  // namespace cohort::data_prep
