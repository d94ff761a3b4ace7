// Tables as they stand in files, and the refusal to replace files.
#include "jobs/table_file.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#ifdef COHORT_PARQUET
#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#endif

#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "jobs/new_file.h"
#include "support/hdf5.h"
#include "support/temporary_folder.h"

namespace cohort::jobs {
namespace {

using eval::Table;

const std::vector<std::string> kIds{"a/1.png", "a,\"2\".png", "b\n3.png"};
const std::vector<std::string> kHospitals{"Zürich", "=1+1", "NA"};
const std::vector<std::string> kMore{"c/4.png"};

Table small_table() {
  Table table;
  table.rows = 3;
  table.columns = {
      {"id", Table::Texts{kIds}},
      {"split", Table::Same{"test"}},
      {"hospital", Table::Names{at::tensor({1, 0, -1}, at::kInt), kHospitals}},
      {"images", Table::Counts{at::tensor({1, 2, 1 << 20}, at::kLong)}},
      {"probability", Table::Values{at::tensor({0.25F, 0.75F, 0.1F, 0.9F, 1e-9F, 1.0F}).view({3, 2}),
                                    {"probability_x", "probability_=y"}}},
      {"features", Table::Values{at::tensor({1.5F, -2.0F, 3.0F, 4.0F, 5.0F, 6.0F}).view({3, 2}), {}, true}}};
  return table;
}

/// A second split with a row.
Table more() {
  Table table;
  table.rows = 1;
  table.columns = {{"id", Table::Texts{kMore}},
                   {"split", Table::Same{"train"}},
                   {"hospital", Table::Names{at::tensor({2}, at::kInt), kHospitals}},
                   {"images", Table::Counts{at::tensor({7}, at::kLong)}},
                   {"probability", Table::Values{at::tensor({0.5F, 0.5F}).view({1, 2}),
                                                 {"probability_x", "probability_=y"}}},
                   {"features", Table::Values{at::tensor({7.0F, 8.0F}).view({1, 2}), {}, true}}};
  return table;
}

const eval::TableAttributes kAttributes{{"run", "runs/x"}, {"step", std::int64_t{12}}};

class Tables : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, bool quotes_formulas = false) {
    const std::vector<eval::TableBlocks> tables{blocks_of(small_table()), blocks_of(more())};
    write_table(folder.path() / name, kAttributes, tables, quotes_formulas);
    return folder.path() / name;
  }
  testing::TemporaryFolder folder;
};

TEST_F(Tables, CsvIsThatOfRfc4180AndItsAttributesLieBeside) {
  EXPECT_EQ(read_file(write("t.csv")),
            "id,split,hospital,images,probability_x,probability_=y,features_0000,features_0001\n"
            "a/1.png,test,=1+1,1,0.25,0.75,1.5,-2\n"
            "\"a,\"\"2\"\".png\",test,Zürich,2,0.1,0.9,3,4\n"
            "\"b\n3.png\",test,,1048576,1e-09,1,5,6\n"
            "c/4.png,train,NA,7,0.5,0.5,7,8\n");
  EXPECT_EQ(read_file(folder.path() / "t.csv.json"), "{\n  \"run\": \"runs/x\",\n  \"step\": 12\n}\n");
}

TEST_F(Tables, AttributesOfATableThatIsReplacedGoBeforeItDoes) {
  std::filesystem::create_directories(folder.path() / "x.csv" / "in the way");
  const auto attributes = folder.write("x.csv.json", "of another table");

  EXPECT_THROW(write("x.csv"), DataError);

  EXPECT_FALSE(std::filesystem::exists(attributes));
}

TEST_F(Tables, FormulasAreQuotedWhereAskedFor) {
  EXPECT_NE(read_file(write("t.tsv", true)).find("a/1.png\ttest\t'=1+1\t1\t"), std::string::npos);
}

TEST_F(Tables, Hdf5HasADatasetForEachColumn) {
  const std::string where = "t.h5";
  const hdf5::File file = hdf5::open_file(write("t.h5"));
  const auto values = [&](const std::string& name, auto kind, hid_t type) {
    const hdf5::Dataset dataset = hdf5::open_dataset(file.get(), name, where);
    std::size_t count = 1;
    for (const std::int64_t size : hdf5::shape_of(dataset, where)) count *= static_cast<std::size_t>(size);
    std::vector<decltype(kind)> read(count);
    hdf5::check_hdf5(H5Dread(dataset.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, read.data()), "H5Dread",
                     where);
    return read;
  };
  EXPECT_EQ(values("images", std::int64_t{}, H5T_NATIVE_INT64),
            (std::vector<std::int64_t>{1, 2, 1 << 20, 7}));
  EXPECT_EQ(values("features", float{}, H5T_NATIVE_FLOAT), (std::vector<float>{1.5F, -2, 3, 4, 5, 6, 7, 8}));
  const hdf5::Dataset hospital = hdf5::open_dataset(file.get(), "hospital", where);
  const hdf5::Type type(H5Dget_type(hospital.get()));
  ASSERT_EQ(H5Tget_size(type.get()), 7U) << "Zürich in UTF-8";
  std::string texts(28, '?');
  H5Dread(hospital.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, texts.data());
  EXPECT_EQ(texts, std::string("=1+1\0\0\0Zürich\0\0\0\0\0\0\0NA\0\0\0\0\0", 28));
  EXPECT_EQ(hdf5::shape_of(hdf5::open_dataset(file.get(), "probability_columns", where), where),
            std::vector<std::int64_t>{2});
  const hdf5::Attribute step(H5Aopen(file.get(), "step", H5P_DEFAULT));
  std::int64_t number = 0;
  hdf5::check_hdf5(H5Aread(step.get(), H5T_NATIVE_INT64, &number), "H5Aread", where);
  EXPECT_EQ(number, 12);
}

#ifdef COHORT_PARQUET
TEST_F(Tables, ParquetReadsBackWithItsTypesAndAttributes) {
  auto input = arrow::io::ReadableFile::Open(write("t.parquet").string()).ValueOrDie();
  const auto reader = parquet::arrow::OpenFile(input, arrow::default_memory_pool()).ValueOrDie();
  const auto table = reader->ReadTable().ValueOrDie()->CombineChunks().ValueOrDie();
  ASSERT_TRUE(table->ValidateFull().ok());
  EXPECT_EQ(table->schema()->ToString(),
            "id: string\nsplit: string\nhospital: string\nimages: int64 not null\n"
            "probability_x: float not null\nprobability_=y: float not null\n"
            "features: fixed_size_list<element: float not null>[2] not null");
  EXPECT_EQ(table->schema()->metadata()->Get("run").ValueOrDie(), "runs/x");
  EXPECT_EQ(table->schema()->metadata()->Get("step").ValueOrDie(), "12");
  const auto texts = [&](const std::string& name) {
    return std::static_pointer_cast<arrow::StringArray>(table->GetColumnByName(name)->chunk(0));
  };
  EXPECT_EQ(texts("id")->GetString(2), "b\n3.png");
  EXPECT_EQ(texts("hospital")->GetString(1), "Zürich");
  EXPECT_TRUE(texts("hospital")->IsNull(2)) << "a name that is missing";
  EXPECT_EQ(texts("hospital")->GetString(3), "NA") << "a name like any other";
  const auto lists =
      std::static_pointer_cast<arrow::FixedSizeListArray>(table->GetColumnByName("features")->chunk(0));
  EXPECT_EQ(std::static_pointer_cast<arrow::FloatArray>(lists->values())->Value(7), 8.0F);
}

TEST_F(Tables, ParquetIsWrittenInGroupsOfRows) {
  constexpr std::int64_t kRows = 100'000;
  Table large;
  large.rows = kRows;
  large.columns = {{"images", Table::Counts{at::arange(kRows)}},
                   {"features", Table::Values{at::arange(2 * kRows, at::kFloat).view({kRows, 2}), {}, true}}};
  const eval::TableBlocks blocks = blocks_of(large);
  write_table(folder.path() / "large.parquet", {}, std::span(&blocks, 1), false);
  auto input = arrow::io::ReadableFile::Open((folder.path() / "large.parquet").string()).ValueOrDie();
  const auto reader = parquet::arrow::OpenFile(input, arrow::default_memory_pool()).ValueOrDie();
  EXPECT_EQ(reader->num_row_groups(), 2);
  const auto table = reader->ReadTable().ValueOrDie()->CombineChunks().ValueOrDie();
  const auto counts = std::static_pointer_cast<arrow::Int64Array>(table->GetColumnByName("images")->chunk(0));
  EXPECT_EQ(counts->Value(kRows - 1), kRows - 1);
}
#endif

TEST_F(Tables, MeansHaveARowForEachValueThatThereIs) {
  Table table;
  table.rows = 4;
  const std::vector<std::string> plates{"p", "q"}, wells{"A1", "A2", "A3"};
  table.columns = {{"id", Table::Same{"unused"}},
                   {"plate", Table::Names{at::tensor({0, 1, 1, 1}, at::kInt), plates}},
                   {"well", Table::Names{at::tensor({2, 0, 2, -1}, at::kInt), wells}},
                   {"features", Table::Values{at::tensor({1.0F, 2.0F, 4.0F, 8.0F}).view({4, 1}), {}, true}}};

  const Table means = mean_by(blocks_of(table), "well");

  ASSERT_EQ(means.rows, 2);
  EXPECT_EQ(means.columns[0].name, "well");
  EXPECT_EQ(text_in(means.columns[0], 0), "A1");
  EXPECT_EQ(text_in(means.columns[0], 1), "A3");
  EXPECT_TRUE(
      at::equal(std::get<Table::Counts>(means.columns[1].content).values, at::tensor({1, 2}, at::kLong)));
  EXPECT_EQ(means.columns[3].name, "plate");
  EXPECT_EQ(text_in(means.columns[3], 0), "q");
  EXPECT_EQ(text_in(means.columns[3], 1), "") << "of several plates";
  EXPECT_TRUE(at::equal(std::get<Table::Values>(means.columns[4].content).values,
                        at::tensor({2.0F, 2.5F}).view({2, 1})));
  EXPECT_THROW(mean_by(blocks_of(table), "wel"), UsageError);
}

TEST_F(Tables, AnEndingThatIsNoneIsRefusedWithTheNearest) {
  try {
    table_format("x.parqet");
    FAIL() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_NE(error.text().fix.find("'.parquet'"), std::string::npos) << error.what();
  }
  EXPECT_EQ(table_format("X.CSV"), TableFormat::csv);
  EXPECT_EQ(files_of_table("x.csv").size(), 2U) << "attributes are beside";
}

TEST_F(Tables, WhatIsThereIsNotReplacedUnlessAskedFor) {
  const auto there = folder.write("there.csv", "mine");
  EXPECT_NO_THROW(refuse_existing({folder.path() / "new.csv", ""}, false));
  EXPECT_NO_THROW(refuse_existing({there}, true));
  EXPECT_THROW(refuse_existing({folder.path() / "new.csv", there}, false), UsageError);
}

}  // namespace
}  // namespace cohort::jobs
