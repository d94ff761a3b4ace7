#include "cohort/core/file.h"

#include <csignal>
#include <fcntl.h>
#include <functional>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "../support/faults.h"
#include "../support/temporary_folder.h"

namespace cohort {
namespace {

using cohort::testing::FileSizeLimit;
using cohort::testing::TemporaryFolder;

Error::Text refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.text();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

std::size_t files_in(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST(ReadFile, GivesAllBytes) {
  const TemporaryFolder folder;
  const std::string content("a\0b\r\n\xff", 6);

  EXPECT_EQ(read_file(folder.write("file", content)), content);
  EXPECT_EQ(read_file(folder.write("empty", "")), "");
}

// More than one part of what is read at once, of which no two are alike.
std::string many_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::uint32_t state = 1;
  for (char& byte : bytes) byte = static_cast<char>((state = state * 1664525U + 1013904223U) >> 24);
  return bytes;
}

TEST(ReadFile, OfManyPartsGivesAllBytesInOrder) {
  const TemporaryFolder folder;
  for (const std::size_t count : {65'535U, 65'536U, 65'537U, 500'001U}) {
    const std::string content = many_bytes(count);
    EXPECT_TRUE(read_file(folder.write("file", content)) == content) << count;
  }
}

TEST(CopySparse, GivesManyPartsAndTheHolesBetweenThem) {
  const TemporaryFolder folder;
  const std::string part = many_bytes(200'000);
  std::string content = part + std::string(1 << 20, '\0') + part + std::string(300'000, '\0');
  const auto from = folder.write("from", part);
  std::filesystem::resize_file(from, part.size() + (1 << 20));
  std::ofstream(from, std::ios::app | std::ios::binary) << part;
  std::filesystem::resize_file(from, content.size());

  copy_sparse(FileDescriptor(::open(from.c_str(), O_RDONLY | O_CLOEXEC)), folder.path() / "to");

  EXPECT_TRUE(read_file(folder.path() / "to") == content);
}

TEST(ReadFile, NamesFileAndReason) {
  const TemporaryFolder folder;
  const auto missing = folder.path() / "none" / "file";

  const Error::Text text = refusal([&] { read_file(missing); });

  EXPECT_EQ(text.what, "cannot read the file: No such file or directory");
  EXPECT_EQ(text.where, missing.string());
  EXPECT_EQ(text.fix, "check the path");
  EXPECT_EQ(refusal([&] { read_file(folder.path()); }).what, "cannot read the file: Is a directory");
}

TEST(ReadFile, RefusesWhatIsNoFileWithoutWaiting) {
  const TemporaryFolder folder;
  const auto fifo = folder.path() / "fifo", link = folder.path() / "link";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  std::filesystem::create_symlink("/dev/zero", link);

  const Error::Text text = refusal([&] { read_file(fifo); });

  EXPECT_EQ(text.what, "not a regular file, but a FIFO");
  EXPECT_EQ(text.where, fifo.string());
  EXPECT_EQ(refusal([&] { read_file("/dev/zero"); }).what, "not a regular file, but a device");
  EXPECT_EQ(refusal([&] { read_file(link); }).what, "not a regular file, but a device");
  EXPECT_EQ(refusal([&] { open_to_append(fifo); }).what, "not a regular file, but a FIFO");
}

TEST(ReadFile, FollowsLinksOnlyWhereTheyAreTheUsersOwn) {
  const TemporaryFolder folder;
  const auto file = folder.write("file", "content"), link = folder.path() / "link";
  std::filesystem::create_symlink(file, link);

  EXPECT_EQ(read_file(link), "content");
  for (const auto& action : std::initializer_list<std::function<void()>>{
           [&] { read_file(link, kAnySize, Links::refuse); }, [&] { open_to_append(link); },
           [&] { refuse_no_file(link); }})
    EXPECT_EQ(refusal(action).what, "not a regular file, but a link");
  EXPECT_EQ(refusal([&] { refuse_no_folder(link); }).what, "not a regular folder, but a link");
  EXPECT_NO_THROW(refuse_no_folder(folder.path()));
  EXPECT_NO_THROW(refuse_no_file(folder.path() / "none"));
  EXPECT_EQ(read_file(file), "content");
}

TEST(ReadFile, RefusesMoreThanTheMost) {
  const TemporaryFolder folder;
  const auto file = folder.write("file", std::string(2048, 'x'));

  EXPECT_EQ(read_file(file, 2048).size(), 2048U);
  EXPECT_EQ(refusal([&] { read_file(file, 2047); }).what,
            "the file is larger than 2.0 KiB, the most that is read");
}

TEST(WriteFile, ALinkBesideIsReplacedNotFollowed) {
  const TemporaryFolder folder;
  const auto secret = folder.write("secret", "old"), file = folder.path() / "file";
  std::filesystem::create_symlink(secret, folder.path() / fmt::format("file.{}.partial", ::getpid()));
  std::filesystem::create_symlink(secret, file);

  write_file_atomically(file, "new");

  EXPECT_EQ(read_file(secret), "old");
  EXPECT_EQ(read_file(file, kAnySize, Links::refuse), "new");
}

TEST(WriteFile, ReplacesTheContentAndLeavesNothingBeside) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "file";

  write_file_atomically(file, "old");
  write_file_atomically(file, std::string(100'000, 'x'));

  EXPECT_EQ(read_file(file), std::string(100'000, 'x'));
  EXPECT_EQ(files_in(folder.path()), 1U);
}

TEST(WriteFile, KeepsTheOldContentWhenTheDiskIsFull) {
  const TemporaryFolder folder;
  const auto file = folder.write("file", "old");

  const Error::Text text = refusal([&] {
    const FileSizeLimit limit(4096);
    write_file_atomically(file, std::string(10'000, 'x'));
  });

  EXPECT_EQ(text.what, "cannot write the file: File too large");
  EXPECT_EQ(text.fix, "raise the limit on the size of files (ulimit -f)");
  EXPECT_EQ(read_file(file), "old");
  EXPECT_EQ(files_in(folder.path()), 1U) << "the half-written file was left behind";
}

TEST(WriteFile, LeavesNothingBehindWhenItCannotBeRenamedIntoPlace) {
  const TemporaryFolder folder;
  folder.write("file/inside", "a folder of the file's name");

  const Error::Text text = refusal([&] { write_file_atomically(folder.path() / "file", "x"); });

  EXPECT_EQ(text.what, "cannot rename the file into place: Is a directory");
  EXPECT_EQ(text.where, (folder.path() / "file").string());
  EXPECT_EQ(files_in(folder.path()), 1U);
}

TEST(WriteFile, NeedsItsFolder) {
  const TemporaryFolder folder;

  EXPECT_EQ(refusal([&] { write_file_atomically(folder.path() / "none" / "file", "x"); }).what,
            "cannot create the file: No such file or directory");
}

TEST(Sync, RefusesWhatIsNotThere) {
  const TemporaryFolder folder;

  EXPECT_NO_THROW(sync_folder(folder.path()));
  EXPECT_NO_THROW(sync_file(folder.write("file", "x")));
  EXPECT_EQ(refusal([&] { sync_folder(folder.path() / "none"); }).what,
            "cannot sync the folder: No such file or directory");
  EXPECT_EQ(refusal([&] { sync_file(folder.path() / "none"); }).what,
            "cannot sync the file: No such file or directory");
}

TEST(MakeWritableFolder, CreatesParentsAndAcceptsAnExistingOne) {
  const TemporaryFolder folder;
  const auto deep = folder.path() / "a" / "b";

  make_writable_folder(deep);
  make_writable_folder(deep);

  EXPECT_TRUE(std::filesystem::is_directory(deep));
}

TEST(MakeWritableFolder, RefusesAFileInItsWay) {
  const TemporaryFolder folder;
  const auto file = folder.write("file", "x");

  EXPECT_EQ(refusal([&] { make_writable_folder(file); }).where, file.string());
  EXPECT_EQ(refusal([&] { make_writable_folder(file / "below"); }).what,
            "cannot create the folder: Not a directory");
}

TEST(MakeWritableFolder, RefusesAFolderThatCannotBeWritten) {
  // /proc refuses new files to everybody, root included.
  EXPECT_THROW(make_writable_folder("/proc/cohort"), DataError);
}

TEST(FileDescriptorTest, ClosesItsFile) {
  const TemporaryFolder folder;
  int raw = -1;
  {
    const FileDescriptor descriptor(::open(folder.write("file", "x").c_str(), O_RDONLY | O_CLOEXEC));
    raw = descriptor.get();
    ASSERT_GE(raw, 0);
  }

  EXPECT_EQ(::fcntl(raw, F_GETFD), -1);
}

}  // namespace
}  // namespace cohort
