#include "method/image_text.h"

namespace cohort::method {
namespace {

// ConVIRT (Zhang et al., arXiv 2010.00747) as LoVT's code has it: the mean over regions, one sentence at
// random and the maximum over its tokens, projections without batch normalisation; docs/methods.md.
struct ConvirtOptions {
  ImageTextOptions common;

  template <class Visit>
  void fields(Visit& visit) {
    common.fields(visit);
  }
};

std::unique_ptr<Method> make_convirt(const config::Options& erased, const Materials& materials) {
  const nn::ImageTextShape head{
      .batch_norm = nn::HeadNorm::none, .image_attention = false, .text_attention = false, .local = false};
  return make_image_text(
      {.name = "convirt", .common = config::values_of<ConvirtOptions>(erased).common, .head = head},
      materials);
}

}  // namespace

Entry convirt() {
  return {
      .name = "convirt",
      .sentence = "from texts: an image and a sentence of its text attract each other, those of others repel",
      .section = "projections, loss and tower of texts",
      .options = config::default_options<ConvirtOptions>,
      .traits = [](const config::Options&) { return Traits{}; },
      .make = make_convirt,
      .fields =
          [](const config::Options& options, const data::Description& description) {
            return fields_of_texts(config::values_of<ConvirtOptions>(options).common, "convirt", description);
          },
      .check =
          [](const config::Options& options, const Surroundings& run, const std::string& where) {
            check_groups(config::values_of<ConvirtOptions>(options).common, false, "convirt", run, where);
          }};
}

}  // namespace cohort::method
