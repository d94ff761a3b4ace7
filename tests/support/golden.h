#pragma once
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

namespace cohort::testing {

/// Tensors of tests/golden/<name>.safetensors: numbers that another implementation made. A small reader for
/// tests alone, so that no layer under test reads its own reference. A missing file or tensor throws
/// std::runtime_error.
class Golden {
 public:
  explicit Golden(const std::string& name) : name_(name) {
    std::ifstream file(std::string(COHORT_TEST_DATA) + "/golden/" + name + ".safetensors", std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    std::uint64_t header_bytes = 0;
    if (bytes.size() < sizeof header_bytes) throw std::runtime_error("no golden file " + name);
    std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
    const char* const header = bytes.data() + sizeof header_bytes;
    const nlohmann::json entries = nlohmann::json::parse(header, header + header_bytes);
    for (const auto& [key, entry] : entries.items()) {
      if (key == "__metadata__") {
        description_ = nlohmann::json::parse(entry.at("json").get<std::string>());
      } else {
        tensors_[key] = read(entry, header + header_bytes);
      }
    }
  }

  /// What the file says of itself: sizes of the model, lists of names.
  [[nodiscard]] const nlohmann::json& description() const { return description_; }
  [[nodiscard]] bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  [[nodiscard]] const at::Tensor& operator[](const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) throw std::runtime_error("no tensor " + name + " in golden file " + name_);
    return found->second;
  }
  /// Names that start with `prefix`, without it.
  [[nodiscard]] std::vector<std::string> names(const std::string& prefix) const {
    std::vector<std::string> found;
    for (const auto& [name, tensor] : tensors_) {
      if (name.rfind(prefix, 0) == 0) found.push_back(name.substr(prefix.size()));
    }
    return found;
  }

 private:
  static at::Tensor read(const nlohmann::json& entry, const char* data) {
    static const std::map<std::string, at::ScalarType> kTypes{
        {"F32", at::kFloat}, {"F64", at::kDouble}, {"I64", at::kLong}};
    const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
    at::Tensor tensor = at::empty(shape, kTypes.at(entry.at("dtype").get<std::string>()));
    std::memcpy(tensor.mutable_data_ptr(), data + entry.at("data_offsets").at(0).get<std::uint64_t>(),
                tensor.nbytes());
    return tensor;
  }

  std::string name_;
  nlohmann::json description_;
  std::map<std::string, at::Tensor> tensors_;
};

/// Largest difference relative to the largest entry of `expected`; absolute if that is 0. An undefined
/// `actual` stands for zeros (a parameter that took no part in the loss).
inline double relative_difference(const at::Tensor& actual, const at::Tensor& expected) {
  const at::Tensor wanted = expected.detach().to(at::kDouble);
  const at::Tensor got = actual.defined() ? actual.detach().to(at::kDouble) : at::zeros_like(wanted);
  if (got.sizes() != wanted.sizes()) throw std::runtime_error("tensors of different shapes are compared");
  const double scale = wanted.abs().max().item<double>();
  const double difference = (got - wanted).abs().max().item<double>();
  return scale > 0.0 ? difference / scale : difference;
}

}  // namespace cohort::testing
