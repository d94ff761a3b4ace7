#pragma once
#include <cstddef>
#include <map>
#include <string>

#include <torch/nn/module.h>

#include "cohort/nn/unit_model.h"

#include "comparison.h"

namespace cohort::comm {
class Communicator;
}

namespace cohort::golden_check {

/// Copies <prefix><name> into every parameter of `module`. Throws std::runtime_error when the file lacks one
/// or has another shape.
void load_parameters(Comparison& file, const std::string& prefix, torch::nn::Module& module);
/// Buffers that the file has.
void load_buffers(Comparison& file, const std::string& prefix, torch::nn::Module& module);

/// Every <prefix><name> of the file against the gradient of that parameter; a parameter that the module does
/// not have is an error.
void compare_gradients(Comparison& file, const std::string& prefix, const torch::nn::Module& module,
                       Tolerance tolerance);

/// What a batch normalisation learnt in a step, as one process would: nn::StepState::finish_step() of each.
void finish_step(torch::nn::Module& module);

/// Keeps what comes out of each unit while it lives, by its number.
class OutputRecorder final : public nn::UnitRunner {
 public:
  explicit OutputRecorder(nn::UnitModel& model) : model_(model), before_(model.runner()) { model.use(*this); }
  ~OutputRecorder() override { model_.use(before_); }
  OutputRecorder(const OutputRecorder&) = delete;
  OutputRecorder& operator=(const OutputRecorder&) = delete;

  void begin(std::size_t first_unit) override { before_.begin(first_unit); }
  nn::Tensors run(std::size_t unit, const nn::Tensors& inputs, const Body& body) override {
    nn::Tensors of_unit = before_.run(unit, inputs, body);
    outputs[unit] = of_unit.front();
    return of_unit;
  }
  [[nodiscard]] bool is_collective() const noexcept override { return before_.is_collective(); }

  std::map<std::size_t, at::Tensor> outputs;

 private:
  nn::UnitModel& model_;
  nn::UnitRunner& before_;
};

/// `values`, a leaf of its own that gets a gradient.
at::Tensor leaf(const at::Tensor& values);

/// One rank, for what is sharded.
comm::Communicator& one_rank();

/// Parameters of `module` by the name that `published` gives them; a convolution of 1 x 1 may be stored with
/// one dimension of places instead of two.
template <class Published>
void load_by_name(Comparison& file, torch::nn::Module& module, const Published& published) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : module.named_parameters())
    parameter.value().copy_(
        file.input("param." + published(parameter.key())).view(parameter.value().sizes()));
}

template <class Published>
void compare_by_name(Comparison& file, const std::string& prefix, torch::nn::Module& module,
                     const Published& published, Tolerance tolerance) {
  for (auto& parameter : module.named_parameters()) {
    const std::string name = prefix + published(parameter.key());
    if (file.has(name)) file.tensor(name, parameter.value().grad().view(file.input(name).sizes()), tolerance);
    parameter.value().mutable_grad().reset();
  }
}

inline std::string as_it_is(const std::string& name) {
  return name;
}

/// The number that a tolerance is, or that its text begins with ("5e-05 of the tensor maximum + …").
double leading_number(const nlohmann::json& value);

}  // namespace cohort::golden_check
