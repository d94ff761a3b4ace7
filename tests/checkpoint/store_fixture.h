#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/store.h"
#include "cohort/core/error.h"

#include "support/ranks.h"
#include "support/temporary_folder.h"

namespace cohort::checkpoint {

struct Named {
  std::string name;
  std::vector<std::int64_t> shape;
};

/// A folder that all ranks share, and tensors whose values follow from name, index and step.
class StoreTest : public ::testing::Test {
 protected:
  StoreTest() : ranks_(test::world()) {
    if (ranks_.rank() == 0) temporary_ = std::make_unique<cohort::testing::TemporaryFolder>();
    folder_ = std::filesystem::path(ranks_.broadcast_text(temporary_ ? temporary_->path().string() : "")) /
              "checkpoints";
  }
  ~StoreTest() override {
    if (!HasFailure()) ranks_.barrier();  // nobody reads any more when the folder goes
  }

  static const std::vector<Named>& tensors() {
    static const std::vector<Named> list{{"/model/blocks.0.weight", {3, 4, 5}},
                                         {"/model/blocks.0.bias", {7}},
                                         {"/optimizer/exp_avg/head.weight", {40, 30}},
                                         {"/model/scale", {}},
                                         {"/model/none", {0, 3}}};
    return list;
  }

  static std::int64_t count(const Named& tensor) {
    std::int64_t n = 1;
    for (const std::int64_t size : tensor.shape) n *= size;
    return n;
  }

  static at::Tensor values(const Named& tensor, std::int64_t step) {
    return at::sin(at::arange(count(tensor), at::kFloat) * 0.37 +
                   static_cast<double>(tensor.name.size() + 100 * step));
  }

  /// Part `part` of `parts` of each tensor, some of them empty.
  static std::vector<Slice> state(std::int64_t step, int part, int parts) {
    std::vector<Slice> slices;
    for (const Named& tensor : tensors()) {
      const std::int64_t n = count(tensor), begin = n * part / parts, end = n * (part + 1) / parts;
      slices.push_back(
          {tensor.name, tensor.shape, begin, values(tensor, step).narrow(0, begin, end - begin)});
    }
    return slices;
  }

  /// The same with NaN for values: what is to be loaded.
  static std::vector<Slice> blank(int part, int parts) {
    auto slices = state(0, part, parts);
    for (Slice& slice : slices)
      slice.values = at::full_like(slice.values, std::numeric_limits<float>::quiet_NaN());
    return slices;
  }

  static void expect_equal(const std::vector<Slice>& actual, const std::vector<Slice>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      EXPECT_TRUE(at::equal(actual[i].values, expected[i].values)) << actual[i].name;
    }
  }

  static Meta meta(std::int64_t step) {
    return {step, 3, 0xfedcba9876543210U, "model:\n  depth: 6 # é\n", "elpv 0123"};
  }
  void save(Store& store, std::int64_t step) {
    store.save(state(step, ranks_.rank(), ranks_.size()), meta(step));
  }

  /// What loading says on this rank; empty if it works.
  std::string failure_of_load(Store& store, std::int64_t step) {
    auto slices = blank(0, 1);
    try {
      store.load(step, slices);
    } catch (const DataError& error) {
      return error.text().what;
    }
    return {};
  }

  std::vector<std::string> names_in_folder() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

  /// Rank 0 acts on the files, the others wait.
  template <class Action>
  void on_rank_0(Action&& action) {
    ranks_.barrier();
    if (ranks_.rank() == 0) action();
    ranks_.barrier();
  }

  comm::Communicator ranks_;
  std::unique_ptr<cohort::testing::TemporaryFolder> temporary_;
  std::filesystem::path folder_;
};

}  // namespace cohort::checkpoint
