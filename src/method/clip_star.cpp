#include "method/image_text.h"

namespace cohort::method {
namespace {

// CLIP* (LoVT, arXiv 2112.02889, section 4): as ConVIRT, but regions are pooled by attention, and projections
// have batch normalisation; docs/methods.md.
struct ClipStarOptions {
  ImageTextOptions common;
  std::int64_t heads = 8;

  template <class Visit>
  void fields(Visit& visit) {
    common.fields(visit);
    visit("heads", heads, "heads of the attention that pools regions", config::Range<std::int64_t>{1, 1024});
  }
};

std::unique_ptr<Method> make_clip_star(const config::Options& erased, const Materials& materials) {
  const auto& options = config::values_of<ClipStarOptions>(erased);
  const nn::ImageTextShape head{.text_attention = false, .local = false, .heads = options.heads};
  return make_image_text({.name = "clip_star", .common = options.common, .head = head}, materials);
}

}  // namespace

Entry clip_star() {
  return {.name = "clip_star",
          .sentence = "from texts: as convirt, with attention over regions",
          .section = "pooling, projections, loss and tower of texts",
          .options = config::default_options<ClipStarOptions>,
          .traits = [](const config::Options&) { return Traits{}; },
          .make = make_clip_star,
          .fields =
              [](const config::Options& options, const data::Description& description) {
                return fields_of_texts(config::values_of<ClipStarOptions>(options).common, "clip_star",
                                       description);
              },
          .check =
              [](const config::Options& options, const Surroundings& run, const std::string& where) {
                check_groups(config::values_of<ClipStarOptions>(options).common, true, "clip_star", run,
                             where);
              }};
}

}  // namespace cohort::method
