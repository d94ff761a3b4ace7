#include "cohort/config/load.h"

#include <functional>

#include <gtest/gtest.h>

#include "cohort/config/recipes.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "../support/temporary_folder.h"
#include "example_options.h"

namespace cohort::config {
namespace {

using Texts = std::vector<std::string>;

class Load : public ::testing::Test {
 protected:
  void read(const std::string& yaml) { load(folder.write("run.yaml", yaml), fields); }
  void override_all(const Texts& assignments) { override_with(assignments, fields); }

  /// The error's text, its paths relative to the folder of the test.
  Error::Text refusal(const std::function<void()>& action) {
    try {
      action();
    } catch (const UsageError& error) {
      return {relative(error.text().what), relative(error.text().where), relative(error.text().fix)};
    }
    ADD_FAILURE() << "nothing was refused";
    return {};
  }
  Error::Text refused_yaml(const std::string& yaml) {
    return refusal([&] { read(yaml); });
  }
  Error::Text refused_override(const std::string& assignment) {
    return refusal([&] { override_all({assignment}); });
  }
  std::string relative(std::string text) const {
    const std::string prefix = folder.path().string() + "/";
    for (std::size_t at = 0; (at = text.find(prefix, at)) != std::string::npos;)
      text.erase(at, prefix.size());
    return text;
  }

  cohort::testing::TemporaryFolder folder;
  ExampleOptions options;
  Fields fields{options};
};

void expect_text(const Error::Text& text, const std::string& what, const std::string& where,
                 const std::string& fix) {
  EXPECT_EQ(text.what, what);
  EXPECT_EQ(text.where, where);
  EXPECT_EQ(text.fix, fix);
}

TEST_F(Load, ReadsEveryType) {
  read(R"(
name: "ViT: small"
seed: 18446744073709551615
depth: 12
reproducible: true
colour: green
image_size: [64, 48]
data:
  path: data/elpv
  loader: {cache: 1GB, timeout: 10min}
  contexts: [module, 'wafer, type']
optimizer:
  lr: 1e-3
  betas: [0.9, .95]
)");

  EXPECT_EQ(options.name, "ViT: small");
  EXPECT_EQ(options.seed, UINT64_MAX);
  EXPECT_EQ(options.depth, 12);
  EXPECT_TRUE(options.reproducible);
  EXPECT_EQ(options.colour, Colour::green);
  EXPECT_EQ(options.image_size, (std::vector<std::int64_t>{64, 48}));
  EXPECT_EQ(options.data.path, "data/elpv");
  EXPECT_EQ(options.data.loader.cache.count, 1'000'000'000U);
  EXPECT_EQ(options.data.loader.timeout, std::chrono::minutes(10));
  EXPECT_EQ(options.data.contexts, (Texts{"module", "wafer, type"}));
  EXPECT_EQ(options.optimizer.lr, 1e-3);
  EXPECT_EQ(options.optimizer.betas, (std::vector<double>{0.9, 0.95}));
}

TEST_F(Load, KeepsDefaultsOfKeysLeftOutAndRecordsOrigins) {
  read("# a comment\ndepth: 3\n");
  override_all({"seed=7"});

  EXPECT_EQ(options.name, "vit");
  EXPECT_EQ(fields.find("name")->origin, "default");
  EXPECT_EQ(relative(fields.find("depth")->origin), "run.yaml:2");
  EXPECT_EQ(fields.find("seed")->origin, "command line");
}

TEST_F(Load, EmptyFilesAndEmptySectionsAreFine) {
  read("");
  read("# nothing\n");
  read("---\noptimizer:\n#  lr: 1\ndepth: 2\n");

  EXPECT_EQ(options.depth, 2);
  EXPECT_EQ(options.optimizer.lr, 5e-4);
}

TEST_F(Load, DottedKeysEqualNestedOnes) {
  read("optimizer.lr: 2\ndata.loader: {timeout: 2h}\ndata.loader.cache: 2KiB\n");

  EXPECT_EQ(options.optimizer.lr, 2.0);
  EXPECT_EQ(options.data.loader.timeout, std::chrono::hours(2));
  EXPECT_EQ(options.data.loader.cache.count, 2048U);
}

TEST_F(Load, DefaultsAreReadFirstRelativeToTheFile) {
  folder.write("base.yaml", "depth: 1\nname: base\noptimizer: {lr: 1, betas: [0.1, 0.2]}\n");
  folder.write("sub/other.yaml", "defaults: [../base.yaml]\nname: other\n");
  const auto file =
      folder.write("sub/run.yaml", "depth: 4\noptimizer.betas: [0.5]\ndefaults: [other.yaml]\n");

  load(file, fields);

  EXPECT_EQ(options.depth, 4);
  EXPECT_EQ(options.name, "other");
  EXPECT_EQ(options.optimizer.lr, 1.0);
  EXPECT_EQ(options.optimizer.betas, std::vector<double>{0.5});
  EXPECT_EQ(relative(fields.find("optimizer.lr")->origin), "base.yaml:3");
}

// Each file reads the next one twice.
TEST_F(Load, DefaultsThatDoubleEnd) {
  folder.write("f30.yaml", "depth: 1\n");
  for (int i = 0; i < 30; ++i)
    folder.write(fmt::format("f{}.yaml", i), fmt::format("defaults: [f{0}.yaml, f{0}.yaml]\n", i + 1));

  try {
    load(folder.path() / "f0.yaml", fields);
    FAIL() << "a thousand million files were read";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.text().what, "the defaults read more than 1000 files");
  }
}

TEST_F(Load, LaterDefaultsWin) {
  folder.write("a.yaml", "depth: 1\nname: a\n");
  folder.write("b.yaml", "depth: 2\n");

  read("defaults: [a.yaml, b.yaml]\n");

  EXPECT_EQ(options.depth, 2);
  EXPECT_EQ(options.name, "a");
}

TEST_F(Load, RefusesACycleOfDefaults) {
  folder.write("a.yaml", "defaults: b.yaml\n");
  folder.write("b.yaml", "depth: 1\ndefaults: [a.yaml]\n");

  expect_text(refused_yaml("defaults: [a.yaml]\n"), "the defaults form a cycle: a.yaml → b.yaml → a.yaml",
              "b.yaml:2", "remove one of these files from a 'defaults' list");
  expect_text(refused_yaml("defaults: [run.yaml]\n"), "the defaults form a cycle: run.yaml → run.yaml",
              "run.yaml:1", "remove one of these files from a 'defaults' list");
}

TEST_F(Load, RefusesBadDefaults) {
  expect_text(refused_yaml("depth: 1\ndefaults: {a: b}\n"), "'defaults' must be a list of files",
              "run.yaml:2", "for example defaults: [../base.yaml]");
  expect_text(refused_yaml("defaults: [[a]]\n"), "'defaults' must be a list of files", "run.yaml:1",
              "for example defaults: [../base.yaml]");
  expect_text(refused_yaml("defaults: [none.yaml]\n"),
              "'defaults' names a file that does not exist: none.yaml", "run.yaml:1",
              "names are relative to the file that they stand in");
  expect_text(refused_yaml("defaults: []\ndefaults: []\n"), "'defaults' is given twice",
              "run.yaml:2 and line 1", "keep one of the two");
}

TEST_F(Load, RefusesUnknownKeysWithTheNearestOne) {
  expect_text(refused_yaml("depth: 1\noptimiser.lr: 1\n"), "unknown key 'optimiser.lr'", "run.yaml:2",
              "did you mean 'optimizer.lr'?");
  expect_text(refused_yaml("optimizer:\n  betas: [0.9]\n  lrr: 1\n"), "unknown key 'optimizer.lrr'",
              "run.yaml:3", "did you mean 'optimizer.lr'?");
  expect_text(refused_yaml("\noptimiser:\n  lr: 1\n"), "unknown key 'optimiser'", "run.yaml:2",
              "did you mean 'optimizer'?");
  expect_text(refused_yaml("lr: 1\n"), "unknown key 'lr'", "run.yaml:1", "did you mean 'optimizer.lr'?");
  expect_text(refused_yaml("zzzzzzzzz: 1\n"), "unknown key 'zzzzzzzzz'", "run.yaml:1",
              "known: name, seed, depth, reproducible, colour, image_size, data.path, data.loader.cache, "
              "data.loader.timeout, "
              "data.contexts, optimizer.lr, optimizer.betas …");
  EXPECT_EQ(refused_yaml("data: {defaults: [a.yaml]}\n").what, "unknown key 'data.defaults'");
}

TEST_F(Load, RefusesKeysGivenTwice) {
  expect_text(refused_yaml("depth: 1\nname: a\ndepth: 2\n"), "'depth' is given twice",
              "run.yaml:3 and line 1", "keep one of the two");
  expect_text(refused_yaml("optimizer: {lr: 1}\noptimizer.lr: 2\n"), "'optimizer.lr' is given twice",
              "run.yaml:2 and line 1", "keep one of the two");
  expect_text(refused_yaml("optimizer:\n  lr: 1\noptimizer:\n  betas: []\n"), "'optimizer' is given twice",
              "run.yaml:3 and line 1", "keep one of the two");
}

TEST_F(Load, RefusesValuesOfTheWrongType) {
  expect_text(refused_yaml("name: x\ndepth: six\n"), "depth must be an integer, not 'six'", "run.yaml:2",
              "accepted: 1 … 48");
  expect_text(refused_yaml("image_size: [64, x]\n"), "image_size must be an integer, not '[64, x]'",
              "run.yaml:1", "for example image_size: []");
  expect_text(refused_yaml("depth: 99999999999\n"),
              "depth must be an integer in -2147483648 … 2147483647, not '99999999999'", "run.yaml:1",
              "accepted: 1 … 48");
  expect_text(refused_yaml("seed: -1\n"), "seed must be an integer in 0 … 18446744073709551615, not '-1'",
              "run.yaml:1", "for example seed: 1");
  expect_text(refused_yaml("reproducible: yes\n"), "reproducible must be true or false, not 'yes'",
              "run.yaml:1", "for example reproducible: false");
  expect_text(refused_yaml("optimizer.lr: fast\n"), "optimizer.lr must be a number, not 'fast'", "run.yaml:1",
              "accepted: 0 … 10");
  expect_text(refused_yaml("data.loader.timeout: 30\n"),
              "data.loader.timeout must be a duration such as 30s, 10min or 12h, not '30'", "run.yaml:1",
              "accepted: 1s … 1d");
  expect_text(refused_yaml("data.loader.cache: 64 MiBs\n"),
              "data.loader.cache must be a size such as 64MiB, 1GB or 4096, not '64 MiBs'", "run.yaml:1",
              "accepted: at least 1KiB");
  expect_text(refused_yaml("colour: grene\n"), "colour must be one of green, red, not 'grene'", "run.yaml:1",
              "did you mean 'green'?");
}

TEST_F(Load, RefusesValuesOutOfRange) {
  expect_text(refused_yaml("depth: 49\n"), "depth must be a value in 1 … 48, not '49'", "run.yaml:1",
              "accepted: 1 … 48");
  expect_text(refused_yaml("optimizer.lr: -1e-9\n"), "optimizer.lr must be a value in 0 … 10, not '-1e-9'",
              "run.yaml:1", "accepted: 0 … 10");
  expect_text(refused_yaml("optimizer.betas: [0.9, 1.1]\n"),
              "optimizer.betas must be a value in 0 … 1, not '[0.9, 1.1]'", "run.yaml:1", "accepted: 0 … 1");
  expect_text(refused_yaml("optimizer.warmup: -1\n"), "optimizer.warmup must be at least 0, not '-1'",
              "run.yaml:1", "accepted: at least 0");
  expect_text(refused_yaml("data.loader.timeout: 25h\n"),
              "data.loader.timeout must be a value in 1s … 1d, not '25h'", "run.yaml:1", "accepted: 1s … 1d");
  EXPECT_EQ(options.depth, 6) << "a refused value must not be stored";
}

TEST_F(Load, RefusesSectionsOptionsAndListsMixedUp) {
  expect_text(refused_yaml("optimizer: 3\n"), "'optimizer' is a section, not an option", "run.yaml:1",
              "set the options in it, for example optimizer.lr");
  expect_text(refused_yaml("depth: {a: 1}\n"), "depth is an option (integer), not a section", "run.yaml:1",
              "for example depth: 6");
  expect_text(refused_yaml("depth: [1]\n"), "depth must be one value, not a list", "run.yaml:1",
              "remove the brackets");
  expect_text(refused_yaml("data:\n  contexts: module\n"),
              "data.contexts must be a list of texts, not 'module'", "run.yaml:2", "write [module]");
  expect_text(refused_yaml("data.contexts: [[a]]\n"), "an element of data.contexts is not a single value",
              "run.yaml:1", "data.contexts is a list of texts; quote text with special characters");
}

TEST_F(Load, RefusesOptionsWithoutValue) {
  expect_text(refused_yaml("depth: 2\noptimizer:\n  lr:\n"), "optimizer.lr has no value", "run.yaml:3",
              "write a value, or remove the line to use 0.0005");
  EXPECT_EQ(refused_yaml("name: ~\n").what, "name has no value");
  EXPECT_EQ(refused_yaml("data.contexts: null\n").what, "data.contexts has no value");
}

TEST_F(Load, RefusesWhatIsNoConfiguration) {
  expect_text(refused_yaml("- a\n- b\n"), "a configuration consists of lines 'key: value'", "run.yaml:1",
              "see --help config for the keys");
  expect_text(refused_yaml("depth: 1\n---\ndepth: 2\n"), "the file holds several YAML documents",
              "run.yaml:2", "remove the lines '---' between them");
  expect_text(refused_yaml("[a, b]: 1\n"), "a key must be text", "run.yaml:1",
              "write 'key: value'; quote keys and values with brackets");
  expect_text(refused_yaml(",depth: 1\n"), "this is not YAML: unexpected character", "run.yaml:1",
              "check indentation, quotes and brackets there and in the line above");
  const Error::Text syntax = refused_yaml("depth: 1\nname: [a\n");
  EXPECT_TRUE(syntax.what.starts_with("this is not YAML: ")) << syntax.what;
  EXPECT_EQ(syntax.where, "run.yaml:3");
  EXPECT_EQ(syntax.fix, "check indentation, quotes and brackets there and in the line above");
}

TEST_F(Load, RefusesAFileThatCannotBeRead) {
  expect_text(refusal([&] { load(folder.path() / "none.yaml", fields); }),
              "cannot read the file: No such file or directory", "none.yaml", "check the path");
}

TEST_F(Load, RefusesWhatHasNoEnd) {
  expect_text(refusal([&] { load("/dev/zero", fields); }), "not a regular file, but a device", "/dev/zero",
              "remove it, or put in its place what it stands for");
  const auto large = folder.write("large.yaml", "");
  std::filesystem::resize_file(large, kMostSettings + 1);
  expect_text(refusal([&] { load(large, fields); }), "the file is larger than 4.0 MiB, the most that is read",
              "large.yaml", "check that it is the file that was meant");
}

TEST_F(Load, AnAliasOfItsOwnSectionEnds) {
  EXPECT_EQ(refused_yaml("data: &a\n  loader: *a\n").what, "unknown key 'data.loader.loader'");
}

TEST_F(Load, OverridesEveryType) {
  override_all({"name=a=b", "depth=2", "image_size=[8, 16]", "data.contexts=a, b", "optimizer.betas=[]",
                "colour=green", "data.path=", "data.loader.timeout=90s"});

  EXPECT_EQ(options.name, "a=b");
  EXPECT_EQ(options.depth, 2);
  EXPECT_EQ(options.image_size, (std::vector<std::int64_t>{8, 16}));
  EXPECT_EQ(options.data.contexts, (Texts{"a", "b"}));
  EXPECT_TRUE(options.optimizer.betas.empty());
  EXPECT_EQ(options.colour, Colour::green);
  EXPECT_EQ(options.data.path, "");
  EXPECT_EQ(options.data.loader.timeout, std::chrono::seconds(90));
}

TEST_F(Load, TheLastOverrideWins) {
  override_all({"data.contexts=['x, y']", "depth=2", "depth=3"});

  EXPECT_EQ(options.depth, 3);
  EXPECT_EQ(options.data.contexts, Texts{"x, y"});
}

TEST_F(Load, RefusesBadOverrides) {
  expect_text(refused_override("optimizer.lr"), "an override must read key=value, not 'optimizer.lr'",
              "command line", "for example optimizer.lr=0.0005");
  expect_text(refused_override("=3"), "an override must read key=value, not '=3'", "command line",
              "for example name=vit");
  expect_text(refused_override("optimiser.lr=1"), "unknown key 'optimiser.lr'", "command line",
              "did you mean 'optimizer.lr'?");
  expect_text(refused_override("optimizer=1"), "'optimizer' is a section, not an option", "command line",
              "set the options in it, for example optimizer.lr");
  expect_text(refused_override("depth=0"), "depth must be a value in 1 … 48, not '0'", "command line",
              "accepted: 1 … 48");
  expect_text(refused_override("image_size=8,,8"), "image_size must be a list of integers, not '8,,8'",
              "command line", "write image_size=[x,y] or image_size=x,y; an empty list is image_size=[]");
  EXPECT_EQ(refused_override("image_size=").what, "image_size must be a list of integers, not ''");
  EXPECT_EQ(refused_override("image_size=[a: b, {]").what,
            "image_size must be a list of integers, not '[a: b, {]'");
  EXPECT_EQ(refused_override("image_size=[[1]]").what, "image_size must be a list of integers, not '[[1]]'");
}

struct Twice {
  int depth = 1;
  template <class Visit>
  void fields(Visit& visit) {
    visit("depth", depth, "first");
    visit("depth", depth, "second");
  }
};

TEST(FieldsTest, TwoOptionsOfOneNameAreABug) {
  Twice options;

  EXPECT_THROW(Fields{options}, Bug);
}

TEST(Recipes, AreFoundByNameUnlessThereIsSuchAFile) {
  const testing::TemporaryFolder folder;
  const auto dino = folder.write("small/dino.yaml", "# Without labels.\nseed: 1\n");
  const auto plain = folder.write("plain.yaml", "seed: 1\n");
  folder.write("small/notes.txt", "none");

  const std::vector<Recipe> all = recipes(folder.path());

  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].name, "plain");
  EXPECT_EQ(all[0].about, "");
  EXPECT_EQ(all[1].name, "small/dino");
  EXPECT_EQ(all[1].about, "Without labels.");
  EXPECT_EQ(find_config("small/dino", folder.path()), dino);
  EXPECT_EQ(find_config("small/dino.yaml", folder.path()), dino);
  EXPECT_EQ(find_config(plain, folder.path() / "none"), plain);
  EXPECT_TRUE(recipes(folder.path() / "none").empty());
}

TEST(Recipes, UnknownNamesAreRefusedWithTheLikeliest) {
  const testing::TemporaryFolder folder;
  folder.write("small/dino.yaml", "");
  folder.write("method/dino.yaml", "");
  const auto refusal = [&](const char* name) -> std::string {
    try {
      return find_config(name, folder.path()).string();
    } catch (const UsageError& error) {
      return error.what();
    }
  };

  EXPECT_NE(refusal("smal/dnio").find("did you mean 'small/dino'?"), std::string::npos)
      << refusal("smal/dnio");
  EXPECT_NE(refusal("dino").find("did you mean 'method/dino' or 'small/dino'?"), std::string::npos)
      << refusal("dino");
}

}  // namespace
}  // namespace cohort::config
