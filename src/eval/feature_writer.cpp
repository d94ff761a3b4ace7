#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <optional>
#include <span>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <mpi.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/log.h"
#include "cohort/core/read_at.h"
#include "cohort/core/text.h"
#include "cohort/eval/feature_file.h"

#include "eval/column_file.h"
#include "eval/feature_layout.h"
#include "support/space.h"

namespace cohort::eval {

struct SharedFileTraits {
  using type = MPI_File;
  static type null() noexcept { return MPI_FILE_NULL; }
  static void close(type file) noexcept { MPI_File_close(&file); }
};
using SharedFile = Handle<SharedFileTraits>;

namespace {

using Bytes = std::span<const std::byte>;

constexpr std::int64_t kRows = 8192;                       // of a column, written together
constexpr std::size_t kPiece = std::size_t{16} << 20;      // of one transfer: MPI-IO counts bytes in an int
constexpr std::size_t kUnsynced = std::size_t{256} << 20;  // that a kill may cost
constexpr std::size_t kWaiting = std::size_t{16} << 20;    // in the page cache, before the disk begins
constexpr std::chrono::seconds kBetweenSyncs{1};

// MPI-IO does not hand the system's reason on; it prints it.
constexpr const char* kDiskFix =
    "the lines above may say why: free some space, check disk and network, or choose another --out";

void check_transfer(int result, const char* action, const std::filesystem::path& file) {
  if (result == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(result, text.data(), &length);
  throw DataError(
      {fmt::format("MPI-IO cannot {} the features: {}", action, text.data()), file.string(), kDiskFix});
}

[[noreturn]] void refuse_features(const char* action, const std::filesystem::path& file) {
  throw DataError(
      {fmt::format("cannot {}: {}", action, std::strerror(errno)), file.string(), disk_remedy(errno)});
}

[[noreturn]] void refuse_second_writer(const std::filesystem::path& partial) {
  throw UsageError({"another command writes these features", partial.string(),
                    "wait for its end, or choose another --out"});
}

/// The marks beside `partial`, which one command alone may have. Not the partial file itself: on NFS MPI-IO
/// locks parts of that. File systems without locks are left alone.
FileDescriptor locked_marks(const std::filesystem::path& marks, const std::filesystem::path& partial) {
  constexpr int kTries = 20;  // two seconds: whoever was killed may be about to end
  FileDescriptor file = open_to_append(marks);
  for (int i = 0; ::flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; ++i) {
    if (i == kTries) refuse_second_writer(partial);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  struct stat status {};
  const bool is_gone = ::fstat(file.get(), &status) == 0 && status.st_nlink == 0;
  if (is_gone) refuse_second_writer(partial);  // it has just finished
  return file;
}

std::filesystem::path folder_with(const std::filesystem::path& file) {
  return file.has_parent_path() ? file.parent_path() : ".";
}

void read_back(const FileDescriptor& from, std::uint64_t offset, std::span<std::byte> out,
               const std::filesystem::path& file) {
  if (read_at(from, offset, out) == out.size()) return;
  if (errno == 0) errno = EIO;  // it became shorter
  refuse_features("read the features back", file);
}

Bytes bytes_of(const at::Tensor& values) {
  return {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()};
}

/// Calls use(first, count) for blocks of rows that are this rank's.
template <class Use>
void for_own_blocks(std::int64_t rows, const comm::Communicator& ranks, const Use& use) {
  for (std::int64_t first = kRows * ranks.rank(); first < rows; first += kRows * ranks.size())
    use(first, std::min(kRows, rows - first));
}

}  // namespace

struct FeatureWriter::Impl {
  /// What was written since the last sync.
  struct Written {
    std::uint64_t offset, bytes, checksum;
  };

  Impl(std::filesystem::path where, std::int64_t count, comm::Communicator& all)
      : file(std::move(where)),
        partial(file.string() + ".partial"),
        marks(marks_beside(partial)),
        rows(count),
        ranks(all) {}

  std::filesystem::path file, partial, marks;
  std::int64_t rows;
  comm::Communicator& ranks;
  std::string done;     // [passes], '1': was there from the start
  FileDescriptor held;  // the marks, locked, by rank 0
  SharedFile shared;
  FileDescriptor own, mark_file;  // the partial file again, without MPI; the marks
  Place features, patches, logits;
  std::vector<Place> tokens;  // of each context key
  std::map<std::string, Place> answers;
  std::vector<Written> written;
  std::vector<std::int64_t> unmarked;
  std::int64_t marked = 0;  // passes, by this rank
  std::size_t unsynced = 0, waiting = 0;
  std::chrono::steady_clock::time_point last_sync = std::chrono::steady_clock::now();

  [[nodiscard]] std::string find_or_make(const data::Dataset& dataset, const FeatureContents& contents,
                                         std::size_t id_width);
  void make(const data::Dataset& dataset, const FeatureContents& contents, std::size_t id_width) const;
  void write_marks(const std::string& content) const;
  [[nodiscard]] std::string found_marks(const FeatureContents& contents) const;
  void open();
  void write_columns(const data::Description& description, data::ColumnReader& reader, std::size_t id_width);
  void put(std::uint64_t offset, Bytes bytes);
  void put_rows(const Place& place, const at::Tensor& rows_of, const at::Tensor& values);
  void sync();
};

/// Marks are the identity's checksum and a byte a pass. Empty: there is nothing to go on with.
std::string FeatureWriter::Impl::found_marks(const FeatureContents& contents) const {
  const std::string identity = checksum_text(checksum(std::as_bytes(std::span(contents.identity))));
  std::error_code error;
  if (!std::filesystem::exists(partial, error) || !std::filesystem::exists(marks, error)) return {};
  refuse_no_file(partial);
  const std::string content = read_file(marks, kMostRecords, Links::refuse);
  if (content.size() != identity.size() + static_cast<std::size_t>(contents.passes) ||
      !content.starts_with(identity))
    return {};
  return content;
}

void FeatureWriter::Impl::make(const data::Dataset& dataset, const FeatureContents& contents,
                               std::size_t id_width) const {
  try {
    write_marks("");  // those there are speak of another file
    {
      ColumnFile made(file);
      add_feature_layout(made, dataset, contents, id_width);
      made.write();
      made.leave();
    }
    reserve_space(partial, std::filesystem::file_size(partial), "the features", kDiskFix);
    const std::string identity = checksum_text(checksum(std::as_bytes(std::span(contents.identity))));
    write_marks(identity + std::string(static_cast<std::size_t>(contents.passes), '0'));
    sync_folder(folder_with(file));
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(partial, ignored);
    std::filesystem::remove(marks, ignored);
    throw;
  }
}

/// In place, since the file is locked: half of it has another size, and is not gone on with.
void FeatureWriter::Impl::write_marks(const std::string& content) const {
  if (::ftruncate(held.get(), 0) != 0) refuse_features("mark what is done", marks);
  write_all(held, std::as_bytes(std::span(content)), marks);
  sync_file(marks);
}

/// On rank 0. Returns the marks.
std::string FeatureWriter::Impl::find_or_make(const data::Dataset& dataset, const FeatureContents& contents,
                                              std::size_t id_width) {
  make_writable_folder(folder_with(file));
  held = locked_marks(marks, partial);
  if (std::string found = found_marks(contents); !found.empty()) return found;
  make(dataset, contents, id_width);
  return read_file(marks);
}

/// Collective. First without MPI: in MPI_File_open, ranks wait for one that cannot open the file.
void FeatureWriter::Impl::open() {
  comm::together(ranks, [&] {
    own = FileDescriptor(::open(partial.c_str(), O_RDWR | O_CLOEXEC));
    if (!own) refuse_features("open the features", partial);
    mark_file = FileDescriptor(::open(marks.c_str(), O_WRONLY | O_CLOEXEC));
    if (!mark_file) refuse_features("open the features", marks);
  });
  comm::together(ranks, [&] {
    check_transfer(MPI_File_open(MPI_Comm_f2c(ranks.mpi_handle()), partial.c_str(), MPI_MODE_RDWR,
                                 MPI_INFO_NULL, shared.out()),
                   "open", partial);
  });
}

void FeatureWriter::Impl::put(std::uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const Bytes piece = bytes.first(std::min(kPiece, bytes.size()));
    // Independent: Open MPI 4.1's collective transfers damage data (open-mpi/ompi#12718).
    check_transfer(MPI_File_write_at(shared.get(), static_cast<MPI_Offset>(offset), piece.data(),
                                     static_cast<int>(piece.size()), MPI_BYTE, MPI_STATUS_IGNORE),
                   "write", partial);
    written.push_back({offset, piece.size(), checksum(piece)});
    offset += piece.size();
    unsynced += piece.size();
    waiting += piece.size();
    bytes = bytes.subspan(piece.size());
  }
  if (unsynced >= kUnsynced) return sync();
  if (waiting < kWaiting) return;
  waiting = 0;
  ::sync_file_range(own.get(), 0, 0,
                    SYNC_FILE_RANGE_WRITE);  // a hint: the disk works while this rank goes on
}

/// `values` [n, …] of the rows `rows_of` [n], of which neighbours lie in one piece.
void FeatureWriter::Impl::put_rows(const Place& place, const at::Tensor& rows_of, const at::Tensor& values) {
  const auto* row = rows_of.const_data_ptr<std::int64_t>();
  const Bytes all = bytes_of(values);
  COHORT_CHECK(all.size() == place.row_bytes * static_cast<std::uint64_t>(rows_of.size(0)),
               "{} bytes of {} rows", all.size(), rows_of.size(0));
  for (std::int64_t begin = 0; begin < rows_of.size(0);) {
    std::int64_t end = begin + 1;
    while (end < rows_of.size(0) && row[end] == row[end - 1] + 1) ++end;
    put(place.offset + static_cast<std::uint64_t>(row[begin]) * place.row_bytes,
        all.subspan(static_cast<std::size_t>(begin) * place.row_bytes,
                    static_cast<std::size_t>(end - begin) * place.row_bytes));
    begin = end;
  }
}

/// The ids, labels and contexts of this rank's blocks.
void FeatureWriter::Impl::write_columns(const data::Description& description, data::ColumnReader& reader,
                                        std::size_t id_width) {
  std::vector<std::pair<Place, std::string>> columns;
  Place id;
  {
    const hdf5::Lock lock;
    const hdf5::File in = hdf5::open_file(partial);
    id = place_of(in.get(), partial, "id");
    for (const data::LabelColumn& column : description.labels)
      columns.emplace_back(place_of(in.get(), partial, "labels/" + column.name), column.name);
    for (const data::ContextColumn& column : description.contexts)
      columns.emplace_back(place_of(in.get(), partial, "context/" + column.name), column.name);
  }
  COHORT_CHECK(id.row_bytes == id_width, "ids of {} bytes in a file for {}", id_width, id.row_bytes);
  const auto labels = description.labels.size();
  for_own_blocks(rows, ranks, [&](std::int64_t first, std::int64_t count) {
    std::string texts(id_width * static_cast<std::size_t>(count), '\0');
    char* out = texts.data();
    for (const std::string& text : reader.ids(first, count)) {
      text.copy(out, id_width);
      out += id_width;
    }
    put(id.offset + static_cast<std::uint64_t>(first) * id_width, std::as_bytes(std::span(texts)));
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto& [place, name] = columns[i];
      const std::vector<std::int32_t> values =
          i < labels ? reader.labels(name, first, count) : reader.contexts(name, first, count);
      put(place.offset + static_cast<std::uint64_t>(first) * place.row_bytes,
          std::as_bytes(std::span(values)));
    }
  });
}

/// Puts on the disk what was written, reads it back, and marks its passes.
void FeatureWriter::Impl::sync() {
  if (::fdatasync(own.get()) != 0) refuse_features("sync the features", partial);
  std::vector<std::byte> values;
  for (const Written& piece : written) {
    values.resize(piece.bytes);
    read_back(own, piece.offset, values, partial);
    if (checksum(values) == piece.checksum) continue;
    throw DataError({"the disk gives back other features than were written", partial.string(),
                     "check disk and network; the same command goes on before the damage"});
  }
  constexpr std::int64_t kHead = 16;  // digits of a checksum
  for (const std::int64_t pass : unmarked)
    if (::pwrite(mark_file.get(), "1", 1, kHead + pass) != 1) refuse_features("mark what is done", marks);
  marked += std::ssize(unmarked);
  written.clear();
  unmarked.clear();
  unsynced = waiting = 0;
  last_sync = std::chrono::steady_clock::now();
}

FeatureWriter::FeatureWriter(const std::filesystem::path& file, const data::Dataset& dataset,
                             data::ColumnReader& columns, const FeatureContents& contents,
                             comm::Communicator& ranks)
    : impl_(std::make_unique<Impl>(file, dataset.rows(), ranks)) {
  std::int64_t width = 1;
  std::string found;
  comm::together(ranks, [&] {
    for_own_blocks(dataset.rows(), ranks, [&](std::int64_t first, std::int64_t count) {
      for (const std::string& id : columns.ids(first, count)) width = std::max(width, std::ssize(id));
    });
  });
  const auto id_width = static_cast<std::size_t>(ranks.max(width));
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) found = impl_->find_or_make(dataset, contents, id_width);
  });
  impl_->done = ranks.broadcast_text(std::move(found)).substr(16);
  const auto done = std::count(impl_->done.begin(), impl_->done.end(), '1');
  if (done > 0)
    log_info(fmt::format("{} goes on: {} of {} forward passes are there", impl_->partial.string(),
                         format_count(done), format_count(contents.passes)));
  impl_->open();
  comm::together(ranks, [&] {
    {
      const hdf5::Lock lock;
      const hdf5::File in = hdf5::open_file(impl_->partial);
      if (contents.width > 0) impl_->features = place_of(in.get(), impl_->partial, "features");
      if (contents.patches > 0) impl_->patches = place_of(in.get(), impl_->partial, "patch_tokens");
      if (!contents.classes.empty()) impl_->logits = place_of(in.get(), impl_->partial, "logits");
      for (const std::string& key : contents.keys)
        impl_->tokens.push_back(place_of(in.get(), impl_->partial, "context_tokens/" + key));
      for (const auto& [name, shape] : contents.answers)
        impl_->answers.emplace(name, place_of(in.get(), impl_->partial, "answers/" + name));
    }
    impl_->write_columns(dataset.description(), columns, id_width);
  });
}

FeatureWriter::~FeatureWriter() = default;

bool FeatureWriter::has(std::int64_t pass) const noexcept {
  return impl_->done[static_cast<std::size_t>(pass)] == '1';
}

bool FeatureWriter::has_features() const noexcept {
  return impl_->features.row_bytes > 0;
}

void FeatureWriter::write(const PassAnswers& answers) {
  if (impl_->features.row_bytes > 0) impl_->put_rows(impl_->features, answers.rows, answers.features);
  if (impl_->patches.row_bytes > 0) impl_->put_rows(impl_->patches, answers.rows, answers.patches);
  if (impl_->logits.row_bytes > 0) impl_->put_rows(impl_->logits, answers.rows, answers.logits);
  for (std::size_t k = 0; k < impl_->tokens.size(); ++k)
    impl_->put_rows(impl_->tokens[k], answers.rows,
                    answers.context.select(1, static_cast<std::int64_t>(k)).contiguous());
  for (const auto& [name, place] : impl_->answers)
    impl_->put_rows(place, answers.rows, answers.answers.at(name));
  impl_->unmarked.push_back(answers.pass);
  if (std::chrono::steady_clock::now() - impl_->last_sync >= kBetweenSyncs) impl_->sync();
}

void FeatureWriter::pause() {
  comm::together(impl_->ranks, [&] { impl_->sync(); });
}

void FeatureWriter::finish() {
  pause();
  const auto there =
      std::count(impl_->done.begin(), impl_->done.end(), '1') + impl_->ranks.sum(impl_->marked);
  COHORT_CHECK(there == std::ssize(impl_->done), "{} of {} passes were written", there, impl_->done.size());
  comm::together(impl_->ranks, [&] {
    MPI_File closing = impl_->shared.release();
    check_transfer(MPI_File_close(&closing), "close", impl_->partial);
    if (impl_->ranks.rank() != 0) return;
    sync_file(impl_->partial);
  });
}

const std::filesystem::path& FeatureWriter::partial() const noexcept {
  return impl_->partial;
}

void FeatureWriter::commit() {
  comm::together(impl_->ranks, [&] {
    if (impl_->ranks.rank() != 0) return;
    std::error_code error;
    std::filesystem::rename(impl_->partial, impl_->file, error);
    if (error)
      throw DataError({fmt::format("cannot rename the finished file: {}", error.message()),
                       impl_->file.string(), disk_remedy(error.value())});
    sync_folder(folder_with(impl_->file));
    std::filesystem::remove(impl_->marks, error);
  });
}

void FeatureWriter::discard() {
  comm::together(impl_->ranks, [&] {
    if (impl_->ranks.rank() != 0) return;
    std::filesystem::remove(impl_->marks);
    std::filesystem::remove(impl_->partial);
  });
}

}  // namespace cohort::eval
