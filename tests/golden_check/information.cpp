// Files of the kinds masked.information and masked.regularizer_ranks: information of rows, and regularizers.
#include <cmath>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>

#include <ATen/ATen.h>

#include "cohort/method/mae_regularizer.h"
#include "cohort/method/matrix_information.h"

#include "checks.h"
#include "models.h"

namespace cohort::golden_check {
namespace {

/// What the file's quantities are of. Of z1 gradients are wanted.
struct Views {
  at::Tensor z1, rows1, rows2, gram1, gram2, covariance1, covariance2;
  double epsilon;
};

Views views_of(Comparison& file) {
  const auto rows = [&](const at::Tensor& z) {
    return method::unit_rows(file.about().at("centred").get<bool>() ? z - z.mean(0) : z);
  };
  const at::Tensor z1 = leaf(file.input("in.z1"));
  const at::Tensor rows1 = rows(z1), rows2 = rows(file.input("in.z2"));
  const auto count = static_cast<double>(z1.size(0));
  return {z1,
          rows1,
          rows2,
          at::mm(rows1, rows1.t()),
          at::mm(rows2, rows2.t()),
          at::mm(rows1.t(), rows1) / count,
          at::mm(rows2.t(), rows2) / count,
          file.about().at("eps")};
}

at::Tensor uniform_like(const at::Tensor& matrix) {
  return at::eye(matrix.size(0), matrix.options()) / static_cast<double>(matrix.size(0));
}

/// log det(mu I + Z Z^T), by that of I + Z Z^T / mu.
at::Tensor coding_rate_of_paper(const at::Tensor& rows, double mu) {
  const auto count = static_cast<double>(rows.size(0)), width = static_cast<double>(rows.size(1));
  return count * std::log(mu) + method::coding_rate(rows, width / mu);
}

/// The number behind `before` in a name such as "TCR(mu=0.5)".
double number_behind(const std::string& name, const std::string& before) {
  return std::stod(name.substr(name.find(before) + before.size()));
}

at::Tensor entropy_named(const std::string& name, const Views& of) {
  const double order = number_behind(name, "_");
  if (name.ends_with("(K1,K2)")) return method::matrix_entropy(of.gram1 * of.gram2, order);
  if (name.ends_with("(K1;K1)")) return method::mutual_information(of.gram1, of.gram1, order);
  if (name.ends_with("(K1;K2)")) return method::mutual_information(of.gram1, of.gram2, order);
  return method::matrix_entropy(name.ends_with("(K1)") ? of.gram1 : of.gram2, order);
}

at::Tensor divergence_named(const std::string& name, const Views& of) {
  if (name == "MCE(C1,C2)") return method::matrix_cross_entropy(of.covariance1, of.covariance2, of.epsilon);
  if (name == "MKL(C1||C1)") return method::matrix_kl(of.covariance1, of.covariance1, of.epsilon);
  if (name == "MKL(C1||C2)") return method::matrix_kl(of.covariance1, of.covariance2, of.epsilon);
  if (name == "MKL(C2||C1)") return method::matrix_kl(of.covariance2, of.covariance1, of.epsilon);
  if (name == "MKL(I/d||C1)")
    return method::matrix_kl(uniform_like(of.covariance1), of.covariance1, of.epsilon);
  throw std::runtime_error("no quantity '" + name + "'");
}

at::Tensor quantity_named(const std::string& name, const Views& of) {
  if (name == "erank(K1)") return method::matrix_entropy(of.gram1, 1).exp();
  if (name == "erank(Z1)") return method::effective_rank(of.rows1);
  if (name.starts_with("TCR_paper")) return coding_rate_of_paper(of.rows1, number_behind(name, "="));
  if (name.starts_with("TCR")) return method::coding_rate(of.rows1, number_behind(name, "="));
  if (name.starts_with("H_") || name.starts_with("I_")) return entropy_named(name, of);
  return divergence_named(name, of);
}

/// By the names that the file's gradients have.
std::string quantity_of_gradient(const std::string& name) {
  static const std::map<std::string, std::string> names{
      {"H_1", "H_1(K1)"},          {"H_2", "H_2(K1)"},           {"I_2", "I_2(K1;K2)"},
      {"MCE_C1_C2", "MCE(C1,C2)"}, {"MKL_C2_C1", "MKL(C2||C1)"}, {"MKL_uniform", "MKL(I/d||C1)"}};
  if (name.starts_with("TCR_mu")) return "TCR(mu=" + name.substr(6) + ")";
  return names.at(name);
}

void compare_spectrum(Comparison& file, const std::string& name, const at::Tensor& gram,
                      Tolerance tolerance) {
  file.tensor(name, at::linalg_eigvalsh(gram).flip({0}), tolerance);
}

}  // namespace

void check_information(Comparison& file) {
  const double bound = file.about().at("tolerance_f64");
  const Tolerance tolerance{bound, bound};  // some quantities are 0
  for (const auto& [name, expected] : file.about().at("values").items())
    file.number(name, quantity_named(name, views_of(file)).item<double>(), expected, tolerance);
  const Views of = views_of(file);
  compare_spectrum(file, "spectrum.K1", of.gram1.detach(), tolerance);
  compare_spectrum(file, "spectrum.K2", of.gram2.detach(), tolerance);
  for (const std::string& name : file.names("grad_z1.")) {
    const Views views = views_of(file);
    quantity_named(quantity_of_gradient(name), views).backward();
    file.tensor("grad_z1." + name, views.z1.grad(), tolerance);
  }
}

void check_regularizer_ranks(Comparison& file) {
  using Kind = method::MaeRegularizer::Kind;
  const auto& about = file.about();
  const Tolerance tolerance{about.at("tolerance_f32")};
  const double ranks = about.at("ranks");
  for (const auto& [name, kind] : {std::pair{"tcr", Kind::tcr}, std::pair{"u_mae", Kind::u_mae}}) {
    const at::Tensor features = leaf(file.float_input("in.features"));
    const at::Tensor value = method::regularizer_of(features, {.kind = kind, .mu = about.at("mu")});
    value.backward();
    file.number(name, value.item<double>(), about.at("losses").at(name), tolerance);
    file.tensor(std::string("exact.grad_") + name, features.grad(), tolerance);
    file.tensor(std::string("reference.grad_") + name, features.grad() / ranks, tolerance);
  }
}

}  // namespace cohort::golden_check
