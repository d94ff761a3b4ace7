#include "cohort/checkpoint/export.h"

#include "cohort/checkpoint/safetensors.h"

#include "store_fixture.h"

namespace cohort::checkpoint {
namespace {

TEST_F(StoreTest, ExportWritesTheTensorsBelowAPrefix) {
  Store store(folder_, ranks_);
  save(store, 3);

  on_rank_0([&] {
    const auto file = folder_ / "weights.safetensors";
    export_safetensors({folder_, 3}, "/model/", file);
    const Safetensors read = read_safetensors(file);
    EXPECT_EQ(read.metadata.at("format"), "pt");
    ASSERT_EQ(read.tensors.size(), 4U);
    for (const Named& tensor : tensors()) {
      if (!tensor.name.starts_with("/model/")) continue;
      const at::Tensor* found = read.find(tensor.name.substr(7));
      ASSERT_NE(found, nullptr) << tensor.name;
      EXPECT_EQ(found->sizes().vec(), tensor.shape);
      EXPECT_TRUE(at::equal(found->reshape({-1}), values(tensor, 3))) << tensor.name;
    }
  });
}

TEST_F(StoreTest, ExportSaysWhatTheModelWasTrainedOn) {
  Store store(folder_, ranks_);
  Meta known = meta(4);
  known.trained_on = R"({"classes":["cat","dog"]})";
  save(store, 3);
  store.save(state(4, ranks_.rank(), ranks_.size()), known);

  on_rank_0([&] {
    const auto file = folder_ / "weights.safetensors";
    export_safetensors({folder_, 4}, "/model/", file);
    EXPECT_EQ(read_safetensors(file).metadata.at(kTrainedOn), known.trained_on);
    export_safetensors({folder_, 3}, "/model/", file);
    EXPECT_EQ(read_safetensors(file).metadata.count(kTrainedOn), 0U);
  });
}

TEST_F(StoreTest, ExportTakesTheAverageWhereThereIsOne) {
  Store store(folder_, ranks_);
  const std::vector<std::int64_t> shape{ranks_.size(), 6};
  const at::Tensor trained = at::arange(6, at::kFloat) + 10.0 * ranks_.rank(), averaged = trained * 0.5;
  const std::int64_t begin = 6 * ranks_.rank();
  store.save({{"/model/head.weight", shape, begin, trained}, {"/ema/head.weight", shape, begin, averaged}},
             meta(3));

  on_rank_0([&] {
    const auto file = folder_ / "average.safetensors";
    export_safetensors({folder_, 3}, "/ema/", file);
    const Safetensors read = read_safetensors(file);
    ASSERT_EQ(read.tensors.size(), 1U);
    const at::Tensor* found = read.find("head.weight");
    ASSERT_NE(found, nullptr);
    const at::Tensor expected =
        (at::arange(6, at::kFloat).unsqueeze(0) + 10.0 * at::arange(ranks_.size()).unsqueeze(1)) * 0.5;
    EXPECT_TRUE(at::equal(*found, expected.to(at::kFloat)));
  });
}

TEST_F(StoreTest, ExportRefusesWhatIsDamagedOrNotThere) {
  Store store(folder_, ranks_);
  save(store, 3);

  on_rank_0([&] {
    const auto file = folder_ / "weights.safetensors";
    EXPECT_THROW(export_safetensors({folder_, 3}, "/ema/", file), DataError);
    EXPECT_THROW(export_safetensors({folder_, 4}, "/model/", file), DataError);
    std::fstream state(store.path_of(3) / "state.h5", std::ios::binary | std::ios::in | std::ios::out);
    const std::string content{std::istreambuf_iterator<char>(state), std::istreambuf_iterator<char>()};
    const at::Tensor hit = values(tensors()[0], 3);
    const auto at = content.find(std::string(static_cast<const char*>(hit.const_data_ptr()), 16));
    ASSERT_NE(at, std::string::npos);
    state.seekp(static_cast<std::streamoff>(at));
    state.put('x').flush();
    EXPECT_THROW(export_safetensors({folder_, 3}, "/model/", file), DataError);
    EXPECT_EQ(names_in_folder(), (std::vector<std::string>{"latest", "step-00000003"}));
  });
}

}  // namespace
}  // namespace cohort::checkpoint
