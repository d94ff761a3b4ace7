#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cohort/method/registry.h"
#include "cohort/nn/image_text.h"

namespace cohort::method {

/// Which texts an image is compared with.
enum class ContrastScope {
  micro_batch,  ///< those of its group, whatever the number of ranks
  global,       ///< those of all images of a step
};
std::span<const config::EnumName<ContrastScope>> enum_names(ContrastScope);

/// The tower of texts.
struct TextTowerOptions {
  std::string field;
  std::filesystem::path weights;
  nn::BertShape shape;
  std::int64_t frozen_layers = 6;
  bool frozen_embeddings = true;

  template <class Visit>
  void fields(Visit& visit) {
    using config::Range;
    visit("field", field, "field of tokens that belongs to the images; empty: the dataset's only one");
    visit("weights", weights,
          "safetensors file of BERT that the tower starts from (published names); empty: random weights");
    visit("positions", shape.positions, "rows of the table of positions", Range<std::int64_t>{2, 1 << 20});
    visit("width", shape.width, "width of a token", Range<std::int64_t>{1, 1 << 16});
    visit("depth", shape.depth, "layers", Range<std::int64_t>{1, 1024});
    visit("heads", shape.heads, "attention heads", Range<std::int64_t>{1, 1024});
    visit("hidden", shape.hidden, "width of the hidden layer of a layer's perceptron",
          Range<std::int64_t>{1, 1 << 20});
    visit("dropout", shape.dropout, "dropout behind embeddings and both branches of a layer",
          Range{0.0, 0.99});
    visit("attention_dropout", shape.attention_dropout, "dropout of attention's weights", Range{0.0, 0.99});
    visit("frozen_layers", frozen_layers, "lower layers that keep their first values",
          Range<std::int64_t>{0, 1024});
    visit("frozen_embeddings", frozen_embeddings, "the embeddings keep their first values");
  }
};

/// What all methods that compare images with texts can be told.
struct ImageTextOptions {
  double temperature = 0.1, image_weight = 0.75;
  std::int64_t hidden = 2048, outputs = 512;
  ContrastScope scope = ContrastScope::micro_batch;
  TextTowerOptions text;

  template <class Visit>
  void fields(Visit& visit) {
    using config::Range;
    visit("temperature", temperature, "divides cosines of images and texts", Range{0.001, 10.0});
    visit("image_weight", image_weight,
          "part of the loss in which images pick their texts; in the rest texts pick their images",
          Range{0.0, 1.0});
    visit("hidden", hidden, "width of the projections' hidden layer", Range<std::int64_t>{1, 1 << 20});
    visit("outputs", outputs, "width of what is compared", Range<std::int64_t>{1, 1 << 20});
    visit("scope", scope,
          "texts that an image is compared with: micro_batch: those of its group; global: all of the step");
    visit.section("text", text, "tower of texts");
  }
};

/// What a method makes of an image's sentences.
enum class SentenceChoice { one, all };
std::span<const config::EnumName<SentenceChoice>> enum_names(SentenceChoice);

/// Losses within an image.
struct LocalOptions {
  double temperature = 0.3, regions_weight = 0.375, sentences_weight = 0.375;
  double threshold = 0.5, beta = 1.0;
  bool weighted = true;
};

/// One of the methods as it was published, and what of it was chosen.
struct ImageTextSettings {
  std::string name;  ///< of the method
  ImageTextOptions common;
  nn::ImageTextShape head;  ///< but for widths
  SentenceChoice sentences = SentenceChoice::one;
  double further_swap = 0;  ///< probability of another swap of all sentences
  double global_weight = 1;
  LocalOptions local{};  ///< of a head with a local part
};

/// The method. Throws UsageError: no tokens, sizes that do not go together.
std::unique_ptr<Method> make_image_text(ImageTextSettings settings, const Materials& materials);

/// Entry::fields of these methods.
std::vector<std::string> fields_of_texts(const ImageTextOptions& options, const std::string& method,
                                         const data::Description& description);

/// Throws UsageError when a group of one image would be compared with itself, or normalised.
void check_groups(const ImageTextOptions& options, bool normalises, const std::string& method,
                  const Surroundings& run, const std::string& where);

}  // namespace cohort::method
