// The disks of the run and of the dataset: there, with room, fast enough.
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <numeric>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/file.h"
#include "cohort/core/text.h"
#include "cohort/data/dataset.h"
#include "cohort/data/shard_reader.h"

#include "check.h"

namespace cohort::jobs::doctor {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kLeastSpace = kGiB, kLittleSpace = 20 * kGiB;
constexpr std::size_t kWritten = 64 * kMiB;
constexpr double kSlowMegabytes = 50.0;  // a second

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// MB/s.
double rate(std::uint64_t bytes, double seconds) {
  return static_cast<double>(bytes) / 1e6 / std::max(seconds, 1e-9);
}

[[noreturn]] void refuse(const std::string& what, const fs::path& path, int error) {
  const std::string text = fmt::format("{}: {}", what, std::strerror(error));
  throw DataError({text, path.string(), disk_remedy(error)});
}

/// Removed with its descriptor.
struct ScratchFile {
  explicit ScratchFile(const fs::path& name)
      : path(name), descriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {
    if (!descriptor) refuse("cannot create a file", path, errno);
  }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  ~ScratchFile() { ::unlink(path.c_str()); }

  fs::path path;
  FileDescriptor descriptor;
};

/// Bytes that no disk can compress away.
std::vector<std::uint64_t> noise(std::size_t bytes) {
  std::vector<std::uint64_t> values(bytes / sizeof(std::uint64_t));
  std::uint64_t state = 0x9e3779b97f4a7c15U;
  for (std::uint64_t& value : values) {
    state ^= state << 13U, state ^= state >> 7U, state ^= state << 17U;
    value = state;
  }
  return values;
}

void write_whole(const ScratchFile& file, std::span<const std::byte> bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count =
        ::pwrite(file.descriptor.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (count < 0) refuse("cannot write a file", file.path, errno);
    done += static_cast<std::size_t>(count);
  }
  if (::fsync(file.descriptor.get()) != 0) refuse("cannot sync a file", file.path, errno);
}

void read_whole(const ScratchFile& file, std::span<std::byte> bytes) {
  ::posix_fadvise(file.descriptor.get(), 0, 0, POSIX_FADV_DONTNEED);  // from the disk, not from memory
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count =
        ::pread(file.descriptor.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (count <= 0) refuse("cannot read a file back", file.path, count < 0 ? errno : EIO);
    done += static_cast<std::size_t>(count);
  }
}

Finding speed(double write, double read) {
  const std::string what = fmt::format("{} with fsync: {:.0f} MB/s written, {:.0f} MB/s read",
                                       format_bytes(kWritten), write, read);
  if (std::min(write, read) >= kSlowMegabytes) return {Status::ok, what, ""};
  return {Status::warn, what,
          "put the run on a faster file system (run_dir), or save less often (checkpoint.every_steps)"};
}

/// Every shard of the dataset has the bytes that dataset.json says. All that are not as they should be, in
/// one text.
void check_shards(const data::Description& description, const fs::path& folder) {
  std::vector<std::string> wrong;
  for (const data::Split& split : description.splits) {
    for (const data::ShardEntry& shard : split.shards) {
      std::error_code error;
      const auto bytes = fs::file_size(folder / shard.file, error);
      if (error) {
        wrong.push_back(fmt::format("{}: {}", shard.file, error.message()));
      } else if (bytes != shard.bytes) {
        wrong.push_back(fmt::format("{} has {} bytes instead of {}", shard.file, bytes, shard.bytes));
      }
    }
  }
  if (wrong.empty()) return;
  constexpr std::size_t kShown = 4;
  std::string text = join(std::span(wrong).first(std::min(kShown, wrong.size())), "; ");
  if (wrong.size() > kShown) text += fmt::format("; and {} more", wrong.size() - kShown);
  throw DataError({text, folder.string(),
                   "cohort-data verify lists all damage; restore the files or convert the images again"});
}

/// MB/s of reading rows with their checksums, from `first` on and every `step`-th, so that hosts read
/// different ones.
double read_rows(const data::Dataset& dataset, std::int64_t first, std::int64_t step) {
  std::vector<std::byte> image(static_cast<std::size_t>(dataset.description().images.bytes()));
  std::uint64_t bytes = 0;
  const auto begin = Clock::now();
  for (std::int64_t row = first; row < dataset.rows() && bytes < kWritten; row += step) {
    dataset.read(row, image);
    bytes += image.size();
  }
  return rate(bytes, seconds_since(begin));
}

}  // namespace

Finding check_run_folder(Cluster& cluster) {
  if (cluster.scratch.empty()) {
    return {Status::fail, "no file can be made in or above " + cluster.run_dir.string(),
            "choose a folder that every host sees and may write into (--run-dir)"};
  }
  const fs::path mark = cluster.scratch / "mark";
  comm::together(cluster.ranks, [&] {
    if (cluster.ranks.rank() == 0) write_file_atomically(mark, "seen");
  });
  std::error_code error;
  const bool seen = fs::exists(mark, error);
  cluster.ranks.barrier();
  if (seen)
    return {Status::ok, fmt::format("{}: every rank sees it", cluster.scratch.parent_path().string()), ""};
  return {Status::fail,
          fmt::format("a file of rank 0 in {} is not seen", cluster.scratch.parent_path().string()),
          "choose a folder on a file system that all hosts share"};
}

Finding check_space(Cluster& cluster) {
  const fs::path& where = cluster.scratch.empty() ? cluster.run_dir : cluster.scratch;
  struct statvfs disk {};
  if (statvfs(where.c_str(), &disk) != 0) refuse("the space cannot be asked for", where, errno);
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  const std::string what = fmt::format("{} free for the run", format_bytes(free));
  const char* fix =
      "free some space or choose another folder (run_dir); a checkpoint takes 16 bytes a parameter and more";
  if (disk.f_files > 0 && disk.f_favail < 1000)
    return {Status::fail, fmt::format("room for {} more files", disk.f_favail),
            "remove files, or ask for a larger quota"};
  return {free < kLeastSpace    ? Status::fail
          : free < kLittleSpace ? Status::warn
                                : Status::ok,
          what, free < kLittleSpace ? fix : ""};
}

Finding check_disk_speed(Cluster& cluster) {
  if (!cluster.leads()) return {};
  if (cluster.scratch.empty()) return {Status::fail, "there is nowhere to write", "see 'run folder'"};
  const ScratchFile file(cluster.scratch / fmt::format("speed-{}", cluster.ranks.rank()));
  const std::vector<std::uint64_t> written = noise(kWritten);
  auto begin = Clock::now();
  write_whole(file, std::as_bytes(std::span(written)));
  const double write = rate(kWritten, seconds_since(begin));
  std::vector<std::uint64_t> read(written.size());
  begin = Clock::now();
  read_whole(file, std::as_writable_bytes(std::span(read)));
  if (read != written)
    return {Status::fail, "what was read back is not what was written",
            "do not use this disk; ask who runs it"};
  return speed(write, rate(kWritten, seconds_since(begin)));
}

Finding check_dataset(Cluster& cluster) {
  if (cluster.data.empty()) return {Status::ok, "none was named (--data)", ""};
  if (!cluster.leads()) return {};
  const auto description = data::Description::read(cluster.data);
  check_shards(description, cluster.data);
  const data::Dataset dataset = data::Dataset::open(cluster.data, description.splits.front().name);
  const double read = read_rows(dataset, cluster.ranks.rank(), cluster.ranks.size());
  std::int64_t rows = 0;
  for (const data::Split& split : description.splits) rows += split.rows();
  return {Status::ok,
          fmt::format("{}: {} images, all shards there; rows read at {:.0f} MB/s", description.name,
                      format_count(rows), read),
          ""};
}

}  // namespace cohort::jobs::doctor
