// cohort-data convert nifti: NIfTI volumes, or slices of them, with what their BIDS names say.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cohort/core/text.h"

#include "data_prep/convert.h"
#include "data_prep/facts.h"
#include "data_prep/folder_fields.h"
#include "data_prep/image_files.h"
#include "data_prep/nifti.h"
#include "data_prep/nifti_fields.h"

namespace cohort::data_prep {
namespace {

struct NiftiOptions {
  std::filesystem::path root;
  std::string axis = "axial";
  bool volumes = false;
  FieldOptions fields;
  FactOptions facts{.by = "file"};
  ConvertOptions common;

  /// Of RAS.
  [[nodiscard]] int slice_axis() const { return axis == "sagittal" ? 0 : axis == "coronal" ? 1 : 2; }
};

bool is_nifti(const std::filesystem::path& file) {
  const std::string name = in_small_letters(file.filename().string());
  return name.ends_with(".nii") || name.ends_with(".nii.gz");
}

/// "anat/sub-01_ses-2_T1w.nii.gz": file, folder (anat), subject (01), session (2), other entities by their
/// keys, suffix (T1w); bids-specification.readthedocs.io, "File name structure".
std::map<std::string, std::string> facts_of_path(const std::string& path) {
  const std::filesystem::path file(path);
  std::map<std::string, std::string> facts{{"file", path}};
  if (file.has_parent_path()) facts["folder"] = file.parent_path().filename().string();
  const std::string name = file.filename().string();
  for (const std::string& part : split_text(name.substr(0, name.find('.')), '_')) {
    const std::size_t dash = part.find('-');
    const std::string key = part.substr(0, dash);
    if (dash == std::string::npos)
      facts["suffix"] = part;
    else
      facts[key == "sub" ? "subject" : key == "ses" ? "session" : key] = part.substr(dash + 1);
  }
  return facts;
}

class NiftiFiles {
 public:
  /// Collective.
  NiftiFiles(const NiftiOptions& options, comm::Communicator& ranks) : options_(options) {
    source.where = options.root.string();
    const bool skips = options.common.skips_damaged();
    paths_ = files_below(options.root, "NIfTI file (.nii, .nii.gz)", is_nifti, skips, source.left_out, ranks);
    const bool is_first = ranks.rank() == 0;
    share_texts(
        std::ssize(paths_), ranks, [&](std::int64_t i) { return header(static_cast<std::size_t>(i)); },
        [&](std::int64_t i, const std::string& header) {
          add(static_cast<std::size_t>(i), nlohmann::json::parse(header), is_first);
        });
    for (std::size_t file = 0; file < paths_.size(); ++file) source.archives.push_back(path(file));
    source.content = checksum_of("axis " + options.axis + (options.volumes ? ", volumes" : ""));
    source.place = [this](std::int64_t i) {
      return path(slices_[static_cast<std::size_t>(i)].file).string();
    };
    source.image = [this](std::int64_t i) { return read(slices_[static_cast<std::size_t>(i)]); };
    comm::together(ranks, [&] {
      if (source.ids.empty()) throw DataError({"no NIfTI file can be read", source.where, "check the files"});
      add_fields();
      read_facts(
          source, options.facts, options.common,
          [this](const std::string& name, const std::string& option) { return fact(name, option); }, ranks);
    });
  }
  NiftiFiles(const NiftiFiles&) = delete;
  NiftiFiles& operator=(const NiftiFiles&) = delete;

  Source source;

 private:
  [[nodiscard]] std::filesystem::path path(std::size_t file) const { return options_.root / paths_[file]; }

  /// [slices, volumes, "1 x 1 x 3"], or null for a file that cannot be read.
  [[nodiscard]] std::string header(std::size_t file) const {
    try {
      const NiftiFile nifti(path(file));
      const auto [x, y, z] = nifti.spacing();
      return nlohmann::json{nifti.shape()[static_cast<std::size_t>(options_.slice_axis())], nifti.volumes(),
                            fmt::format("{:.4g} x {:.4g} x {:.4g}", x, y, z)}
          .dump();
    } catch (const DataError&) {
      if (!options_.common.skips_damaged()) throw;
    }
    return "null";
  }

  /// `has_facts`: facts are kept here.
  void add(std::size_t file, const nlohmann::json& header, bool has_facts) {
    if (header.is_null()) return source.left_out.add("NIfTI files that cannot be read", paths_[file]);
    if (has_facts) {
      facts_[file] = facts_of_path(paths_[file]);
      facts_[file]["spacing"] = header[2].get<std::string>();
    }
    const auto slices = header[0].get<std::int64_t>(), volumes = header[1].get<std::int64_t>();
    for (std::int64_t volume = 0; volume < volumes; ++volume) {
      const std::string id = paths_[file] + (volumes > 1 ? fmt::format("_t{:04}", volume) : "");
      if (options_.volumes) {
        source.ids.push_back(id);
        slices_.push_back({file, kAllSlices, volume});
        continue;
      }
      for (std::int64_t slice = 0; slice < slices; ++slice) {
        source.ids.push_back(fmt::format("{}_s{:04}", id, slice));
        slices_.push_back({file, slice, volume});
      }
    }
  }

  void add_fields() {
    const int axis = options_.slice_axis();
    for (const std::string& text : options_.fields.of(data::FieldKind::mask)) {
      const auto [folder, name] = folder_and_name(text);
      if (!std::filesystem::is_directory(folder))
        throw DataError({"there is no such folder", folder.string(), "check the path"});
      source.fields.push_back(nifti_masks({name,
                                           data::FieldKind::mask,
                                           data::ValueType::u8,
                                           {},
                                           options_.fields.codec_of(name),
                                           "",
                                           options_.common.classes_of(name, 1)},
                                          options_.fields.mask_values_of(name), folder, axis, paths_,
                                          slices_));
    }
    if (!options_.volumes) return;
    std::vector<std::filesystem::path> files;
    for (const NiftiSlice& slice : slices_) files.push_back(path(slice.file));
    for (FieldSource& field : nifti_places(files, axis)) source.fields.push_back(std::move(field));
  }

  [[nodiscard]] Categories fact(const std::string& name, const std::string& option) const {
    std::vector<std::string> known{"time"};
    if (!options_.volumes) known.emplace_back("slice");
    for (const auto& [file, facts] : facts_) {
      for (const auto& [key, value] : facts) known.push_back(key);
    }
    std::sort(known.begin(), known.end());
    known.erase(std::unique(known.begin(), known.end()), known.end());
    check_fact(name, known, option);
    return {std::ssize(slices_),
            [this, name](std::int64_t i) { return fact_of(slices_[static_cast<std::size_t>(i)], name); }};
  }

  [[nodiscard]] std::string fact_of(const NiftiSlice& slice, const std::string& name) const {
    if (name == "slice") return std::to_string(slice.index);
    if (name == "time") return std::to_string(slice.volume);
    const auto& facts = facts_.at(slice.file);
    const auto found = facts.find(name);
    return found == facts.end() ? "" : found->second;
  }

  [[nodiscard]] Image read(const NiftiSlice& slice) {
    if (!open_ || slice.file != open_file_) open_.emplace(path(slice.file));
    open_file_ = slice.file;
    return read_slice(*open_, options_.slice_axis(), slice);
  }

  const NiftiOptions& options_;
  std::vector<std::string> paths_;
  std::map<std::size_t, std::map<std::string, std::string>> facts_;  // by file, on the first rank
  std::vector<NiftiSlice> slices_;
  std::optional<NiftiFile> open_;
  std::size_t open_file_ = 0;
};

ExitCode convert_volumes(const NiftiOptions& options, comm::Communicator& ranks) {
  NiftiFiles files(options, ranks);
  return convert(files.source, options.common, ranks);
}

}  // namespace

void add_convert_nifti(CLI::App& convert, Action& action) {
  auto options = std::make_shared<NiftiOptions>();
  CLI::App& command = add_command(
      convert,
      {"nifti",
       "NIfTI volumes, or slices of them, turned to RAS",
       {"cohort-data convert nifti study --context subject --table participants.tsv --by subject --key "
        "participant --label diagnosis --resize 128 --fit pad --out data/study",
        "cohort-data convert nifti imagesTr --volumes --mask labelsTr --resize 96x192x192 --out data/organs"},
       endings_on_ranks(),
       "Facts are what BIDS names say (subject, session, other entities by their keys, suffix), folder, "
       "file, "
       "spacing, slice and time. Images are f32; left is left, and front or top is up. Volumes have the "
       "fields spacing and affine."});
  command.add_option("root", options->root, "the folder with .nii and .nii.gz files")
      ->required()
      ->type_name("FOLDER");
  command.add_option("--axis", options->axis, "how slices lie")
      ->check(CLI::IsMember({"axial", "coronal", "sagittal"}))
      ->capture_default_str();
  command.add_flag("--volumes", options->volumes, "whole volumes, [1, D, H, W], instead of their slices");
  options->facts.add_to(command, "fact");
  options->fields.add_masks_to(command);
  finish_convert<NiftiOptions>(command, action, options, convert_volumes);
}

}  // namespace cohort::data_prep
