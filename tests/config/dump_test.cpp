#include <gtest/gtest.h>

#include "cohort/config/load.h"
#include "cohort/core/random.h"

#include "../support/temporary_folder.h"
#include "example_options.h"

namespace cohort::config {
namespace {

using cohort::testing::TemporaryFolder;

constexpr const char* kDumped = R"(name: vit
seed: 1
depth: 12
reproducible: false
colour: red
image_size: []
data:
  path: ""
  loader:
    cache: 64MiB
    timeout: 10min
  contexts: [module, "wafer, \"type\""]
optimizer:
  lr: 0.0005
  betas: [0.9, 0.999]
  warmup: 0
)";

TEST(Dump, IsNestedYaml) {
  ExampleOptions options;
  Fields fields(options);
  override_with(std::vector<std::string>{"depth=12", R"(data.contexts=[module, 'wafer, "type"'])"}, fields);

  EXPECT_EQ(dump(fields, false), kDumped);
}

TEST(Dump, TellsOrigins) {
  const TemporaryFolder folder;
  ExampleOptions options;
  Fields fields(options);
  const auto file = folder.write("run.yaml", "optimizer:\n  lr: 1\n");
  load(file, fields);
  override_with(std::vector<std::string>{"depth=12"}, fields);

  const std::string text = dump(fields, true);

  EXPECT_NE(text.find("depth: 12  # from command line\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  lr: 1  # from " + file.string() + ":2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("seed: 1  # default\n"), std::string::npos) << text;
}

/// Text with quotes, backslashes, control characters, YAML syntax, UTF-8 and words that YAML gives a meaning.
std::string random_text(RandomStream& random) {
  static const std::vector<std::string> pieces{
      "a", "Z", "0",    " ",    "\"",  "'", "\\", "\n", "\t",   ":",    ": ", "#", " #",
      "-", "[", "]",    "{",    "}",   ",", "&",  "*",  "!",    "|",    ">",  "%", "@",
      "`", "~", "null", "true", "1e5", "ä", "…",  "日", "\x01", "\x7f", "?",  "="};
  std::string text;
  for (auto left = random.below(6); left > 0; --left) text += pieces[random.below(pieces.size())];
  return text;
}

TEST(Dump, ReadsBackToTheSameValues) {
  const TemporaryFolder folder;
  RandomStream random(RandomKey{.seed = 11});
  for (int i = 0; i < 300; ++i) {
    ExampleOptions written;
    written.name = random_text(random);
    written.data.path = random_text(random);
    written.data.contexts = {random_text(random), random_text(random)};
    written.seed = random.below(UINT64_MAX);
    written.optimizer.lr = random.uniform(0.0, 10.0);
    written.colour = random.below(2) == 0 ? Colour::red : Colour::green;
    const std::string text = dump(Fields(written), i % 2 == 0);

    ExampleOptions read;
    Fields fields(read);
    load(folder.write("run.yaml", text), fields);

    EXPECT_EQ(dump(fields, false), dump(Fields(written), false)) << text;
    EXPECT_EQ(read.name, written.name);
    EXPECT_EQ(read.data.contexts, written.data.contexts);
    EXPECT_EQ(read.data.path, written.data.path);
  }
}

TEST(Help, ShowsEveryOptionOnce) {
  ExampleOptions options;

  EXPECT_EQ(help(Fields(options)), R"(General
  name                 text; default vit
                       what the run is called
  seed                 integer; default 1
                       key of every random number
  depth                integer, 1 … 48; default 6
                       number of blocks
  reproducible         true or false; default false
                       equal bits on any number of ranks
  colour               one of red, green; default red
                       of the curve
  image_size           list of integers; default []
                       height and width

data: what is learnt from
  data.path            path; default ""
                       folder of the dataset
  data.contexts        list of texts; default [module]
                       keys that group images | in order

data.loader: reading ahead
  data.loader.cache    bytes, at least 1KiB; default 64MiB
                       memory for blocks
  data.loader.timeout  duration, 1s … 1d; default 10min
                       longest wait

optimizer: how weights move
  optimizer.lr         number, 0 … 10; default 0.0005
                       peak learning rate
  optimizer.betas      list of numbers, 0 … 1; default [0.9, 0.999]
                       decay of the moments
  optimizer.warmup     integer, at least 0; default 0
                       steps of linear increase
)");
}

TEST(Markdown, HasATableForEachSection) {
  ExampleOptions options;

  const std::string text = markdown(Fields(options));

  EXPECT_TRUE(
      text.starts_with("## General\n\n"
                       "| key | type | default | accepted | description |\n"
                       "| --- | --- | --- | --- | --- |\n"
                       "| `name` | text | `vit` |  | what the run is called |\n"))
      << text;
  EXPECT_NE(text.find("\n## data.loader\n\nreading ahead\n\n| key |"), std::string::npos) << text;
  EXPECT_NE(
      text.find(
          "| `data.contexts` | list of texts | `[module]` |  | keys that group images \\| in order |\n"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find("| `depth` | integer | `6` | 1 … 48 | number of blocks |\n"), std::string::npos)
      << text;
}

}  // namespace
}  // namespace cohort::config
