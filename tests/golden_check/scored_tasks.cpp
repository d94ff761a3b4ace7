// Files of the kinds clip.flip_scores, clip.retrieval and dense.matching_eval: what tasks make of answers.
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/eval/task.h"

#include "checks.h"
#include "eval/keypoints.h"
#include "eval/verification_scores.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

using nlohmann::json;

at::Tensor numbers_of(const json& values) {
  return at::tensor(values.get<std::vector<double>>(), at::kDouble);
}

/// [rows, columns]
at::Tensor table_of(const json& rows) {
  std::vector<at::Tensor> all;
  for (const json& row : rows) all.push_back(numbers_of(row));
  return at::stack(all);
}

/// What a task says of images 0, 1, …
eval::Scorecard scorecard_of(const std::string& task, eval::TaskInput input, const method::Answers& answers,
                             const at::Tensor& target, const std::vector<std::int32_t>& contexts = {}) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(target.size(0)));
  std::iota(rows.begin(), rows.end(), 0);
  input.images = target.size(0);
  const auto scored = eval::find_task(task).make(std::move(input));
  scored->add({rows, contexts, answers, {target, {}}});
  return scored->finish(one_rank());
}

eval::TaskInput verification_input(double threshold) {
  eval::TaskInput input{{"real", data::FieldKind::flags, data::ValueType::u8, {1}}, {}, {}, 0, {}};
  input.config.threshold = threshold;
  return input;
}

void compare_scores(Comparison& file, const std::string& name, const json& expected,
                    const eval::Scorecard& card) {
  constexpr Tolerance kScore{0, 1e-12};
  file.number(name + " eer", card.find("eer")->value, expected.at("eer"), kScore);
  file.number(name + " auc", card.find("auc")->value, expected.at("auc"), kScore);
  file.number(name + " tpr at fpr 1 %", card.find("tpr_at_fpr_0.01")->value, expected.at("tpr_at_fpr_1pct"),
              kScore);
}

void compare_threshold(Comparison& file, const std::string& name, const json& expected,
                       const at::Tensor& scores, const at::Tensor& flags) {
  constexpr Tolerance kScore{0, 1e-12};
  eval::ThresholdGrid grid;
  for (std::int64_t i = 0; i < scores.numel(); ++i)
    grid.add(scores[i].item<double>(), flags[i].item<std::int64_t>() == 1);
  const eval::ThresholdGrid::Point point = grid.equal_error();
  file.number(name + " threshold", point.threshold, expected.at("threshold"), kScore);
  file.number(name + " far", point.counts.false_accept_rate(), expected.at("far"), kScore);
  file.number(name + " frr", point.counts.false_reject_rate(), expected.at("frr"), kScore);
  file.number(name + " accuracy", point.counts.accuracy(), expected.at("accuracy_at_threshold"), kScore);
  file.number(name + " hter", point.counts.half_total_error(), expected.at("hter_at_eer_threshold"), kScore);
}

/// Frames of videos, judged by the mean of their scores.
eval::Scorecard of_videos(const json& frames) {
  const auto videos = frames.at("videos").get<std::vector<std::int32_t>>();
  eval::TaskInput input = verification_input(0.5);
  input.contexts = {{{"video", 0, 16}}, std::vector<std::string>(16, "video")};
  input.config.mean_by = "video";
  return scorecard_of("verification", std::move(input), {{"score", numbers_of(frames.at("scores"))}},
                      numbers_of(frames.at("labels")).to(at::kByte).unsqueeze(1), videos);
}

}  // namespace

void check_flip_scores(Comparison& file) {
  for (const json& one : file.about().at("cases")) {
    const std::string name = one.at("name");
    const at::Tensor scores = numbers_of(one.at("scores")), flags = numbers_of(one.at("labels"));
    const auto card = [&](double threshold) {
      return scorecard_of("verification", verification_input(threshold), {{"score", scores}},
                          flags.to(at::kByte).unsqueeze(1));
    };
    compare_scores(file, name, one, card(0.5));
    compare_threshold(file, name, one, scores, flags);
    for (const auto& [threshold, expected] : one.at("hter_at").items())
      file.number(name + " hter at " + threshold, card(std::stod(threshold)).find("hter")->value, expected,
                  {0, 1e-12});
    if (one.contains("frames")) compare_scores(file, name + " of frames", one, of_videos(one.at("frames")));
  }
}

/// Images are rows of the similarities, texts unit vectors.
void check_retrieval(Comparison& file) {
  const json& about = file.about();
  const at::Tensor similarity = table_of(about.at("similarity")).to(at::kFloat);
  const auto image_of = about.at("caption_image").get<std::vector<std::int64_t>>();
  at::Tensor offsets = at::zeros({similarity.size(0) + 1}, at::kLong);
  for (const std::int64_t image : image_of) offsets.narrow(0, image + 1, similarity.size(0) - image).add_(1);
  eval::TaskInput input{{"caption", data::FieldKind::tokens, data::ValueType::i32, {-1}}, {}, {}, 0, {}};
  input.config.recall_at = {1, 2, 5};
  const eval::Scorecard card =
      scorecard_of("retrieval", std::move(input),
                   {{"image", similarity}, {"text", at::eye(similarity.size(1))}, {"text_offsets", offsets}},
                   at::zeros({similarity.size(0), 1}, at::kInt));
  for (const std::string direction : {"image_to_text", "text_to_image"}) {
    for (const auto& [k, expected] : about.at(direction + "_recall").items())
      file.number(direction + " " + k, card.find(direction + "_recall_at_" + k)->value, expected, kExact);
  }
}

void check_matching_eval(Comparison& file) {
  const json& about = file.about();
  const at::Tensor heat = table_of(about.at("heatmap"));
  const std::int64_t window = about.at("window");
  file.values("suppressed", eval::suppressed(heat, window), table_of(about.at("suppressed")), kExact);
  std::vector<double> found;
  for (const eval::Keypoint& point : eval::keypoints(heat, window, about.at("threshold")))
    found.insert(found.end(),
                 {static_cast<double>(point.row), static_cast<double>(point.column), point.score});
  file.values("keypoints", at::tensor(found, at::kDouble).reshape({-1, 3}),
              table_of(about.at("keypoints_row_column_score")), kExact);

  const at::Tensor points = table_of(about.at("points1_xy")), others = table_of(about.at("points2_xy")),
                   first = table_of(about.at("descriptors1")), second = table_of(about.at("descriptors2")),
                   homography = table_of(about.at("homography"));
  const at::Tensor matches = eval::mutual_matches(first, second);
  file.values("matches", matches, table_of(about.at("matches")), kExact);
  file.values("errors",
              eval::matching_errors(points.index_select(0, matches.select(1, 0)),
                                    others.index_select(0, matches.select(1, 1)), homography),
              numbers_of(about.at("errors")), {0, 1e-9});
  const at::Tensor ends = at::tensor(std::vector<std::int64_t>{0, first.size(0)}, at::kLong),
                   other_ends = at::tensor(std::vector<std::int64_t>{0, second.size(0)}, at::kLong);
  const eval::Scorecard card = scorecard_of(
      "matching", {{"homography", data::FieldKind::numbers, data::ValueType::f32, {9}}, {}, {}, 0, {}},
      {{"points", points},
       {"points_offsets", ends},
       {"descriptors", first},
       {"descriptors_offsets", ends},
       {"other_points", others},
       {"other_points_offsets", other_ends},
       {"other_descriptors", second},
       {"other_descriptors_offsets", other_ends}},
      homography.reshape({1, 9}));
  for (const auto& [pixels, expected] : about.at("mma").items())
    file.number("mma at " + pixels, card.find("mma_at_" + pixels)->value, expected, {0, 1e-9});
}

}  // namespace cohort::golden_check
