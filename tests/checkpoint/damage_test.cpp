// What happens to checkpoints when disks, files and runs fail.
#include <fstream>

#include "store_fixture.h"
#include "support/faults.h"

namespace cohort::checkpoint {
namespace {

void flip(const std::filesystem::path& file, std::int64_t position) {
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  stream.seekg(position);
  const char byte = static_cast<char>(stream.get() ^ 0x10);
  stream.seekp(position);
  stream.put(byte);
}

// Offset of the first value of a tensor: the values are nowhere else in the file.
std::int64_t position_of(const std::filesystem::path& file, const at::Tensor& values) {
  std::ifstream stream(file, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  const auto found =
      content.find(std::string(static_cast<const char*>(values.const_data_ptr()), values.nbytes()));
  EXPECT_NE(found, std::string::npos);
  return static_cast<std::int64_t>(found);
}

TEST_F(StoreTest, FullDiskFailsOnAllRanksAndHurtsNothing) {
  Store store(folder_, ranks_, {1});
  save(store, 1);
  const Named large{"/model/large", {ranks_.size(), 100'000}};
  const std::vector<Slice> state{{large.name, large.shape, ranks_.rank() * 100'000, at::ones({100'000})}};

  for (const rlim_t bytes : {rlim_t{0}, rlim_t{700}, rlim_t{100'000}, rlim_t{399'000}}) {
    {
      const testing::FileSizeLimit full(bytes);
      EXPECT_THROW(store.save(state, meta(2)), DataError) << bytes;
    }
    EXPECT_EQ(names_in_folder(), (std::vector<std::string>{"latest", "step-00000001"})) << bytes;
    ranks_.barrier();
  }

  EXPECT_EQ(failure_of_load(store, 1), "");
  store.save(state, meta(2));
  EXPECT_EQ(store.latest(), 2);
}

TEST_F(StoreTest, FullDiskOnOneRankFailsOnAll) {
  Store store(folder_, ranks_, {1});
  const Named large{"/model/large", {ranks_.size(), 100'000}};
  const std::vector<Slice> state{{large.name, large.shape, ranks_.rank() * 100'000, at::ones({100'000})}};

  {
    // The last slice lies beyond the limit, but only its own rank has one.
    const testing::FileSizeLimit full(ranks_.rank() == ranks_.size() - 1 ? 10'000 : RLIM_INFINITY);
    EXPECT_THROW(store.save(state, meta(2)), DataError);
  }
  EXPECT_TRUE(names_in_folder().empty());
}

TEST_F(StoreTest, AFlippedBitIsFoundAndNamed) {
  Store store(folder_, ranks_, {2});
  save(store, 1);
  save(store, 2);
  const auto file = store.path_of(2) / "state.h5";
  on_rank_0([&] { flip(file, position_of(file, values(tensors()[1], 2)) + 9); });

  const std::string failure = failure_of_load(store, 2);

  EXPECT_NE(failure.find("tensor '/model/blocks.0.bias' is damaged"), std::string::npos) << failure;
  EXPECT_EQ(failure_of_load(store, 1), "");
}

// Whatever byte is hit: either the values are right or the load fails. Nothing in between.
TEST_F(StoreTest, NoFlippedBitGivesWrongValues) {
  Store store(folder_, ranks_, {1});
  save(store, 1);
  const auto file = store.path_of(1) / "state.h5";
  const auto size = static_cast<std::int64_t>(std::filesystem::file_size(file));
  int found = 0;
  for (std::int64_t position = 0; position < size; position += 7 * ranks_.size()) {
    on_rank_0([&] { flip(file, position); });
    auto loaded = blank(0, 1);
    try {
      store.load(1, loaded);
      expect_equal(loaded, state(1, 0, 1));
    } catch (const DataError&) {
      ++found;
    }
    on_rank_0([&] { flip(file, position); });
  }
  EXPECT_GT(found, 0);
  EXPECT_EQ(failure_of_load(store, 1), "");
}

TEST_F(StoreTest, ATruncatedFileIsFound) {
  Store store(folder_, ranks_, {1});
  save(store, 1);
  const auto file = store.path_of(1) / "state.h5";
  const auto size = std::filesystem::file_size(file);
  on_rank_0([&] { std::filesystem::resize_file(file, size - 1); });

  EXPECT_NE(
      failure_of_load(store, 1).find(fmt::format("state.h5 has {} bytes, {} were saved", size - 1, size)),
      std::string::npos);
  on_rank_0([&] { std::filesystem::remove(file); });
  EXPECT_NE(failure_of_load(store, 1).find("no readable state.h5"), std::string::npos);
}

TEST_F(StoreTest, ACheckpointWithoutMetaDoesNotCount) {
  Store store(folder_, ranks_, {2});
  save(store, 1);
  save(store, 2);
  on_rank_0([&] { std::filesystem::remove(store.path_of(2) / "meta.json"); });

  EXPECT_EQ(store.latest(), 1);
  EXPECT_THROW(static_cast<void>(store.contents(2)), DataError);
  EXPECT_NE(failure_of_load(store, 2), "");
}

TEST_F(StoreTest, DamagedMetaIsFound) {
  Store store(folder_, ranks_, {1});
  save(store, 1);
  const auto file = store.path_of(1) / "meta.json";
  const auto rewrite = [&](const std::string& from, const std::string& to) {
    on_rank_0([&] {
      std::ifstream stream(file);
      std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
      const auto at = text.find(from);
      ASSERT_NE(at, std::string::npos);
      std::ofstream(file) << text.replace(at, from.size(), to);
    });
  };

  rewrite("depth: 6", "depth: 7");
  EXPECT_EQ(failure_of_load(store, 1), "the description of the checkpoint is damaged");
  rewrite("depth: 7", "depth: 6");
  EXPECT_EQ(failure_of_load(store, 1), "");
  rewrite("\"version\": 1", "\"version\": 2");
  EXPECT_EQ(failure_of_load(store, 1), "the checkpoint has version 2, this program reads version 1");
  rewrite("{", "");
  EXPECT_EQ(failure_of_load(store, 1), "the description of the checkpoint is damaged");
}

// Each kind of damage is found by damage(), which reads everything, with the same words on every rank.
TEST_F(StoreTest, DamageNamesWhatIsDamaged) {
  using Lines = std::vector<std::string>;
  Store store(folder_, ranks_, {10});
  for (std::int64_t step = 1; step <= 6; ++step) save(store, step);
  const auto state_of = [&](std::int64_t step) { return store.path_of(step) / "state.h5"; };
  on_rank_0([&] {
    flip(state_of(1), position_of(state_of(1), values(tensors()[1], 1)) + 9);
    flip(state_of(1), position_of(state_of(1), values(tensors()[3], 1)) + 1);
    std::filesystem::resize_file(state_of(2), 5000);
    std::filesystem::remove(state_of(3));
    std::filesystem::remove(store.path_of(4) / "meta.json");
    flip(store.path_of(5) / "meta.json", 100);
  });

  const auto flipped = store.damage(1);

  ASSERT_EQ(flipped.size(), 2U);
  EXPECT_NE(flipped[0].find("tensor '/model/blocks.0.bias' is damaged: values "), std::string::npos)
      << flipped[0];
  EXPECT_EQ(flipped[1], "tensor '/model/scale' is damaged: values 0 to 0 do not match their checksum");
  ASSERT_EQ(store.damage(2).size(), 1U);
  EXPECT_EQ(store.damage(2)[0].find("state.h5 has 5000 bytes, "), 0U) << store.damage(2)[0];
  ASSERT_EQ(store.damage(3).size(), 1U);
  EXPECT_NE(store.damage(3)[0].find("no readable state.h5"), std::string::npos) << store.damage(3)[0];
  EXPECT_EQ(store.damage(4), Lines{"meta.json is missing"});
  EXPECT_EQ(store.damage(5), Lines{"the description of the checkpoint is damaged"});
  EXPECT_EQ(store.damage(6), Lines{});
  EXPECT_EQ(store.steps(), (std::vector<std::int64_t>{6, 5, 4, 3, 2, 1}));
}

TEST_F(StoreTest, AFolderThatCannotBeMadeFailsOnAllRanks) {
  on_rank_0([&] { std::ofstream(folder_.parent_path() / "file") << "in the way"; });
  Store store(folder_.parent_path() / "file" / "checkpoints", ranks_);

  EXPECT_THROW(save(store, 1), DataError);
}

}  // namespace
}  // namespace cohort::checkpoint
