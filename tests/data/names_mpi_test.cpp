// What names of others may do: in a terminal, in tables, and as names of files.
#include "data/files_of_others.h"

namespace cohort::data_prep {
namespace {

TEST_F(Others, NamesDoNotSteerTheTerminal) {
  alone([&] {
    for (const char* folder : {"\x1b[31mred", "two\nlines"})
      testing::write_png(path("p") / folder / "\x1b[2J.png", 2, 2, 1, {1, 2, 3, 4});
    testing::write_png(path("p") / std::string(250, 'x') / "0.png", 2, 2, 1, {1, 2, 3, 4});
  });
  std::string text = printed("convert images {0}/p --layout context --out {0}/d");
  text += printed("inspect {0}/d --all-contexts --contact-sheets {0}/sheets");
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
  if (world_.rank() == 0) {
    EXPECT_NE(text.find("\\x1b[31mred"), std::string::npos) << text;
    EXPECT_NE(text.find("two\\nlines"), std::string::npos) << text;
    EXPECT_NE(text.find("3 contact sheets"), std::string::npos) << text;
  }
}

TEST_F(Others, SheetsOfContextsThatBecomeOneNameAreTold) {
  write("list.csv", "path,site,id\na.png,A,0\na.png,a,1\na.png,x/y,2\na.png,x_y,3\n");
  alone([&] { testing::write_png(path("a.png"), 2, 2, 1, {1, 2, 3, 4}); });
  ASSERT_EQ(in_folder("convert manifest {0}/list.csv --id id --context site --out {0}/d"), ExitCode::done);
  ASSERT_EQ(in_folder("inspect {0}/d --contact-sheets {0}/sheets"), ExitCode::done);
  world_.barrier();
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path("sheets"))) {
    std::string name = entry.path().filename().string();
    for (char& c : name) c = static_cast<char>(std::tolower(c));
    names.insert(name);
  }
  EXPECT_EQ(names.size(), 4U) << "also on a disk that takes A and a for the same";
}

TEST_F(Others, FormulasAreQuotedOnRequest) {
  alone([&] { testing::write_png(path("p/=1+1/0.png"), 2, 2, 1, {1, 2, 3, 4}); });
  ASSERT_EQ(in_folder("convert images {0}/p --layout context:site --out {0}/d"), ExitCode::done);
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(in_folder("export {0}/d --out {0}/plain"), ExitCode::done);
  const std::string warning = ::testing::internal::GetCapturedStderr();
  ASSERT_EQ(in_folder("export {0}/d --quote-formulas --out {0}/quoted"), ExitCode::done);
  EXPECT_EQ(warning.find("--quote-formulas") != std::string::npos, world_.rank() == 0) << warning;
  EXPECT_NE(read_file(path("plain/images.csv")).find(",=1+1\n"), std::string::npos);
  EXPECT_NE(read_file(path("quoted/images.csv")).find(",'=1+1\n"), std::string::npos);
}

TEST_F(Others, ImagesThatWouldBeOneFileAreNotExported) {
  write("list.csv", "path,id\n0.png,x\n1.png,x.png\n");
  alone([&] {
    for (int i = 0; i < 2; ++i) testing::write_png(path(fmt::format("{}.png", i)), 2, 2, 1, {1, 2, 3, 4});
  });
  ASSERT_EQ(in_folder("convert manifest {0}/list.csv --id id --out {0}/d"), ExitCode::done);
  const std::string message = refused("export {0}/d --out {0}/e");
  EXPECT_NE(message.find("two images would be the file 'train/x.png'"), std::string::npos) << message;
  EXPECT_NE(message.find("ids 'x' and 'x.png'"), std::string::npos) << message;
}

}  // namespace
}  // namespace cohort::data_prep
