#include "cohort/eval/explanation_scores.h"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <utility>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/count_progress.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/data/batch.h"

#include "eval/answers.h"
#include "eval/asked_groups.h"
#include "eval/contexts_of_rows.h"
#include "eval/explanation_tally.h"
#include "eval/saliency.h"

namespace cohort::eval {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// The field of the pointing game; null: none is asked for.
const data::Field* region_field(const data::Description& description, const std::string& name) {
  if (name.empty()) return nullptr;
  const data::Field& field = description.field(name);
  const bool has_regions = field.kind == data::FieldKind::mask || field.kind == data::FieldKind::boxes;
  if (has_regions && field.of.empty()) return &field;
  throw UsageError({fmt::format("the field '{}' has no regions of the images to point at", name), "--region",
                    "name one of kind mask or boxes: cohort-data inspect lists them"});
}

/// The map [h, w], 0 … 1, of class `number`: of several tokens at a place their sum.
at::Tensor map_of_class(const at::Tensor& maps, std::int64_t number) {
  const at::Tensor map = maps[maps.size(0) == 1 ? 0 : number].sum(0).to(at::kCPU);
  return nn::scaled_maps(map.flatten()).view(map.sizes());
}

/// An image of the group that an explainer has seen, and the class that is explained.
struct Subject {
  nn::Explainer& explainer;
  const at::Tensor& image;  // [C, H, W], on the CPU
  std::int64_t place;       // in its group
  at::Device device;
  std::int64_t explained = 0;

  [[nodiscard]] at::Tensor from(std::int64_t count) const {
    return at::full({count}, place, at::TensorOptions(at::kLong).device(device));
  }
  [[nodiscard]] nn::Explained explain(const at::Tensor& changed) const {
    return explainer.explain(changed.unsqueeze(0).to(device), from(1));
  }
  /// Probabilities of the class, [n], of changed images [n, C, H, W].
  [[nodiscard]] at::Tensor probabilities(const at::Tensor& changed) const {
    return probability(explainer.logits(changed.to(device), from(changed.size(0))));
  }
  [[nodiscard]] at::Tensor probability(const at::Tensor& logits) const {
    return logits.to(at::kCPU, at::kDouble).softmax(1).select(1, explained).contiguous();
  }
};

/// Probabilities of the class while pixels of `into` take the place of those of `from`.
std::vector<double> curve_between(const Subject& subject, const PixelOrder& order, const at::Tensor& from,
                                  const at::Tensor& into, std::int64_t steps, std::int64_t chunk) {
  std::vector<double> curve;
  for (std::int64_t first = 0; first <= steps; first += chunk) {
    std::vector<at::Tensor> changed;
    for (std::int64_t step = first; step <= std::min(steps, first + chunk - 1); ++step)
      changed.push_back(order.replaced(from, into, step * order.size() / steps));
    const at::Tensor probabilities = subject.probabilities(at::stack(changed));
    const auto* values = probabilities.const_data_ptr<double>();
    curve.insert(curve.end(), values, values + probabilities.numel());
  }
  return curve;
}

at::Tensor baseline_of(const at::Tensor& image, CurveBaseline baseline) {
  return baseline == CurveBaseline::zero ? at::zeros_like(image) : blurred(image);
}

/// `masked`: what becomes of the image multiplied by its map.
void add_adcc(const Subject& subject, const at::Tensor& map, const nn::Explained& masked, double before,
              std::vector<double>& values) {
  const double drop = average_drop(before, subject.probability(masked.logits)[0].item<double>()),
               alike = coherency(map, map_of_class(masked.maps[0], subject.explained)),
               large = complexity(map);
  values.insert(values.end(), {adcc(drop, alike, large), drop, alike, large});
}

/// What the regions of images are read from.
struct Regions {
  const data::Field* field = nullptr;
  const std::vector<std::string>& classes;

  void add(const data::Batch& batch, std::int64_t place, std::int64_t number, const PixelOrder& order,
           const at::Tensor& saliency, std::vector<double>& values) const {
    if (field == nullptr) return;
    const std::optional<at::Tensor> region =
        region_of(*field, batch.columns.at(field->name + "/0"), place, saliency.size(0), saliency.size(1),
                  classes.at(static_cast<std::size_t>(number)));
    values.push_back(!region ? kNone : order.begins_in(*region) ? 1.0 : 0.0);
    values.push_back(region ? region_iou(saliency, *region) : kNone);
  }
};

/// What is made of the images of a rank: one after the other, so that ranks can meet between them.
class ImageScorer {
 public:
  ImageScorer(nn::Encoder& model, const nn::ExplainerConfig& how, const ScoredExplanations& what,
              const ExplanationScoreConfig& config, augment::Normalisation normalisation, DealtGroups groups)
      : explainers_(nn::explainers_of(model, how)),
        what_(what),
        config_(config),
        device_(model.parameters().front().device()),
        columns_{model.traits().context_keys, ""},
        regions_{region_field(what.dataset.description(), config.region), what.classes},
        normalisation_(normalisation),
        view_(augment::evaluation_view(what.dataset.description(), normalisation)),
        groups_(std::move(groups)) {
    if (regions_.field != nullptr) columns_.fields = {regions_.field->name};
    for (const std::string& key : columns_.context_keys) (void)what.dataset.context_runs(key);
  }

  [[nodiscard]] const auto& explainers() const { return explainers_; }
  /// The next image: calls use(method, place among those scored, row, scores) for each explainer.
  template <class Use>
  void next(const Use& use) {
    if (!group_ || image_ == group_->inside.size()) begin_group();
    const std::int64_t place = group_->inside[image_], asked = group_->asked[image_];
    ++image_;
    for (std::size_t method = 0; method < explainers_.size(); ++method)
      use(method, asked, group_->group.rows[static_cast<std::size_t>(place)],
          scored(*explainers_[method], place));
  }

 private:
  void begin_group() {
    group_ = groups_.next();
    image_ = 0;
    COHORT_CHECK(group_.has_value(), "a group of images to score");
    batch_ = data::make_batch(what_.dataset, std::span(&group_->group, 1), columns_, *view_, alone_);
    const nn::Conditions conditions = evaluation_conditions(batch_, device_);
    for (const auto& explainer : explainers_) explainer->see(batch_.views.front().to(device_), conditions);
  }

  [[nodiscard]] ScoredImage scored(nn::Explainer& explainer, std::int64_t place) const {
    const at::Tensor image = batch_.views.front()[place];
    const std::int64_t row = group_->group.rows[static_cast<std::size_t>(place)];
    Subject subject{explainer, image, place, device_};
    const nn::Explained seen = subject.explain(image);
    if (!seen.logits.isfinite().all().item<bool>()) refuse_infinite_answers();
    ScoredImage scores;
    for (const std::int64_t number : explained_classes(seen.logits[0], row)) {
      subject.explained = number;
      scores.classes.push_back(static_cast<std::size_t>(number));
      scores.worth.push_back(worth_of(subject, seen, row));
    }
    return scores;
  }

  [[nodiscard]] std::vector<std::int64_t> explained_classes(const at::Tensor& logits,
                                                            std::int64_t row) const {
    std::vector<std::int64_t> classes;
    if (config_.classes == ExplainedClasses::top1) classes.push_back(logits.argmax().item<std::int64_t>());
    if (config_.classes == ExplainedClasses::label) classes.push_back(what_.label_of(row));
    for (std::int64_t i = 0; config_.classes == ExplainedClasses::all && i < logits.numel(); ++i)
      classes.push_back(i);
    std::erase(classes, -1);
    return classes;
  }

  /// `seen`: of the image as it is.
  [[nodiscard]] MapWorth worth_of(const Subject& subject, const nn::Explained& seen, std::int64_t row) const {
    const at::Tensor& image = subject.image;
    const at::Tensor map = map_of_class(seen.maps[0], subject.explained),
                     saliency = as_large_as(map, image.size(1), image.size(2));
    const PixelOrder order(saliency);
    MapWorth worth;
    if (config_.adcc)
      add_adcc(subject, map, subject.explain(masked(image, saliency, row)),
               subject.probability(seen.logits)[0].item<double>(), worth.values);
    const std::int64_t steps = std::min(config_.steps, order.size());
    if (config_.insertion) {
      const at::Tensor start = baseline_of(image, config_.baseline.value_or(CurveBaseline::blurred));
      worth.insertion = curve_between(subject, order, start, image, steps, config_.chunk);
      worth.values.push_back(area_under(worth.insertion));
    }
    if (config_.deletion) {
      const at::Tensor end = baseline_of(image, config_.baseline.value_or(CurveBaseline::zero));
      worth.deletion = curve_between(subject, order, image, end, steps, config_.chunk);
      worth.values.push_back(area_under(worth.deletion));
    }
    regions_.add(batch_, subject.place, subject.explained, order, saliency, worth.values);
    return worth;
  }

  /// The image of the row, normalised, times its map [H, W].
  [[nodiscard]] at::Tensor masked(const at::Tensor& image, const at::Tensor& saliency,
                                  std::int64_t row) const {
    if (config_.mask_space == MaskSpace::normalised) return image * saliency;
    const at::Tensor stored = what_.dataset.images(std::span(&row, 1)) * saliency;
    return augment::normalise(stored, what_.dataset.description(), normalisation_)[0];
  }

  std::vector<std::unique_ptr<nn::Explainer>> explainers_;
  const ScoredExplanations& what_;
  const ExplanationScoreConfig& config_;
  at::Device device_;
  data::BatchColumns columns_;
  Regions regions_;
  augment::Normalisation normalisation_;
  std::unique_ptr<data::ViewMaker> view_;
  DealtGroups groups_;
  Workers alone_{1};
  std::optional<AskedGroup> group_;
  std::size_t image_ = 0;
  data::Batch batch_;
};

DealtGroups dealt_groups(const ScoredExplanations& what, const EvalConfig& eval, comm::Communicator& ranks) {
  const auto places = [images = what.images](std::int64_t row) {
    const std::optional<std::int64_t> image = images.image(row);
    return image ? std::vector<std::int64_t>{*image} : std::vector<std::int64_t>();
  };
  return {AskedGroups(Passes(what.dataset, what.group_by, eval), places), ranks.rank(), ranks.size()};
}

std::int64_t images_of(DealtGroups groups) {
  std::int64_t images = 0;
  while (const auto group = groups.next()) images += std::ssize(group->inside);
  return images;
}

std::int64_t points_of_curves(const data::ImageLayout& images, const ExplanationScoreConfig& config) {
  return std::min(config.steps, images.height * images.width) + 1;
}

at::Tensor stored_values(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble).to(at::kFloat).unsqueeze(0);
}

}  // namespace

std::span<const config::EnumName<CurveBaseline>> enum_names(CurveBaseline) {
  static constexpr std::array<config::EnumName<CurveBaseline>, 2> names{
      {{CurveBaseline::blurred, "blurred"}, {CurveBaseline::zero, "zero"}}};
  return names;
}

std::span<const config::EnumName<ExplainedClasses>> enum_names(ExplainedClasses) {
  static constexpr std::array<config::EnumName<ExplainedClasses>, 3> names{
      {{ExplainedClasses::top1, "top1"}, {ExplainedClasses::label, "label"}, {ExplainedClasses::all, "all"}}};
  return names;
}

std::span<const config::EnumName<MaskSpace>> enum_names(MaskSpace) {
  static constexpr std::array<config::EnumName<MaskSpace>, 2> names{
      {{MaskSpace::normalised, "normalised"}, {MaskSpace::pixel, "pixel"}}};
  return names;
}

std::vector<std::int64_t> SpreadRows::all() const {
  std::vector<std::int64_t> rows_of_images;
  for (std::int64_t i = 0; i < count; ++i) rows_of_images.push_back(row(i));
  return rows_of_images;
}

std::optional<std::int64_t> SpreadRows::image(std::int64_t wanted) const noexcept {
  // The first image whose row is not before the wanted one.
  const std::int64_t ahead = 2 * count * wanted - rows;
  const std::int64_t first = ahead <= 0 ? 0 : (ahead + 2 * rows - 1) / (2 * rows);
  if (first >= count || row(first) != wanted) return std::nullopt;
  return first;
}

std::vector<ExplanationScores> score_explanations(nn::Encoder& model, const nn::ExplainerConfig& how,
                                                  const ScoredExplanations& what, const EvalConfig& eval,
                                                  augment::Normalisation normalisation,
                                                  const ExplanationScoreConfig& config,
                                                  comm::Communicator& ranks) {
  COHORT_CHECK(!model.runner().is_collective() && model.traits().classes > 0, "a model with a head");
  const at::NoGradGuard no_gradients;
  const data::Description& description = what.dataset.description();
  std::unique_ptr<ImageScorer> scorer;
  std::optional<ContextsOfRows> contexts;
  std::int64_t mine = 0;
  comm::together(ranks, [&] {
    contexts.emplace(what.dataset, what.group_by, eval);
    const DealtGroups groups = dealt_groups(what, eval, ranks);
    mine = images_of(groups);
    scorer = std::make_unique<ImageScorer>(model, how, what, config, normalisation, groups);
  });
  std::vector<std::string> names;
  for (const ImageScore& score : image_scores(config)) names.push_back(score.name);
  std::vector<ExplanationTally> tallies;
  std::vector<ExplanationScores> all;
  for (const auto& explainer : scorer->explainers()) {
    tallies.emplace_back(config, contexts->names(), what.classes,
                         points_of_curves(description.images, config));
    all.push_back(
        {std::string(explainer->name()), names, {}, StoredRows(what.images.count, std::ssize(names), ranks)});
  }
  const auto use = [&](std::size_t method, std::int64_t image, std::int64_t row, const ScoredImage& scores) {
    MapWorth worth{std::vector<double>(names.size(), kNone), {}, {}};
    if (!scores.classes.empty()) {
      worth = scores.mean();
      tallies[method].add(row, scores, worth, contexts->of(std::span(&row, 1)));
    }
    all[method].images.write(at::full({1}, image, at::kLong), stored_values(worth.values));
  };
  std::optional<CountProgress> progress;
  if (ranks.rank() == 0) progress.emplace("scoring explanations", what.images.count, ranks.size());
  const std::int64_t most = ranks.max(mine);
  for (std::int64_t i = 0; i < most; ++i) {  // ranks meet, so that none waits long for another
    comm::together(ranks, [&] {
      if (i < mine) scorer->next(use);
    });
    if (progress && i < mine) progress->show(i + 1, mine);
  }
  progress.reset();
  for (std::size_t method = 0; method < all.size(); ++method)
    all[method].scorecard = tallies[method].finish(ranks);
  return all;
}

}  // namespace cohort::eval
