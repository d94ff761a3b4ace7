#include "scale_inputs.h"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <sstream>
#include <string>
#include <vector>

#include <boost/crc.hpp>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/random.h"
#include "cohort/core/text.h"

namespace cohort::perf {
namespace {

constexpr std::int64_t kSide = 8, kPixels = kSide * kSide, kFiles = 64, kScaleClasses = 2, kHeldOut = 512;

/// A file that is written piece by piece.
class Pieces {
 public:
  explicit Pieces(std::filesystem::path file) : file_(std::move(file)) {
    std::filesystem::remove(file_);
    descriptor_ = open_to_append(file_);
  }
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;
  void add(std::string_view text) {
    text_ += text;
    written_ += text.size();
    if (text_.size() > kBlock) flush();
  }
  void flush() {
    write_all(descriptor_, std::as_bytes(std::span(text_)), file_);
    text_.clear();
  }
  [[nodiscard]] std::size_t written() const { return written_; }

 private:
  static constexpr std::size_t kBlock = std::size_t{1} << 20;
  std::filesystem::path file_;
  FileDescriptor descriptor_;
  std::string text_;
  std::size_t written_ = 0;
};

std::string pixels(std::int64_t index) {
  RandomStream random({.seed = 1, .purpose = Purpose::synthetic, .sample = index});
  std::string image(kPixels, '\0');
  for (char& value : image) value = static_cast<char>(random.below(256));
  return image;
}

/// numpy.lib.format, version 1.0.
std::string npy_header(const std::string& type, const std::string& shape) {
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, shape);
  constexpr std::size_t kBefore = 10, kStep = 64;
  text.resize((kBefore + text.size() + 1 + kStep - 1) / kStep * kStep - kBefore - 1, ' ');
  text += '\n';
  const std::size_t length = text.size();
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(length & 0xff) +
         static_cast<char>(length >> 8U) + text;
}

template <class Number>
std::string little_endian(Number value) {
  std::string text;
  for (std::size_t i = 0; i < sizeof(Number); ++i)
    text += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xff);
  return text;
}

/// A zip archive of files that are stored as they are (APPNOTE 6.3.9, 4.3.7 and 4.3.12), below 4 GiB.
class Archive {
 public:
  explicit Archive(const std::filesystem::path& file) : file_(file) {}

  /// `value(i)`: the bytes of entry i behind the header.
  template <class Value>
  void add(const std::string& name, const std::string& header, std::int64_t count, const Value& value) {
    boost::crc_32_type sum;
    std::size_t bytes = header.size();
    sum.process_bytes(header.data(), header.size());
    for (std::int64_t i = 0; i < count; ++i) {
      const std::string text = value(i);
      sum.process_bytes(text.data(), text.size());
      bytes += text.size();
    }
    const std::string facts =
        little_endian<std::uint32_t>(0) + little_endian<std::uint32_t>(0) +
        little_endian(static_cast<std::uint32_t>(sum.checksum())) +
        little_endian(static_cast<std::uint32_t>(bytes)) + little_endian(static_cast<std::uint32_t>(bytes)) +
        little_endian(static_cast<std::uint16_t>(name.size())) + little_endian<std::uint16_t>(0);
    const auto offset = static_cast<std::uint32_t>(file_.written());
    file_.add("PK\x03\x04" + little_endian<std::uint16_t>(20) + facts + name + header);
    for (std::int64_t i = 0; i < count; ++i) file_.add(value(i));
    directory_ += "PK\x01\x02" + little_endian<std::uint16_t>(20) + little_endian<std::uint16_t>(20) + facts +
                  std::string(10, '\0') + little_endian(offset) + name;
    ++entries_;
  }

  void finish() {
    const auto offset = static_cast<std::uint32_t>(file_.written());
    file_.add(directory_);
    file_.add("PK\x05\x06" + little_endian<std::uint32_t>(0) + little_endian(entries_) +
              little_endian(entries_) + little_endian(static_cast<std::uint32_t>(directory_.size())) +
              little_endian(offset) + little_endian<std::uint16_t>(0));
    file_.flush();
  }

 private:
  Pieces file_;
  std::string directory_;
  std::uint16_t entries_ = 0;
};

}  // namespace

void write_manifest(const std::filesystem::path& folder, std::int64_t rows) {
  make_writable_folder(folder / "images");
  for (std::int64_t i = 0; i < kFiles; ++i)
    write_file_atomically(folder / fmt::format("images/{:02}.npy", i),
                          npy_header("|u1", fmt::format("{}, {}", kSide, kSide)) + pixels(i));
  Pieces table(folder / "images.csv");
  table.add("id,path,class,context,split\n");
  for (std::int64_t i = 0; i < rows; ++i) {
    table.add(fmt::format("image_{:09},images/{:02}.npy,class_{},context_{:03},{}\n", i, i % kFiles,
                          i % kScaleClasses, i % kScaleContexts, i < kHeldOut ? "val" : "train"));
  }
  table.flush();
}

void write_npz(const std::filesystem::path& file, std::int64_t rows) {
  constexpr std::int64_t kOfRow = kPixels + 1 + 4, kOther = 4096;
  if (rows > (std::int64_t{UINT32_MAX} - kOther) / kOfRow)
    throw UsageError({fmt::format("an archive of {} rows takes more than 4 GiB, which is not written", rows),
                      "--rows", "give fewer rows, or other --commands than 'convert npz'"});
  Archive archive(file);
  archive.add("x.npy", npy_header("|u1", fmt::format("{}, {}, {}", rows, kSide, kSide)), rows, pixels);
  archive.add("class.npy", npy_header("|u1", fmt::format("{},", rows)), rows,
              [](std::int64_t i) { return std::string(1, static_cast<char>(i % kScaleClasses)); });
  archive.add("context.npy", npy_header("<i4", fmt::format("{},", rows)), rows,
              [](std::int64_t i) { return little_endian(static_cast<std::int32_t>(i % kScaleContexts)); });
  archive.finish();
}

void lengthen_metrics(const std::filesystem::path& run, const std::filesystem::path& copy,
                      std::int64_t lines) {
  std::filesystem::remove_all(copy);
  make_writable_folder(copy.parent_path());
  std::filesystem::copy(run, copy, std::filesystem::copy_options::recursive);
  std::vector<std::string> known;
  std::istringstream before(read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(before, line);) {
    if (line.find("\"grad_norm\"") != std::string::npos) known.push_back(line);
  }
  if (known.empty())
    throw DataError({"the run has no line of metrics", run.string(), "run the command by itself"});
  Pieces metrics(copy / "metrics.jsonl");
  const std::string& line = known.back();
  const std::size_t at = line.find("\"step\":") + std::string_view("\"step\":").size(),
                    end = line.find_first_of(",}", at);
  for (std::int64_t step = 1; step <= lines; ++step)
    metrics.add(fmt::format("{}{}{}\n", line.substr(0, at), step, line.substr(end)));
  metrics.flush();
}

void write_run_config(const std::filesystem::path& file, const std::filesystem::path& dataset,
                      const std::filesystem::path& run) {
  write_file_atomically(
      file, fmt::format("run_dir: {}\ndata:\n  path: {}\n  train_split: train\ncontext:\n  keys: [context]\n"
                        "model:\n  name: vit_tiny\n  patch_size: {}\n  width: 16\n  depth: 1\n  heads: 1\n"
                        "sampler:\n  groups_per_step: 12\n  images_per_group: 4\n"
                        "train:\n  max_steps: 2\n  log_every_steps: 1\neval:\n  splits: [val]\n",
                        run.string(), dataset.string(), kSide));
}

}  // namespace cohort::perf
