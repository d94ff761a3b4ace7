#include "train/numerics.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/host.h"

#include "support/json.h"

namespace cohort::train {
namespace {

std::string packed_findings(const Findings& findings) {
  return Json{host_name(), findings.own_loss_is_finite, findings.image, findings.gradient}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
}

/// The first rank whose losses are not the same bits in both runs; -1: none. Losses lie rank by rank.
int rank_that_differs(const std::vector<double>& first, const std::vector<double>& again, int ranks) {
  const std::size_t of_each = first.size() / static_cast<std::size_t>(ranks);
  for (std::size_t i = 0; i < first.size(); ++i) {
    const bool same = first[i] == again[i] || (std::isnan(first[i]) && std::isnan(again[i]));
    if (!same) return static_cast<int>(i / of_each);
  }
  return -1;
}

std::string remedy(const Cause& cause) {
  if (!cause.repeats)
    return "check the memory of that node and its GPU, leave it out, and run the same command again";
  if (!cause.findings.image.empty())
    return "repair the image or leave it out of the dataset, or set numerics.on_trouble=skip";
  return "lower optimizer.lr, set optimizer.clip_norm, or use precision=fp32; numerics.on_trouble=skip "
         "leaves "
         "such steps out";
}

}  // namespace

NumericsGuard::NumericsGuard(const NumericsConfig& config) : config_(config) {
  if (config_.spike > 0) norms_ = at::zeros({kNorms});
}

Trouble NumericsGuard::judge(double loss, double gradient_norm) const noexcept {
  if (!std::isfinite(loss) || !std::isfinite(gradient_norm)) return Trouble::not_finite;
  const bool too_large = usual_ > 0 && gradient_norm > config_.spike * usual_;
  return too_large ? Trouble::spike : Trouble::none;
}

void NumericsGuard::passed(double gradient_norm) {
  in_a_row_ = 0;
  if (!norms_.defined()) return;
  float* norms = norms_.data_ptr<float>();
  std::copy_backward(norms, norms + kNorms - 1, norms + kNorms);
  norms[0] = static_cast<float>(gradient_norm);
  restored();
}

void NumericsGuard::restored() {
  if (!norms_.defined()) return;
  const float* norms = norms_.const_data_ptr<float>();
  std::vector<float> known;
  std::copy_if(norms, norms + kNorms, std::back_inserter(known), [](float norm) { return norm > 0; });
  usual_ = 0.0;
  if (std::ssize(known) < kLeast) return;
  const auto middle = known.begin() + std::ssize(known) / 2;
  std::nth_element(known.begin(), middle, known.end());
  usual_ = static_cast<double>(*middle);
}

Cause cause_of(const StepTotals& first, const StepTotals& again, bool again_is_bad, const Findings& mine,
               comm::Communicator& ranks) {
  Cause cause;
  cause.repeats = again_is_bad;
  std::vector<Json> all;
  for (const std::string& text : ranks.gather_texts(packed_findings(mine))) all.push_back(Json::parse(text));
  if (cause.repeats) {
    for (int rank = 0; rank < ranks.size() && cause.rank < 0; ++rank) {
      const Json& of_rank = all[static_cast<std::size_t>(rank)];
      if (!of_rank[1].get<bool>() || of_rank[2] != "" || of_rank[3] != "") cause.rank = rank;
    }
  } else {
    cause.rank = rank_that_differs(first.losses, again.losses, ranks.size());
  }
  if (cause.rank < 0) return cause;
  const Json& found = all[static_cast<std::size_t>(cause.rank)];
  cause.host = found[0];
  cause.findings = {found[1], found[2], found[3]};
  return cause;
}

NumericalError trouble_error(Trouble trouble, double loss, double gradient_norm, double usual,
                             std::int64_t step, const std::string& where, const Cause& cause) {
  const std::string place = fmt::format("{}: {}", where, cause_text(cause));
  const std::string fix = remedy(cause);
  if (trouble == Trouble::spike) {
    return NumericalError({fmt::format("step {}: the gradient norm {:.6g} is {:.1f} times the usual {:.6g}",
                                       step, gradient_norm, gradient_norm / usual, usual),
                           place, fix});
  }
  return NumericalError({fmt::format("step {}: the {} is not finite (loss {}, gradient norm {})", step,
                                     std::isfinite(loss) ? "gradient" : "loss", loss, gradient_norm),
                         place, fix});
}

std::string cause_text(const Cause& cause) {
  const std::string rank = cause.rank < 0 ? "" : fmt::format("rank {} on {}", cause.rank, cause.host);
  if (!cause.repeats) {
    return fmt::format(
        "computed again with the same weights and images the step is good{}: suspect the "
        "hardware, not the data",
        rank.empty() ? "" : ", and " + rank + " has another loss");
  }
  std::string text = "it is so again when the step is repeated";
  if (!cause.findings.gradient.empty())
    text = fmt::format("first in the gradient of {} on {}; {}", cause.findings.gradient, rank, text);
  else if (!cause.findings.own_loss_is_finite)
    text = fmt::format("first in the loss of {}; {}", rank, text);
  if (!cause.findings.image.empty())
    text =
        fmt::format("image '{}' of {} has values that are not finite; {}", cause.findings.image, rank, text);
  return text;
}

std::string trouble_json(const std::string& text, const Cause& cause, const std::string& action,
                         std::int64_t step, std::int64_t epoch) {
  return Json{{"kind", "trouble"},
              {"step", step},
              {"epoch", epoch},
              {"what", text},
              {"cause", cause_text(cause)},
              {"rank", cause.rank},
              {"host", cause.host},
              {"image", cause.findings.image},
              {"gradient", cause.findings.gradient},
              {"repeats", cause.repeats},
              {"action", action}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::int64_t step_to_go_back_to(const checkpoint::Store& store, comm::Communicator& ranks) {
  std::int64_t step = 0;
  comm::together(ranks, [&] {
    if (ranks.rank() == 0) step = store.latest().value_or(0);
    if (ranks.rank() == 0 && step == 0) {
      throw NumericalError({"there is no checkpoint to go back to",
                            store.path_of(0).parent_path().parent_path(),
                            "checkpoint.every_steps makes one before the first trouble"});
    }
  });
  return ranks.max(step);
}

}  // namespace cohort::train
