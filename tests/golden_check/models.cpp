#include "models.h"

#include <chrono>
#include <stdexcept>

#include <ATen/ATen.h>

#include "cohort/comm/session.h"
#include "cohort/nn/step_state.h"

namespace cohort::golden_check {

void load_parameters(Comparison& file, const std::string& prefix, torch::nn::Module& module) {
  const at::NoGradGuard no_grad;
  for (auto& parameter : module.named_parameters()) {
    const at::Tensor& values = file.input(prefix + parameter.key());
    if (values.sizes() != parameter.value().sizes())
      throw std::runtime_error(prefix + parameter.key() + " has another shape than Cohort's parameter");
    parameter.value().copy_(values);
  }
}

void load_buffers(Comparison& file, const std::string& prefix, torch::nn::Module& module) {
  const at::NoGradGuard no_grad;
  for (auto& buffer : module.named_buffers()) {
    if (file.has(prefix + buffer.key())) buffer.value().copy_(file.input(prefix + buffer.key()));
  }
}

void compare_gradients(Comparison& file, const std::string& prefix, const torch::nn::Module& module,
                       Tolerance tolerance) {
  const auto parameters = module.named_parameters();
  for (const std::string& name : file.names(prefix)) {
    const at::Tensor* parameter = parameters.find(name);
    if (parameter == nullptr)
      throw std::runtime_error("no parameter " + name + ", of which the file has a gradient");
    file.tensor(prefix + name, parameter->grad(), tolerance);
  }
}

void finish_step(torch::nn::Module& module) {
  for (const auto& part : module.modules(/*include_self=*/false)) {
    if (auto* state = dynamic_cast<nn::StepState*>(part.get())) state->finish_step();
  }
}

at::Tensor leaf(const at::Tensor& values) {
  return values.clone().requires_grad_();
}

comm::Communicator& one_rank() {
  static int argc = 0;
  static char** argv = nullptr;
  static comm::Session session(argc, argv, std::chrono::seconds(30));
  static comm::Communicator world = session.world();
  return world;
}

double leading_number(const nlohmann::json& value) {
  return value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>();
}

}  // namespace cohort::golden_check
