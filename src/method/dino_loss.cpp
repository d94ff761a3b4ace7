#include "cohort/method/dino_loss.h"

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::method {
namespace {

constexpr double kUnits = 0x1.0p32;  // of the centre's sums, in 1

}  // namespace

Centre::Centre(std::int64_t prototypes, double momentum)
    : momentum_(momentum), values_(at::zeros({prototypes})), sums_(at::zeros({prototypes + 1}, at::kLong)) {}

void Centre::add(const at::Tensor& logits) {
  const at::NoGradGuard no_grad;
  if (sums_.device() != logits.device()) {
    sums_ = sums_.to(logits.device());
    values_ = values_.to(logits.device());
  }
  const at::Tensor sum = logits.sum(0, /*keepdim=*/false, at::kDouble).mul_(kUnits).round_().to(at::kLong);
  sums_.narrow(0, 0, sum.size(0)).add_(sum);
  sums_[sum.size(0)] += logits.size(0);
}

void Centre::update(comm::Communicator* ranks) {
  const at::NoGradGuard no_grad;
  if (ranks != nullptr) ranks->all_reduce(sums_).wait();
  const std::int64_t prototypes = values_.size(0);
  const auto rows = sums_[prototypes].item<double>();
  COHORT_CHECK(rows > 0, "a centre is updated without rows");
  const at::Tensor mean = sums_.narrow(0, 0, prototypes).to(at::kDouble).div_(kUnits * rows);
  values_.copy_(values_.to(at::kDouble) * momentum_ + mean * (1.0 - momentum_));
  sums_.zero_();
}

double teacher_temperature(double start, double end, std::int64_t warm_up, std::int64_t epoch) {
  const std::int64_t last = warm_up - 1;
  if (epoch > last) return end;
  if (last == 0) return start;
  return start + (end - start) * static_cast<double>(epoch) / static_cast<double>(last);
}

at::Tensor teacher_probabilities(const at::Tensor& logits, const at::Tensor& centre, double temperature) {
  return at::softmax((logits - centre.to(logits.device())) / temperature, -1);
}

at::Tensor cross_entropy_of_views(const at::Tensor& student_logits, const at::Tensor& probabilities,
                                  double temperature) {
  const std::int64_t views = student_logits.size(0), local = views - kTeacherViews;
  COHORT_CHECK(local >= 0 && probabilities.size(0) == kTeacherViews, "{} student views and {} teacher views",
               views, probabilities.size(0));
  const at::Tensor log_student = at::log_softmax(student_logits / temperature, -1);
  at::Tensor sum = (probabilities.flip(0) * log_student.narrow(0, 0, kTeacherViews)).sum();
  if (local > 0)
    sum = sum + (probabilities.sum(0) * log_student.narrow(0, kTeacherViews, local).sum(0)).sum();
  return -sum / static_cast<double>(kTeacherViews * (views - 1));
}

}  // namespace cohort::method
