#include "jobs/site.h"

#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "cohort/core/error.h"

#include "support/temporary_folder.h"

namespace cohort::jobs {
namespace {

std::string refusal(const std::string& content) {
  const testing::TemporaryFolder folder;
  try {
    load_site(folder.write("site.yaml", content));
  } catch (const UsageError& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(Site, WithoutAFileHasDefaults) {
  const SiteConfig site = load_site("");

  EXPECT_EQ(site.launcher, Launcher::srun);
  EXPECT_EQ(site.mpi, "pmix");
}

TEST(Site, TheTemplateNamesEverySettingAndChangesNone) {
  const std::filesystem::path file = std::filesystem::path(COHORT_TEST_DATA) / ".." / "slurm" / "site.yaml";
  SiteConfig site, defaults;
  config::Fields expected(defaults);
  site = load_site(file);
  config::Fields read(site);

  for (const config::Field& field : expected.list())
    EXPECT_EQ(read.find(field.key)->get(), field.get()) << field.key;
  std::ifstream stream(file);
  const std::string text(std::istreambuf_iterator<char>(stream), {});
  for (const config::Field& field : expected.list())
    EXPECT_NE(text.find("\n" + field.key + ":"), std::string::npos) << field.key;
}

TEST(Site, RefusesUnknownSettingsWithTheNearestOne) {
  const std::string text = refusal("acount: me\n");

  EXPECT_NE(text.find("unknown key 'acount'"), std::string::npos) << text;
  EXPECT_NE(text.find("did you mean 'account'"), std::string::npos) << text;
}

TEST(Site, RefusesWhatIsNoVariableAndNoOption) {
  for (const char* bad : {"environment: [A]", "environment: ['=1']", "environment: ['A B=1']",
                          "environment: ['$(x)=1']", "environment: ['1A=2']"})
    EXPECT_NE(refusal(bad).find("is not NAME=VALUE"), std::string::npos) << bad;
  EXPECT_NE(refusal("sbatch: [exclusive]").find("is no option of sbatch"), std::string::npos);
  EXPECT_NE(refusal("launcher: sruun").find("srun"), std::string::npos);
}

}  // namespace
}  // namespace cohort::jobs
