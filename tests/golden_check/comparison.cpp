#include "comparison.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <ATen/ATen.h>

namespace cohort::golden_check {
namespace {

double largest_entry(const at::Tensor& values) {
  return values.numel() == 0 ? 0.0 : values.to(at::kDouble).abs().max().item<double>();
}

}  // namespace

const at::Tensor& Comparison::input(const std::string& name) {
  seen_.insert(name);
  return file_[name];
}

void Comparison::tensor(const std::string& name, const at::Tensor& actual, Tolerance tolerance) {
  values(name, actual, input(name), tolerance);
}

void Comparison::values(const std::string& name, const at::Tensor& actual, const at::Tensor& wanted,
                        Tolerance tolerance) {
  const at::Tensor expected = wanted.to(at::kDouble);
  const at::Tensor found = actual.defined() ? actual.detach().to(at::kDouble) : at::zeros_like(expected);
  if (found.sizes() != expected.sizes()) {
    std::printf("  WRONG %-44s another shape than the file's\n", name.c_str());
    ++wrong_;
    return;
  }
  report(name, largest_entry(found - expected),
         tolerance.relative * largest_entry(expected) + tolerance.absolute);
}

void Comparison::number(const std::string& name, double actual, double expected, Tolerance tolerance) {
  report(name, std::abs(actual - expected), tolerance.relative * std::abs(expected) + tolerance.absolute);
}

// A difference that is no number is none that is small enough.
void Comparison::report(const std::string& name, double difference, double bound) {
  const bool right = difference <= bound;
  std::printf("  %s %-44s largest difference %.1e, tolerance %.1e\n", right ? "right" : "WRONG", name.c_str(),
              difference, bound);
  ++compared_;
  if (!right) ++wrong_;
}

bool Comparison::finish() {
  for (const std::string& name : file_.names("")) {
    if (seen_.count(name) != 0) continue;
    std::printf("  WRONG %-44s not compared: this check does not know it\n", name.c_str());
    ++wrong_;
  }
  if (compared_ == 0) std::printf("  WRONG: nothing was compared\n");
  return wrong_ == 0 && compared_ > 0;
}

double Comparison::largest(const std::string& prefix) const {
  double found = 0.0;
  for (const std::string& name : file_.names(prefix))
    found = std::max(found, largest_entry(file_[prefix + name]));
  return found;
}

}  // namespace cohort::golden_check
