// cohort-data export: a dataset as files again.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <unistd.h>
#include <unordered_map>

#include <fmt/format.h>

#include "cohort/core/count_progress.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/printable.h"
#include "cohort/core/text.h"
#include "cohort/data/dataset.h"
#include "cohort/data/image_codec.h"

#include "data_prep/export_fields.h"
#include "data_prep/options.h"
#include "data_prep/table.h"

namespace cohort::data_prep {
namespace {

struct ExportOptions {
  std::filesystem::path dataset, out;
  std::vector<std::string> splits;
  std::string format;
  bool quotes_formulas = false;
};

/// "png" where a viewer knows what the channels are, else "npy".
std::string format_of(const ExportOptions& options, const data::ImageLayout& layout) {
  const bool viewable = layout.type != data::PixelType::f32 && !layout.is_volume() &&
                        (layout.channels == 1 || layout.channels == 3);
  if (options.format.empty()) return viewable ? "png" : "npy";
  if (options.format == "npy" || viewable) return options.format;
  if (layout.is_volume())
    throw UsageError({fmt::format("png files hold images, not volumes of depth {}", layout.depth), "--format",
                      "--format npy"});
  throw UsageError({fmt::format("png files hold u8 or u16 images of 1 or 3 channels, not {} of type {}",
                                layout.channels, data::pixel_type_name(layout.type)),
                    "--format", "--format npy"});
}

/// Below the folder of the split; ids may hold slashes. Throws DataError for one that would leave the folder.
std::filesystem::path file_of(const std::string& split, const std::string& id, const std::string& format) {
  const std::filesystem::path path(id);
  bool inside = path.is_relative() && path.has_filename();
  for (const auto& part : path) inside = inside && part != ".." && part != ".";
  if (!inside) {
    throw DataError({fmt::format("the id '{}' cannot be the name of a file", id), "the dataset",
                     "convert the images again with other ids"});
  }
  const std::string ending = "." + format;
  return std::filesystem::path(split) / (path.extension() == ending ? id : id + ending);
}

/// Of a row of a field, among the files of that field.
std::filesystem::path field_file(const data::Field& field, const std::string& split, const std::string& id) {
  return std::filesystem::path("fields") / field.name / file_of(split, id, file_format_of(field));
}

std::string text_of(std::span<const std::byte> bytes) {
  const void* start = bytes.data();
  return {static_cast<const char*>(start), bytes.size()};
}

std::string content_of(const std::string& format, const data::ImageLayout& layout,
                       std::span<const std::byte> image) {
  if (format == "npy") {
    const char* type = layout.type == data::PixelType::u8 ? "|u1" : "<u2";
    if (layout.type == data::PixelType::f32) type = "<f4";
    return npy_file(type, layout.sizes(), image);
  }
  return text_of(data::encode_image(data::Codec::png, layout, 0, image));
}

[[noreturn]] void refuse_image(const std::filesystem::path& path) {
  throw DataError({fmt::format("the image cannot be written: {}", std::strerror(errno)), path.string(),
                   disk_remedy(errno)});
}

/// A new file, without waiting for the disk as write_file_atomically() would. On a disk that takes capital
/// and small letters for the same, two images may meet.
void write_image(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::create_directories(path.parent_path());
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file && errno == EEXIST) {
    throw DataError(
        {"the image cannot be written: there is a file of this name, but for capital and small letters",
         path.string(), "export to a disk that tells them apart"});
  }
  for (std::size_t done = 0; file && done < content.size();) {
    const ssize_t count = ::write(file.get(), content.data() + done, content.size() - done);
    if (count < 0 && errno != EINTR) refuse_image(path);
    done += static_cast<std::size_t>(std::max<ssize_t>(0, count));
  }
  if (!file) refuse_image(path);
}

/// Of one row. Throws DataError for values that verify would not let pass: they cannot be written down.
std::vector<std::byte> checked_values(const data::Dataset& dataset, const data::Field& field,
                                      std::int64_t row) {
  std::vector<std::byte> values;
  dataset.read_field(row, field.name, values);
  const std::string problem = data::problem_of_values(field, values);
  if (problem.empty()) return values;
  throw DataError({fmt::format("field '{}' of image '{}' {}", field.name, dataset.id(row), problem),
                   dataset.description().name, "convert the dataset again"});
}

/// images.csv, line by line.
class ImageTable {
 public:
  ImageTable(const data::Description& description, std::string format, bool quotes_formulas)
      : format_(std::move(format)), quotes_formulas_(quotes_formulas) {
    text = "path,id,split";
    for (const auto& label : description.labels) text += "," + cell(label.name);
    for (const auto& context : description.contexts) text += "," + cell(context.name);
    add_field_columns(description);
    text += "\n";
  }

  /// A line for each image of a split. Throws DataError for two images that would be one file.
  void add(const data::Dataset& dataset) {
    const data::Description& description = dataset.description();
    const std::vector<std::string>& ids = dataset.ids();
    std::unordered_map<std::string, std::size_t> row_of;
    for (std::size_t row = 0; row < ids.size(); ++row) {
      const std::string file = file_of(dataset.split(), ids[row], format_).string();
      if (const auto [first, is_new] = row_of.emplace(file, row); !is_new) {
        throw DataError({fmt::format("two images would be the file '{}'", file),
                         fmt::format("ids '{}' and '{}'", ids[first->second], ids[row]),
                         "convert the images again with other ids, or choose another --format"});
      }
      text += fmt::format("{},{},{}", cell(file), cell(ids[row]), cell(dataset.split()));
      const auto add_name = [&](std::int32_t index, const std::vector<std::string>& names) {
        text += "," + (index < 0 ? "" : cell(names[static_cast<std::size_t>(index)]));
      };
      for (const auto& label : description.labels) add_name(dataset.labels(label.name)[row], label.classes);
      for (const auto& context : description.contexts)
        add_name(dataset.contexts(context.name)[row], context.values);
      for (const data::Field& field : description.fields)
        add_field(dataset, field, static_cast<std::int64_t>(row));
      text += "\n";
    }
  }

  std::string text;
  std::int64_t formulas = 0;  ///< cells that a spreadsheet computes

 private:
  void add_field_columns(const data::Description& description) {
    std::set<std::string> taken{"path", "id", "split"};
    for (const auto& label : description.labels) taken.insert(label.name);
    for (const auto& context : description.contexts) taken.insert(context.name);
    for (const data::Field& field : description.fields) {
      for (const std::string& column : field_columns(field, taken)) text += "," + cell(column);
    }
  }

  void add_field(const data::Dataset& dataset, const data::Field& field, std::int64_t row) {
    if (is_exported_as_files(field)) {
      const std::string& id = dataset.ids()[static_cast<std::size_t>(row)];
      text += "," + cell(field_file(field, dataset.split(), id).string());
      return;
    }
    const std::vector<std::byte> values = checked_values(dataset, field, row);
    for (const std::string& value : field_cells(field, values)) text += "," + cell(value);
  }

  std::string cell(const std::string& value) {
    if (!is_formula(value)) return quoted_cell(value);
    ++formulas;
    return quoted_cell(quotes_formulas_ ? "'" + value : value);
  }

  std::string format_;
  bool quotes_formulas_;
};

class Files {
 public:
  Files(const ExportOptions& options, std::string format, comm::Communicator& ranks)
      : options_(options), format_(std::move(format)), ranks_(ranks) {}

  /// The images of this rank.
  void write(const data::Dataset& dataset) {
    const data::ImageLayout& layout = dataset.description().images;
    std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
    const std::int64_t rows = dataset.rows(), step = ranks_.size();
    CountProgress progress("exporting " + dataset.split(), rows, ranks_.size());
    for (std::int64_t row = ranks_.rank(); row < rows; row += step) {
      dataset.read(row, image);
      const std::filesystem::path file = options_.out / file_of(dataset.split(), dataset.id(row), format_);
      write_image(file, content_of(format_, layout, image));
      write_fields(dataset, row);
      if (ranks_.rank() == 0) progress.show(row / step + 1, (rows + step - 1) / step);
    }
  }

 private:
  void write_fields(const data::Dataset& dataset, std::int64_t row) const {
    std::vector<std::byte> values;
    for (const data::Field& field : dataset.description().fields) {
      if (!is_exported_as_files(field)) continue;
      values = checked_values(dataset, field, row);
      write_image(options_.out / field_file(field, dataset.split(), dataset.id(row)),
                  file_content(field, values));
    }
  }

  const ExportOptions& options_;
  std::string format_;
  comm::Communicator& ranks_;
};

void prepare_target(const std::filesystem::path& out) {
  make_writable_folder(out);
  if (std::filesystem::is_empty(out)) return;
  throw UsageError({"the folder is not empty", out.string(), "export to a new folder"});
}

/// Only rank 0 needs labels, for the table.
std::vector<std::string> no_labels(const data::Description&) {
  return {};
}

ExitCode run(const ExportOptions& options, comm::Communicator& ranks) {
  std::string format;
  std::optional<ImageTable> table;
  std::vector<data::Dataset> splits;
  std::int64_t images = 0;
  const data::Description description = data::Description::read(options.dataset, ranks);
  comm::together(ranks, [&] {
    format = format_of(options, description.images);
    for (const std::string& name : options.splits) static_cast<void>(description.split(name));
  });
  for (const data::Split& split : description.splits) {
    const bool wanted = options.splits.empty() || std::find(options.splits.begin(), options.splits.end(),
                                                            split.name) != options.splits.end();
    if (wanted) splits.push_back(data::Dataset::open(options.dataset, split.name, no_labels, ranks));
  }
  for (const data::Dataset& split : splits) images += split.rows();
  comm::together(ranks, [&] {
    if (ranks.rank() != 0) return;
    table.emplace(description, format, options.quotes_formulas);
    for (const data::Dataset& split : splits) table->add(split);
    prepare_target(options.out);
  });
  comm::together(ranks, [&] {
    Files files(options, format, ranks);
    for (const data::Dataset& split : splits) files.write(split);
  });
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) write_file_atomically(options.out / "images.csv", table->text);
  });
  if (ranks.rank() == 0)
    fmt::print("{} {} files and images.csv: {}\n", format_count(images), format,
               printable(options.out.string()));
  if (ranks.rank() == 0 && table->formulas > 0 && !options.quotes_formulas) {
    log_warning(
        fmt::format("{} cells of images.csv begin with = + - or @, which spreadsheets compute: "
                    "--quote-formulas writes ' before them",
                    format_count(table->formulas)));
  }
  return ExitCode::done;
}

}  // namespace

void add_export(CLI::App& program, Action& action) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App& command = add_command(
      program,
      {"export",
       "Write the images of a dataset as files, and images.csv",
       {"mpirun -n 4 cohort-data export data/elpv --out elpv-files"},
       endings_on_ranks(),
       "Masks and images of fields become files in the folder fields, other fields "
       "columns of images.csv. The way back: cohort-data convert manifest elpv-files/images.csv --id id "
       "--split split --label condition --context module --out data/elpv-again"});
  command.add_option("dataset", options->dataset, "the folder")->required()->type_name("DIR");
  command.add_option("--out", options->out, "new folder")->required()->type_name("DIR");
  command.add_option("--split", options->splits, "split to export; may be repeated; without it all")
      ->allow_extra_args(false);
  command
      .add_option(
          "--format", options->format,
          "png, or npy (C, H, W; of volumes C, D, H, W); without it png for u8 and u16 images of 1 or "
          "3 channels")
      ->check(CLI::IsMember({"png", "npy"}));
  command.add_flag(
      "--quote-formulas", options->quotes_formulas,
      "write ' before cells of images.csv that begin with = + - or @, which spreadsheets compute; "
      "names that are read from it have it as well");
  choose_on<ExportOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep
