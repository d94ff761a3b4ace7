#include "cohort/checkpoint/safetensors.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <unistd.h>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/core/error.h"
#include "cohort/core/file.h"

namespace cohort::checkpoint {
namespace {

class SafetensorsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("cohort-safetensors-{}-{}",
                          testing::UnitTest::GetInstance()->current_test_info()->name(), ::getpid());
    std::filesystem::create_directories(folder_);
    file_ = folder_ / "tensors.safetensors";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write_raw(const std::string& header, const std::string& data) const {
    std::ofstream stream(file_, std::ios::binary);
    const std::uint64_t length = header.size();
    stream.write(reinterpret_cast<const char*>(&length), sizeof(length));
    stream << header << data;
  }

  // The text of the error that reading the file gives.
  std::string refusal() const {
    try {
      read_safetensors(file_);
    } catch (const DataError& error) {
      EXPECT_EQ(error.text().where, file_.string());
      return error.text().what;
    }
    return "read without an error";
  }

  std::string refusal_of(const std::string& header, const std::string& data) const {
    write_raw(header, data);
    return refusal();
  }

  std::filesystem::path folder_, file_;
};

TEST_F(SafetensorsTest, AllDtypesComeBackBitForBit) {
  Safetensors content;
  const std::vector<at::ScalarType> dtypes{at::kBool, at::kByte,     at::kChar, at::kShort, at::kInt,
                                           at::kLong, at::kBFloat16, at::kHalf, at::kFloat, at::kDouble};
  for (const at::ScalarType dtype : dtypes) {
    content.tensors.emplace_back(c10::toString(dtype),
                                 (at::arange(15, at::kInt) % 2 * 7 - 3).abs().reshape({3, 5}).to(dtype));
  }
  content.tensors.emplace_back("scalar", at::scalar_tensor(2.5));
  content.tensors.emplace_back("empty", at::empty({0, 4}));
  content.tensors.emplace_back("strided", at::arange(6).reshape({2, 3}).t());
  content.metadata = {{"format", "pt"}, {"quote", "\"é\""}};

  write_safetensors(file_, content);
  const Safetensors read = read_safetensors(file_);

  ASSERT_EQ(read.tensors.size(), content.tensors.size());
  EXPECT_EQ(read.metadata, content.metadata);
  for (const auto& [name, tensor] : content.tensors) {
    const at::Tensor* found = read.find(name);
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(found->scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(*found, tensor)) << name;
    EXPECT_TRUE(found->is_contiguous()) << name;
  }
  EXPECT_EQ(read.find("absent"), nullptr);
}

TEST_F(SafetensorsTest, DataOfEachTensorIsAligned) {
  Safetensors content;
  content.tensors = {{"bytes", at::zeros({3}, at::kByte)},
                     {"doubles", at::zeros({2}, at::kDouble)},
                     {"floats", at::zeros({1})}};

  write_safetensors(file_, content);
  const Safetensors read = read_safetensors(file_);

  EXPECT_EQ(read.tensors[0].first, "doubles");
  EXPECT_EQ(read.tensors[1].first, "floats");
  EXPECT_EQ(read.tensors[2].first, "bytes");
  std::uint64_t length = 0;
  std::ifstream(file_, std::ios::binary).read(reinterpret_cast<char*>(&length), sizeof(length));
  EXPECT_EQ(length % 8, 0U);
}

// Whether `address` lies in a mapping of `file`, as the system tells.
bool is_mapped(const void* address, const std::filesystem::path& file) {
  const auto value = reinterpret_cast<std::uintptr_t>(address);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const std::uintptr_t begin = std::stoull(line, nullptr, 16),
                         end = std::stoull(line.substr(line.find('-') + 1), nullptr, 16);
    if (begin <= value && value < end) return line.ends_with(" " + file.string());
  }
  return false;
}

TEST_F(SafetensorsTest, ValuesStayInTheFileUntilTheyAreUsed) {
  write_safetensors(file_, {{{"a", at::arange(4096, at::kFloat)}, {"b", at::ones({3}, at::kDouble)}}, {}});
  std::optional<Safetensors> read = read_safetensors(file_);
  for (const auto& [name, tensor] : read->tensors) EXPECT_TRUE(is_mapped(tensor.data_ptr(), file_)) << name;

  const at::Tensor kept = read->tensors[1].second;
  kept.mul_(2.0);
  EXPECT_TRUE(at::equal(*read_safetensors(file_).find("a"), at::arange(4096, at::kFloat)));
  read.reset();
  std::filesystem::remove(file_);

  EXPECT_TRUE(at::equal(kept, at::arange(4096, at::kFloat) * 2.0));
}

TEST_F(SafetensorsTest, ValuesAtOddAddressesAreCopied) {
  const float values[] = {1.5F, -2.0F};
  for (const std::size_t spaces : {0U, 1U, 2U, 3U}) {
    write_raw(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" + std::string(spaces, ' '),
              std::string(reinterpret_cast<const char*>(values), sizeof(values)));
    EXPECT_TRUE(at::equal(*read_safetensors(file_).find("a"), at::tensor({1.5F, -2.0F}))) << spaces;
  }
}

TEST_F(SafetensorsTest, NothingAtAllIsAValidFile) {
  write_safetensors(file_, {});

  EXPECT_TRUE(read_safetensors(file_).tensors.empty());
}

TEST_F(SafetensorsTest, ReadsTheGoldenFiles) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(COHORT_TEST_DATA "/golden")) {
    if (entry.path().extension() != ".safetensors") continue;
    const Safetensors read = read_safetensors(entry.path());
    EXPECT_FALSE(read.tensors.empty()) << entry.path();
    EXPECT_TRUE(read.metadata.contains("json")) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 5);
}

TEST_F(SafetensorsTest, RefusesDamagedHeaders) {
  std::ofstream(file_) << "short";
  EXPECT_EQ(refusal(), "5 bytes are too few for a safetensors file");
  std::ofstream(file_) << std::string(20, '\xff');
  EXPECT_EQ(refusal(), "a header of 18446744073709551615 bytes does not fit into a file of 20 bytes");
  EXPECT_EQ(refusal_of("{\"a\":", ""), "the header is not a JSON object");
  EXPECT_EQ(refusal_of("[1]", ""), "the header is not a JSON object");
  EXPECT_EQ(
      refusal_of(
          R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
          ""),
      "tensor 'a' appears twice");
  EXPECT_EQ(refusal_of(R"({"__metadata__":{"n":1}})", ""), "metadata 'n' is not a text");
  EXPECT_EQ(refusal_of(R"({"__metadata__":"n"})", ""), "__metadata__ is not an object");
}

TEST_F(SafetensorsTest, RefusesDamagedEntries) {
  const std::string invalid = "tensor 'a' lacks a valid dtype, shape or data_offsets";
  EXPECT_EQ(refusal_of(R"({"a":5})", ""), invalid);
  EXPECT_EQ(refusal_of(R"({"a":{"dtype":"U8","shape":[1]}})", "x"), invalid);
  EXPECT_EQ(refusal_of(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", "x"), invalid);
  EXPECT_EQ(refusal_of(R"({"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}})", "x"), invalid);
  EXPECT_EQ(refusal_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}})", "x"), invalid);
  EXPECT_EQ(refusal_of(R"({"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", "x"),
            "tensor 'a' has the dtype F8_E4M3, which cannot be read");
  EXPECT_EQ(refusal_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "xxxx"),
            "tensor 'a' has data_offsets [0, 4] but needs 8 bytes");
  EXPECT_EQ(refusal_of(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[4,0]}})", "xxxx"),
            "tensor 'a' has data_offsets [4, 0] but needs 0 bytes");
  EXPECT_EQ(refusal_of(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", ""),
            "the shape of tensor 'a' is too large");
}

TEST_F(SafetensorsTest, RefusesSizesBesideAZeroThatNoTensorHas) {
  for (const std::string shape : {"[0,18446744073709551615]", "[0,9223372036854775807,9]"}) {
    EXPECT_EQ(refusal_of(R"({"x":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[0,0]}})", ""),
              "the shape of tensor 'x' is too large");
  }
}

TEST_F(SafetensorsTest, RefusesDamagedLayouts) {
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  EXPECT_EQ(refusal_of("{" + a + "}", "xxx"), "the file is cut off: 3 of 4 data bytes are there");
  EXPECT_EQ(refusal_of("{" + a + "}", "xxxxx"), "1 bytes follow the last tensor");
  EXPECT_EQ(refusal_of("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})", "xxxxx"),
            "tensor 'b' starts at byte 3 of the data, expected 4");
  EXPECT_EQ(refusal_of("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[5,7]}})", "xxxxxxx"),
            "tensor 'b' starts at byte 5 of the data, expected 4");
}

TEST_F(SafetensorsTest, NamesAMissingFile) {
  EXPECT_EQ(refusal(), "cannot read the file: No such file or directory");
}

TEST_F(SafetensorsTest, AFileThatIsCutWhileItIsReadEndsTheProcessWithAMessage) {
  write_safetensors(file_, {{{"a", at::ones({1 << 16})}}, {}});

  EXPECT_EXIT(
      {
        const Safetensors read = read_safetensors(file_);
        std::filesystem::resize_file(file_, 4096);
        std::exit(read.tensors[0].second.sum().item<float>() > 0 ? 0 : 1);
      },
      ::testing::ExitedWithCode(3), "cohort: the file got shorter while it was read\n  where: .*\n  fix: ");
}

TEST_F(SafetensorsTest, RefusesNamesAndDtypesThatTheFormatCannotHold) {
  Safetensors twice, complex;
  twice.tensors = {{"a", at::zeros({1})}, {"a", at::zeros({1})}};
  complex.tensors = {{"a", at::zeros({1}, at::kComplexFloat)}};

  EXPECT_THROW(write_safetensors(file_, twice), Bug);
  EXPECT_THROW(write_safetensors(file_, complex), Bug);
  EXPECT_FALSE(std::filesystem::exists(file_));
}

}  // namespace
}  // namespace cohort::checkpoint
