// A method's tower of texts from a published file: its values are those of the file, and what rules freeze is
// not trained. That the file is not there is one error.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/error.h"
#include "cohort/nn/bert.h"
#include "cohort/nn/initialise.h"
#include "cohort/train/model.h"

#include "support/options.h"
#include "support/temporary_folder.h"

namespace cohort::train {
namespace {

RunConfig lovt_of_shapes(const std::vector<std::string>& more) {
  RunConfig config;
  const auto data = std::filesystem::path(COHORT_TEST_DATA) / "data" / "shapes";
  testing::set_options(
      config, {"data.path=" + data.string(), "method=lovt", "model.name=vit_tiny", "model.patch_size=8",
               "model.width=24", "model.depth=1", "model.heads=3", "lovt.hidden=16", "lovt.outputs=8",
               "lovt.text.width=16", "lovt.text.depth=2", "lovt.text.heads=2", "lovt.text.hidden=16",
               "lovt.text.positions=64", "lovt.text.frozen_layers=1"});
  testing::set_options(config, more);
  return config;
}

std::unique_ptr<method::Method> built(const RunConfig& config) {
  auto method = build_method(config, data::Description::read(config.data.path), {});
  nn::initialise(*method->parts().front().model, /*seed=*/3);
  return method;
}

TEST(TextWeights, AreThoseOfAPublishedFile) {
  const testing::TemporaryFolder folder;
  const std::filesystem::path file = folder.path() / "bert.safetensors";
  const data::Description description = data::Description::read(lovt_of_shapes({}).data.path);
  nn::Bert stored({.vocabulary = description.field("text_tokens").tokenization->size,
                   .positions = 64,
                   .width = 16,
                   .depth = 2,
                   .heads = 2,
                   .hidden = 16});
  nn::initialise(stored, /*seed=*/99);
  checkpoint::Safetensors content;
  for (const auto& [name, values] : nn::named_values(stored))
    content.tensors.emplace_back("bert." + name, values);
  checkpoint::write_safetensors(file, content);

  const auto method = built(lovt_of_shapes({"lovt.text.weights=" + file.string()}));

  const auto parameters = method->parts().front().model->named_parameters();
  for (const auto& [name, values] : nn::named_values(stored))
    EXPECT_TRUE(at::equal(parameters["text." + name], values)) << name;
}

TEST(TextWeights, OfFrozenLayersAreNotTrained) {
  const auto method = built(lovt_of_shapes({}));
  for (const auto& parameter : method->parts().front().model->named_parameters()) {
    const bool is_frozen = parameter.key().starts_with("text.embeddings.") ||
                           parameter.key().starts_with("text.encoder.layer.0.");
    EXPECT_EQ(parameter.value().requires_grad(), !is_frozen) << parameter.key();
  }
}

TEST(TextWeights, ThatAreNotThereAreRefused) {
  EXPECT_THROW((void)built(lovt_of_shapes({"lovt.text.weights=/nowhere/bert.safetensors"})), DataError);
  EXPECT_THROW((void)built(lovt_of_shapes({"lovt.text.frozen_layers=3"})), UsageError);
  EXPECT_THROW((void)built(lovt_of_shapes({"lovt.text.positions=63"})), UsageError);
  EXPECT_THROW((void)built(lovt_of_shapes({"lovt.text.heads=3"})), UsageError);
  EXPECT_THROW((void)built(lovt_of_shapes({"lovt.text.field=text"})), UsageError);
}

}  // namespace
}  // namespace cohort::train
