#include "cohort/nn/batch_norm.h"

#include <array>
#include <numeric>

#include <ATen/ATen.h>

#include "cohort/comm/autograd.h"
#include "cohort/core/error.h"

namespace cohort::nn {
namespace {

// A double as two integers, of 2^-16 and of what is left in 2^-64: their sums are exact up to 2^15 groups of
// values below 2^32.
constexpr double kCoarse = 0x1.0p16, kFine = 0x1.0p64;

at::Tensor as_integers(const at::Tensor& values) {
  const at::Tensor coarse = at::floor(values * kCoarse);
  const at::Tensor fine = at::round((values - coarse / kCoarse) * kFine);
  return at::cat({coarse, fine}).to(at::kLong);
}

at::Tensor as_doubles(const at::Tensor& integers) {
  const std::vector<at::Tensor> parts = integers.to(at::kDouble).chunk(2);
  return parts[0] / kCoarse + parts[1] / kFine;
}

std::int64_t places(const at::Tensor& values) {
  return values.numel() / values.size(1);
}

void check_places(std::int64_t count) {
  if (count > 1) return;
  throw UsageError({"batch normalisation over a single value a channel: the variance of one value is none",
                    "sampler.images_per_group", "take 2 images a group or more"});
}

}  // namespace

std::span<const config::EnumName<NormScope>> enum_names(NormScope) {
  static constexpr std::array<config::EnumName<NormScope>, 3> names{
      {{NormScope::group, "group"}, {NormScope::all, "all"}, {NormScope::frozen, "frozen"}}};
  return names;
}

BatchNorm::BatchNorm(std::int64_t channels, NormScope scope, bool affine, double momentum, double epsilon)
    : scope_(scope),
      momentum_(momentum),
      epsilon_(epsilon),
      running_mean_(register_buffer("running_mean", at::zeros({channels}))),
      running_var_(register_buffer("running_var", at::ones({channels}))),
      sums_(at::zeros({4 * channels + 1}, at::kLong)) {
  if (!affine) return;
  weight_ = register_parameter("weight", at::ones({channels}));
  bias_ = register_parameter("bias", at::zeros({channels}));
}

at::Tensor BatchNorm::forward(const at::Tensor& values, const Conditions& conditions,
                              std::span<const std::int64_t> group_sizes) {
  if (!conditions.training || scope_ == NormScope::frozen) {
    return at::batch_norm(values, weight_, bias_, running_mean_, running_var_, /*training=*/false, momentum_,
                          epsilon_, /*cudnn_enabled=*/true);
  }
  if (scope_ == NormScope::all) return over_all(values, conditions);
  const std::array<std::int64_t, 1> one{values.size(0)};
  return by_group(values, group_sizes.empty() ? std::span<const std::int64_t>(one) : group_sizes,
                  conditions.pass);
}

at::Tensor BatchNorm::by_group(const at::Tensor& values, std::span<const std::int64_t> sizes,
                               std::int64_t pass) {
  COHORT_CHECK(std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}) == values.size(0),
               "groups of other images than the {} that are there", values.size(0));
  // In fp32: of values in bf16 on the CPU, statistics are of the type of the weights.
  const at::Tensor weight = weight_.defined() ? weight_ : at::ones_like(running_mean_),
                   bias = bias_.defined() ? bias_ : at::zeros_like(running_mean_);
  std::vector<at::Tensor> normalised;
  std::int64_t begin = 0;
  for (const std::int64_t size : sizes) {
    const at::Tensor group = values.narrow(0, begin, size);
    begin += size;
    const std::int64_t count = places(group);
    check_places(count);
    const auto [out, mean, inverse_deviation] =
        at::native_batch_norm(group, weight, bias, {}, {}, /*training=*/true, momentum_, epsilon_);
    normalised.push_back(out);
    const at::Tensor variance = inverse_deviation.detach().to(at::kDouble).pow(-2) - epsilon_;
    add(mean.detach(), variance * (static_cast<double>(count) / static_cast<double>(count - 1)), pass);
  }
  return normalised.size() == 1 ? normalised.front() : at::cat(normalised);
}

// Two passes: the variance of what is left without the mean does not cancel.
at::Tensor BatchNorm::over_all(const at::Tensor& values, const Conditions& conditions) {
  const at::Tensor wide = values.to(at::promote_types(values.scalar_type(), at::kFloat));
  std::vector<std::int64_t> others{0}, of_channel(static_cast<std::size_t>(wide.dim()), 1);
  for (std::int64_t dim = 2; dim < wide.dim(); ++dim) others.push_back(dim);
  of_channel[1] = wide.size(1);
  const auto sum_over = [&](const at::Tensor& sums) {
    return conditions.ranks == nullptr ? sums : comm::all_reduce_sum(sums, *conditions.ranks);
  };
  const at::Tensor own = at::full({1}, static_cast<double>(places(wide)), wide.options());
  const at::Tensor sums = sum_over(at::cat({wide.sum(others), own}));  // [C + 1]
  const auto count = sums[wide.size(1)].item<double>();
  check_places(static_cast<std::int64_t>(count));
  const at::Tensor mean = sums.narrow(0, 0, wide.size(1)) / count;
  const at::Tensor centred = wide - mean.view(of_channel);
  const at::Tensor variance = sum_over(at::square(centred).sum(others)) / count;
  add(mean.detach(), variance.detach().to(at::kDouble) * (count / (count - 1)), conditions.pass);
  const at::Tensor scale = at::rsqrt(variance + epsilon_);
  if (!weight_.defined()) return centred * scale.view(of_channel);
  return centred * (scale * weight_).view(of_channel) + bias_.view(of_channel);
}

// Where the buffers are, wherever the model has been moved to.
at::Tensor BatchNorm::sums() {
  if (sums_.device() != running_mean_.device()) sums_ = sums_.to(running_mean_.device());
  return sums_;
}

at::Tensor BatchNorm::sums_of(std::int64_t pass) {
  const std::int64_t size = 4 * running_mean_.size(0) + 1;
  if (const std::int64_t more = (pass + 1) * size - sums_.numel(); more > 0)
    sums_ = at::cat({sums_, at::zeros({more}, sums_.options())});
  return sums_.narrow(0, pass * size, size);
}

void BatchNorm::add(const at::Tensor& mean, const at::Tensor& unbiased_variance, std::int64_t pass) {
  if (RepeatedPass::is_on()) return;
  const at::NoGradGuard no_grad;
  if (sums_.device() != mean.device()) sums_ = sums_.to(mean.device());
  sums_of(pass).add_(
      at::cat({as_integers(mean.to(at::kDouble)), as_integers(unbiased_variance.to(at::kDouble)),
               at::ones({1}, sums_.options())}));
}

void BatchNorm::finish_step() {
  const at::NoGradGuard no_grad;
  const std::int64_t channels = running_mean_.size(0);
  for (const at::Tensor& sums : sums_.split(4 * channels + 1)) {
    const auto groups = sums[4 * channels].item<double>();
    if (groups == 0) continue;
    const auto move = [&](at::Tensor& running, const at::Tensor& sum) {
      running.copy_(running.to(at::kDouble) * (1.0 - momentum_) + as_doubles(sum) / groups * momentum_);
    };
    move(running_mean_, sums.narrow(0, 0, 2 * channels));
    move(running_var_, sums.narrow(0, 2 * channels, 2 * channels));
  }
  sums_.zero_();
}

std::optional<Draw> BatchNorm::first_values_of(const std::string& name,
                                               const torch::nn::Module& /*owner*/) const {
  return draw::constant(name == "weight" ? 1.0 : 0.0);
}

}  // namespace cohort::nn
