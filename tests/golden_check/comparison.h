#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "support/golden.h"

namespace cohort::golden_check {

/// |actual - expected| <= relative * largest |expected| of the tensor + absolute.
struct Tolerance {
  double relative = 0.0, absolute = 0.0;
};
inline constexpr Tolerance kExact{};

/// Holds what Cohort computes against one file, and prints a line for each quantity. Everything that the file
/// has must be an input() or be compared: finish() reports what was left.
class Comparison {
 public:
  explicit Comparison(const testing::Golden& file) : file_(file) {}

  [[nodiscard]] const nlohmann::json& about() const { return file_.description(); }
  /// Where the file lies.
  [[nodiscard]] const std::filesystem::path& folder() const { return file_.folder(); }
  [[nodiscard]] bool has(const std::string& name) const { return file_.has(name); }
  /// Names that start with `prefix`, without it.
  [[nodiscard]] std::vector<std::string> names(const std::string& prefix) const {
    return file_.names(prefix);
  }
  /// What goes into the computation. Throws std::runtime_error when the file lacks it.
  const at::Tensor& input(const std::string& name);
  /// The same in f32, what Cohort computes in.
  at::Tensor float_input(const std::string& name) { return input(name).to(at::kFloat); }
  /// A tensor of the file. An undefined `actual` is zeros: what takes no part in a loss.
  void tensor(const std::string& name, const at::Tensor& actual, Tolerance tolerance);
  /// Values of `name`, of which not all are compared.
  void values(const std::string& name, const at::Tensor& actual, const at::Tensor& expected,
              Tolerance tolerance);
  /// A value that stands elsewhere in the file, `name` for the line alone.
  void number(const std::string& name, double actual, double expected, Tolerance tolerance);
  /// tensor() if the file has it.
  void tensor_if_there(const std::string& name, const at::Tensor& actual, Tolerance tolerance) {
    if (has(name)) tensor(name, actual, tolerance);
  }
  /// Whether every quantity was compared, one at least, and all are right.
  [[nodiscard]] bool finish();

  /// Largest entry of all tensors whose names begin with `prefix`.
  [[nodiscard]] double largest(const std::string& prefix) const;

 private:
  void report(const std::string& name, double difference, double bound);

  const testing::Golden& file_;
  std::set<std::string> seen_;
  int compared_ = 0, wrong_ = 0;
};

}  // namespace cohort::golden_check
