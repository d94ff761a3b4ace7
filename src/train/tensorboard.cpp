#include "train/tensorboard.h"

#include <bit>
#include <chrono>
#include <cstring>
#include <system_error>
#include <unistd.h>

#include <boost/crc.hpp>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/host.h"
#include "cohort/core/lines.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "records are written as memory has them");

constexpr std::string_view kPrefix = "events.out.tfevents.";

/// As TFRecord keeps checksums.
std::uint32_t masked(std::uint32_t crc) {
  return std::rotr(crc, 15) + 0xA282EAD8U;
}

template <class Value>
std::string bytes_of(Value value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::uint32_t crc_of(const std::string& bytes) {
  return masked(crc32c(std::as_bytes(std::span(bytes))));
}

std::string record(const std::string& data) {
  const std::string length = bytes_of<std::uint64_t>(data.size());
  return length + bytes_of(crc_of(length)) + data + bytes_of(crc_of(data));
}

// Fields of protocol buffers: number and wire type, then the value.
enum class Wire : std::uint8_t { varint = 0, eight_bytes = 1, counted = 2, four_bytes = 5 };

std::string tag(unsigned field, Wire wire) {
  return {static_cast<char>(field << 3U | static_cast<unsigned>(wire))};
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80U; value >>= 7U) bytes += static_cast<char>(value | 0x80U);
  return bytes + static_cast<char>(value);
}

std::string counted(unsigned field, const std::string& content) {
  return tag(field, Wire::counted) + varint(content.size()) + content;
}

/// Event { wall_time = 1, step = 2 } and what follows.
std::string event(double time, std::int64_t step, const std::string& rest) {
  return tag(1, Wire::eight_bytes) + bytes_of(time) + tag(2, Wire::varint) +
         varint(static_cast<std::uint64_t>(step)) + rest;
}

/// Summary.Value { tag = 1, simple_value = 2 }
std::string scalar(const std::string& name, double value) {
  return counted(1, counted(1, name) + tag(2, Wire::four_bytes) + bytes_of(static_cast<float>(value)));
}

/// What the names of a line's scalars begin with; empty: it has none.
std::string group_of(const Json& line) {
  const std::string kind = line.value("kind", "");
  if (kind == "step") return "train/";
  if (kind == "features") return "features/";
  if (kind != "evaluation") return "";
  const std::string classifier = line.value("classifier", "");
  return line.value("split", "") + (classifier.empty() ? "" : ", " + classifier) + "/";
}

std::string summary_of(const Json& line) {
  const std::string group = group_of(line);
  std::string values;
  if (group.empty()) return values;
  for (const auto& [key, value] : line.items()) {
    if (value.is_number() && key != "step") values += scalar(group + key, value.get<double>());
  }
  return values;
}

double wall_clock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void remove_others(const fs::path& folder, const fs::path& kept) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path() != kept && entry.path().filename().string().starts_with(kPrefix))
      fs::remove(entry.path(), ignored);
  }
}

}  // namespace

TensorBoard::TensorBoard(const fs::path& folder, const fs::path& metrics, double seconds) {
  refuse_no_folder(folder);
  make_writable_folder(folder);
  const double start = wall_clock();
  file_ = folder / fmt::format("{}{:.6f}.{}.{}", kPrefix, start, host_name(), getpid());
  stream_.open(file_, std::ios::binary);
  constexpr unsigned kFileVersion = 3, kSessionLog = 7, kStatus = 1;
  stream_ << record(event(start, 0, counted(kFileVersion, "brain.Event:2")))
          // A session that starts: readers of the earlier file drop what they have.
          << record(event(start, 0, counted(kSessionLog, tag(kStatus, Wire::varint) + varint(1))));
  double left = seconds;
  std::error_code ignored;
  if (fs::exists(metrics, ignored)) {
    LineReader lines(metrics, Links::refuse);
    for (std::string_view text; lines.next(text) && lines.has_end();) {
      const Json line = Json::parse(text, nullptr, false);
      if (!line.is_object()) continue;
      if (line.value("kind", "") == "step") left -= line.value("seconds", 0.0);
      add(line, start - left);
    }
  }
  flush();
  remove_others(folder, file_);
}

void TensorBoard::write(const std::string& line) {
  add(Json::parse(line), wall_clock());
  flush();
}

void TensorBoard::add(const Json& line, double time) {
  const std::string values = summary_of(line);
  constexpr unsigned kSummary = 5;
  if (!values.empty())
    stream_ << record(event(time, line.value("step", std::int64_t{0}), counted(kSummary, values)));
}

void TensorBoard::flush() {
  stream_.flush();
  if (!stream_)
    throw DataError({"cannot write the events for TensorBoard", file_.string(),
                     disk_remedy(errno, "set train.tensorboard=false")});
}

std::uint32_t crc32c(std::span<const std::byte> bytes) noexcept {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

}  // namespace cohort::train
