// How the real TensorBoard reads the files of a run: tests/python/tensorboard_test.py.
#include "train/tensorboard.h"

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "support/temporary_folder.h"

namespace cohort::train {
namespace {

namespace fs = std::filesystem;

const std::string kStep1 = R"({"kind":"step","step":1,"loss":0.5,"seconds":10})"
                           "\n",
                  kStep2 = R"({"kind":"step","step":300,"loss":0.25,"seconds":20})";

std::string only_file(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  EXPECT_EQ(files.size(), 1U);
  return read_file(files.front());
}

/// The data of every record, whose checksums are compared.
std::vector<std::string> records(const std::string& file) {
  std::vector<std::string> found;
  const auto crc_at = [&](std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, file.data() + at, sizeof value);
    value -= 0xA282EAD8U;
    return value >> 17U | value << 15U;
  };
  const auto crc_of = [&](std::size_t at, std::size_t count) {
    return crc32c(std::as_bytes(std::span(file.data() + at, count)));
  };
  for (std::size_t at = 0; at < file.size();) {
    std::uint64_t length = 0;
    std::memcpy(&length, file.data() + at, sizeof length);
    EXPECT_EQ(crc_at(at + 8), crc_of(at, 8));
    EXPECT_EQ(crc_at(at + 12 + length), crc_of(at + 12, length));
    found.push_back(file.substr(at + 12, length));
    at += 16 + length;
  }
  return found;
}

double time_of(const std::string& event) {
  double time = 0;
  std::memcpy(&time, event.data() + 1, sizeof time);
  return time;
}

TEST(TensorBoard, ChecksumsAreThoseOfTheStandard) {
  const std::string digits = "123456789", zeros(32, '\0');  // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::as_bytes(std::span(digits))), 0xE3069283U);
  EXPECT_EQ(crc32c(std::as_bytes(std::span(zeros))), 0x8A9136AAU);
}

TEST(TensorBoard, RecordsScalarsOfEveryLineThatHasSome) {
  const testing::TemporaryFolder folder;
  TensorBoard board(folder.path() / "tensorboard", folder.path() / "none.jsonl", 0);
  board.write(kStep2);
  board.write(R"({"kind":"end","step":300,"seconds":30})");
  board.write(
      R"({"kind":"evaluation","step":300,"split":"test","classifier":"knn k=5","accuracy":0.75,"classes":["a"]})");

  const auto found = records(only_file(folder.path() / "tensorboard"));

  ASSERT_EQ(found.size(), 4U) << "version, start, step, evaluation";
  EXPECT_NE(found[0].find("brain.Event:2"), std::string::npos);
  // step 300 as a varint; Value { "train/loss", 0.25 }
  EXPECT_EQ(found[2].substr(9, 3), "\x10\xac\x02");
  const std::string loss("\x0a\x0atrain/loss\x15\0\0\x80\x3e", 17);
  EXPECT_NE(found[2].find(loss), std::string::npos);
  EXPECT_NE(found[3].find("test, knn k=5/accuracy"), std::string::npos);
}

TEST(TensorBoard, ARunThatGoesOnHasOneFileWithAllSteps) {
  const testing::TemporaryFolder folder;
  const fs::path metrics = folder.write("metrics.jsonl", kStep1 + kStep2 + "\n");
  { TensorBoard first(folder.path() / "tensorboard", folder.path() / "none.jsonl", 0); }

  TensorBoard second(folder.path() / "tensorboard", metrics, 30);

  const auto found = records(only_file(folder.path() / "tensorboard"));
  ASSERT_EQ(found.size(), 4U);
  EXPECT_NEAR(time_of(found[3]) - time_of(found[2]), 20.0, 1e-3) << "of the second step";
  EXPECT_NEAR(time_of(found[3]), time_of(found[0]), 1e-3);
}

TEST(TensorBoard, AFolderThatCannotBeWrittenIsRefused) {
  EXPECT_THROW(TensorBoard("/proc/none", "none.jsonl", 0), DataError);
}

}  // namespace
}  // namespace cohort::train
