#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

namespace cohort::testing {

/// Numbers that another implementation made: the tensors of a safetensors file and what its metadata key
/// "json" says of them, or a JSON file as a whole. A small reader for tests alone, so that no layer under
/// test reads its own reference. A file that is missing or damaged, or a missing tensor, throws
/// std::runtime_error.
class Golden {
 public:
  /// tests/golden/<name>.safetensors
  explicit Golden(const std::string& name)
      : Golden(name, std::string(COHORT_TEST_DATA) + "/golden/" + name + ".safetensors") {}
  /// Any file; a name that ends in .json is one of JSON.
  static Golden of_file(const std::string& path) { return Golden(path, path); }

  /// Where it lies: files that it names lie beside it.
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  /// Which part of Cohort it is for, "masked.mae"; empty: it does not say.
  [[nodiscard]] const std::string& kind() const { return kind_; }
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
  Golden(std::string name, const std::string& path)
      : name_(std::move(name)), folder_(std::filesystem::path(path).parent_path()) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file.is_open() || bytes.empty()) throw std::runtime_error("no golden file " + name_);
    try {
      if (path.ends_with(".json"))
        read_json(bytes);
      else
        read_safetensors(bytes);
    } catch (const std::exception& error) {  // of nlohmann::json, whose texts do not name the file
      throw std::runtime_error("golden file " + name_ + " is damaged: " + error.what());
    }
  }

  void read_json(std::span<const char> bytes) {
    description_ = nlohmann::json::parse(bytes.begin(), bytes.end());
    kind_ = description_.value("kind", "");
  }

  void read_safetensors(std::span<const char> bytes) {
    std::uint64_t header_bytes = 0;
    if (bytes.size() < sizeof header_bytes) throw std::runtime_error("no header");
    std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
    bytes = bytes.subspan(sizeof header_bytes);
    if (header_bytes > bytes.size()) throw std::runtime_error("the header is cut off");
    const auto header = bytes.first(header_bytes);
    const nlohmann::json entries = nlohmann::json::parse(header.begin(), header.end());
    for (const auto& [key, entry] : entries.items()) {
      if (key == "__metadata__") {
        kind_ = entry.value("kind", "");
        description_ = nlohmann::json::parse(entry.at("json").get<std::string>());
      } else {
        tensors_[key] = read(key, entry, bytes.subspan(header_bytes));
      }
    }
  }

  static at::Tensor read(const std::string& name, const nlohmann::json& entry, std::span<const char> data) {
    static const std::map<std::string, at::ScalarType> kTypes{
        {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16},
        {"I64", at::kLong},   {"I32", at::kInt},   {"I16", at::kShort}, {"I8", at::kChar},
        {"U8", at::kByte},    {"BOOL", at::kBool}};
    const auto shape = entry.at("shape").get<std::vector<std::int64_t>>();
    const auto type = kTypes.find(entry.at("dtype").get<std::string>());
    if (type == kTypes.end()) throw std::runtime_error("the type of " + name + " is not known");
    at::Tensor tensor = at::empty(shape, type->second);
    const auto extent = entry.at("data_offsets").get<std::array<std::uint64_t, 2>>();
    if (extent[0] > extent[1] || extent[1] > data.size() || extent[1] - extent[0] != tensor.nbytes())
      throw std::runtime_error("the values of " + name + " are cut off");
    if (tensor.nbytes() > 0) std::memcpy(tensor.mutable_data_ptr(), data.data() + extent[0], tensor.nbytes());
    return tensor;
  }

  std::string name_, kind_;
  std::filesystem::path folder_;
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
