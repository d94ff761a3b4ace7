#include "eval/confusion.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace cohort::eval {

Confusion::Confusion(std::vector<std::int64_t> counts, std::int64_t classes)
    : classes_(classes),
      images_(std::accumulate(counts.begin(), counts.end(), std::int64_t{0})),
      counts_(std::move(counts)) {}

void Confusion::put(Scores& scores) const {
  scores.balanced_accuracy = balanced_accuracy();
  scores.majority = majority();
  scores.f1_macro = f1_macro();
  scores.f1_weighted = f1_weighted();
  scores.kappa = kappa();
  scores.confusion = counts_;
}

std::vector<std::int64_t> Confusion::of_labels() const {
  std::vector<std::int64_t> images;
  for (std::int64_t c = 0; c < classes_; ++c) images.push_back(labels_of(c));
  return images;
}

FlagCounts Confusion::counts_of(std::int64_t of) const {
  const std::int64_t right = at(of, of), missed = labels_of(of) - right, wrong = answers_of(of) - right;
  return {static_cast<double>(right), static_cast<double>(wrong), static_cast<double>(missed),
          static_cast<double>(images_ - right - missed - wrong)};
}

std::int64_t Confusion::at(std::int64_t label, std::int64_t answer) const {
  return counts_[static_cast<std::size_t>(label * classes_ + answer)];
}

std::int64_t Confusion::labels_of(std::int64_t label) const {
  std::int64_t sum = 0;
  for (std::int64_t answer = 0; answer < classes_; ++answer) sum += at(label, answer);
  return sum;
}

std::int64_t Confusion::answers_of(std::int64_t answer) const {
  std::int64_t sum = 0;
  for (std::int64_t label = 0; label < classes_; ++label) sum += at(label, answer);
  return sum;
}

double Confusion::balanced_accuracy() const {
  double recalls = 0;
  std::int64_t present = 0;
  for (std::int64_t c = 0; c < classes_; ++c) {
    if (labels_of(c) == 0) continue;
    recalls += static_cast<double>(at(c, c)) / static_cast<double>(labels_of(c));
    ++present;
  }
  return recalls / static_cast<double>(present);
}

double Confusion::majority() const {
  std::int64_t most = 0;
  for (std::int64_t c = 0; c < classes_; ++c) most = std::max(most, labels_of(c));
  return static_cast<double>(most) / static_cast<double>(images_);
}

double Confusion::f1(std::int64_t of) const {
  return 2 * static_cast<double>(at(of, of)) / static_cast<double>(labels_of(of) + answers_of(of));
}

double Confusion::f1_macro() const {
  double sum = 0;
  std::int64_t present = 0;
  for (std::int64_t c = 0; c < classes_; ++c) {
    if (labels_of(c) + answers_of(c) == 0) continue;
    sum += f1(c);
    ++present;
  }
  return sum / static_cast<double>(present);
}

double Confusion::f1_weighted() const {
  double sum = 0;
  for (std::int64_t c = 0; c < classes_; ++c) {
    if (labels_of(c) > 0) sum += f1(c) * static_cast<double>(labels_of(c));
  }
  return sum / static_cast<double>(images_);
}

double Confusion::kappa() const {
  const auto images = static_cast<double>(images_);
  double observed = 0, by_chance = 0;
  for (std::int64_t c = 0; c < classes_; ++c) {
    observed += static_cast<double>(at(c, c)) / images;
    by_chance += static_cast<double>(labels_of(c)) / images * static_cast<double>(answers_of(c)) / images;
  }
  return by_chance < 1 ? (observed - by_chance) / (1 - by_chance) : 0;
}

}  // namespace cohort::eval
