#include "method/image_text.h"

namespace cohort::method {
namespace {

// LoVT (Mueller et al., arXiv 2112.02889): images are compared with texts, and regions with sentences;
// docs/methods.md.
struct LovtOptions {
  ImageTextOptions common;
  LocalOptions local;
  std::int64_t heads = 8;
  double global_weight = 1, further_swap = 0.6;
  bool attention_pooling = true;
  SentenceChoice sentences = SentenceChoice::all;
  nn::PoolDivisor pool_divisor = nn::PoolDivisor::valid;
  nn::NormPadding norm_padding = nn::NormPadding::include;

  template <class Visit>
  void fields(Visit& visit) {
    using config::Range;
    common.fields(visit);
    visit("heads", heads, "heads of the attention that pools regions and sentences",
          Range<std::int64_t>{1, 1024});
    visit("global_weight", global_weight, "factor of the loss of whole images and texts", Range{0.0, 1e6});
    visit("regions_weight", local.regions_weight, "factor of both losses between regions", Range{0.0, 1e6});
    visit("sentences_weight", local.sentences_weight, "factor of both losses between sentences",
          Range{0.0, 1e6});
    visit("local_temperature", local.temperature, "divides cosines of regions, and of sentences",
          Range{0.001, 10.0});
    visit(
        "threshold", local.threshold,
        "regions that are hits of a region: those at most so far, in parts of the map's diagonal; 0: itself",
        Range{0.0, 1.0});
    visit("beta", local.beta, "distance at which a hit counts 1/e as much, in parts of the diagonal",
          Range{1e-6, 1e6});
    visit("weighted", local.weighted, "regions and sentences count by the attention that pools them");
    visit("attention_pooling", attention_pooling,
          "regions and sentences are pooled by attention; else the mean of regions and the maximum of "
          "sentences, "
          "which count alike in local losses");
    visit("sentences", sentences, "all: of a text; one: one of them at random");
    visit("further_swap", further_swap, "probability of one more swap of two sentences", Range{0.0, 0.99});
    visit("pool_divisor", pool_divisor,
          "mean that asks in attention pooling: valid: of the sentences there are; padded: their sum over as "
          "many as the longest text of the group has, as published");
    visit("norm_padding", norm_padding,
          "what pads shorter texts of a group counts for batch normalisation: include (as published) or "
          "exclude");
  }
};

std::unique_ptr<Method> make_lovt(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<LovtOptions>(erased);
  return make_image_text({.name = "lovt",
                          .common = options.common,
                          .head = {.image_attention = options.attention_pooling,
                                   .text_attention = options.attention_pooling,
                                   .heads = options.heads,
                                   .pool_divisor = options.pool_divisor,
                                   .norm_padding = options.norm_padding},
                          .sentences = options.sentences,
                          .further_swap = options.further_swap,
                          .global_weight = options.global_weight,
                          .local = options.local},
                         materials);
}

}  // namespace

Entry lovt() {
  return {.name = "lovt",
          .sentence = "from texts: images and texts attract each other, and so do regions and sentences",
          .section = "pooling, alignment, losses and tower of texts",
          .options = config::default_options<LovtOptions>,
          .traits = [](const config::Options&) { return Traits{}; },
          .make = make_lovt,
          .fields =
              [](const config::Options& options, const data::Description& description) {
                return fields_of_texts(config::values_of<LovtOptions>(options).common, "lovt", description);
              },
          .check =
              [](const config::Options& options, const Surroundings& run, const std::string& where) {
                check_groups(config::values_of<LovtOptions>(options).common, true, "lovt", run, where);
              }};
}

}  // namespace cohort::method
