// cohort-data export: a dataset as files again.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include <fmt/format.h>

#include "cohort/core/file.h"
#include "cohort/core/text.h"
#include "cohort/data/dataset.h"
#include "cohort/data/image_codec.h"

#include "data_prep/options.h"
#include "data_prep/progress.h"
#include "data_prep/table.h"

namespace cohort::data_prep {
namespace {

struct ExportOptions {
  std::filesystem::path dataset, out;
  std::vector<std::string> splits;
  std::string format;
};

/// "png" where a viewer knows what the channels are, else "npy".
std::string format_of(const ExportOptions& options, const data::ImageLayout& layout) {
  const bool viewable = layout.type != data::PixelType::f32 && (layout.channels == 1 || layout.channels == 3);
  if (options.format.empty()) return viewable ? "png" : "npy";
  if (options.format == "npy" || viewable) return options.format;
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

std::string text_of(std::span<const std::byte> bytes) {
  const void* start = bytes.data();
  return {static_cast<const char*>(start), bytes.size()};
}

/// A .npy file, version 1.0 (numpy.lib.format): a header padded to 64 bytes, then the values.
std::string npy(const data::ImageLayout& layout, std::span<const std::byte> image) {
  const char* type = layout.type == data::PixelType::u8 ? "|u1" : "<u2";
  if (layout.type == data::PixelType::f32) type = "<f4";
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}, {}, {}), }}", type,
                                   layout.channels, layout.height, layout.width);
  constexpr std::size_t kBefore = 10, kAlignment = 64;
  const std::size_t whole = (kBefore + header.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  header.resize(whole - kBefore - 1, ' ');
  header += '\n';
  std::string text = "\x93NUMPY";
  text += {'\x01', '\x00', static_cast<char>(header.size() & 0xFFU), static_cast<char>(header.size() >> 8U)};
  return text + header + text_of(image);
}

std::string content_of(const std::string& format, const data::ImageLayout& layout,
                       std::span<const std::byte> image) {
  if (format == "npy") return npy(layout, image);
  return text_of(data::encode_image(data::Codec::png, layout, 0, image));
}

/// Without waiting for the disk after each file, as write_file_atomically() would.
void write_image(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) {
    throw DataError({fmt::format("the image cannot be written: {}", std::strerror(errno)), path.string(),
                     disk_remedy(errno)});
  }
}

std::string heading(const data::Description& description) {
  std::string line = "path,id,split";
  for (const auto& label : description.labels) line += "," + quoted_cell(label.name);
  for (const auto& context : description.contexts) line += "," + quoted_cell(context.name);
  return line + "\n";
}

/// A line for each image of a split.
std::string lines_of(const data::Dataset& dataset, const std::string& format) {
  const data::Description& description = dataset.description();
  const std::vector<std::string>& ids = dataset.ids();
  std::string lines;
  for (std::size_t row = 0; row < ids.size(); ++row) {
    lines += fmt::format("{},{},{}", quoted_cell(file_of(dataset.split(), ids[row], format).string()),
                         quoted_cell(ids[row]), quoted_cell(dataset.split()));
    const auto add = [&](std::int32_t index, const std::vector<std::string>& names) {
      lines += "," + (index < 0 ? "" : quoted_cell(names[static_cast<std::size_t>(index)]));
    };
    for (const auto& label : description.labels) add(dataset.labels(label.name)[row], label.classes);
    for (const auto& context : description.contexts) add(dataset.contexts(context.name)[row], context.values);
    lines += "\n";
  }
  return lines;
}

class Files {
 public:
  Files(const ExportOptions& options, std::string format, comm::Communicator& ranks)
      : options_(options), format_(std::move(format)), ranks_(ranks), progress_(ranks.size()) {}

  /// The images of this rank.
  void write(const data::Dataset& dataset) {
    const data::ImageLayout& layout = dataset.description().images;
    std::vector<std::byte> image(static_cast<std::size_t>(layout.bytes()));
    const std::int64_t rows = dataset.rows(), step = ranks_.size();
    for (std::int64_t row = ranks_.rank(); row < rows; row += step) {
      dataset.read(row, image);
      const std::filesystem::path file = options_.out / file_of(dataset.split(), dataset.id(row), format_);
      write_image(file, content_of(format_, layout, image));
      if (ranks_.rank() == 0) progress_.show(row / step + 1, (rows + step - 1) / step);
    }
  }

 private:
  const ExportOptions& options_;
  std::string format_;
  comm::Communicator& ranks_;
  Progress progress_;
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
  std::string format, table;
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
    table = heading(description);
    for (const data::Dataset& split : splits) table += lines_of(split, format);
    prepare_target(options.out);
  });
  comm::together(ranks, [&] {
    Files files(options, format, ranks);
    for (const data::Dataset& split : splits) files.write(split);
  });
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) write_file_atomically(options.out / "images.csv", table);
  });
  if (ranks.rank() == 0)
    fmt::print("{} {} files and images.csv: {}\n", format_count(images), format, options.out.string());
  return ExitCode::done;
}

}  // namespace

void add_export(CLI::App& program, Action& action) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App& command =
      *program.add_subcommand("export", "write the images of a dataset as files, and images.csv");
  command.add_option("dataset", options->dataset, "the folder")->required()->type_name("DIR");
  command.add_option("--out", options->out, "new folder")->required()->type_name("DIR");
  command.add_option("--split", options->splits, "split to export; may be repeated; without it all")
      ->allow_extra_args(false);
  command
      .add_option("--format", options->format,
                  "png or npy (C, H, W); without it png for u8 and u16 images of 1 or 3 channels")
      ->check(CLI::IsMember({"png", "npy"}));
  command.footer(
      "Example, and the way back:\n"
      "  mpirun -n 4 cohort-data export data/elpv --out elpv-files\n"
      "  cohort-data convert manifest elpv-files/images.csv --id id --split split --label condition "
      "--context "
      "module --out data/elpv-again");
  choose_on<ExportOptions>(command, action, options, run);
}

}  // namespace cohort::data_prep
