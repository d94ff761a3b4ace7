#include "catalogue.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include <nlohmann/json.hpp>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"

namespace cohort::checkpoint {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "cohort-checkpoint";
constexpr int kVersion = 1;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

json to_json(const std::map<std::string, SavedTensor>& tensors) {
  json result = json::object();
  for (const auto& [name, tensor] : tensors) {
    json slices = json::array();
    for (const SavedSlice& slice : tensor.slices) {
      slices.push_back(
          {{"begin", slice.begin}, {"count", slice.count}, {"checksum", checksum_text(slice.checksum)}});
    }
    result[name] = {{"shape", tensor.shape}, {"slices", std::move(slices)}};
  }
  return result;
}

std::map<std::string, SavedTensor> tensors_from(const json& object, const std::string& where) {
  std::map<std::string, SavedTensor> tensors;
  for (const auto& [name, value] : object.items()) {
    SavedTensor& tensor = tensors[name];
    value.at("shape").get_to(tensor.shape);
    for (const json& slice : value.at("slices")) {
      tensor.slices.push_back({slice.at("begin"), slice.at("count"),
                               parse_checksum(slice.at("checksum").get<std::string>(), where)});
    }
  }
  return tensors;
}

// The slices of this rank alone.
std::map<std::string, SavedTensor> describe(const std::vector<Slice>& state) {
  std::map<std::string, SavedTensor> tensors;
  for (const Slice& slice : state) {
    const at::Tensor values = slice.values.cpu();
    const auto bytes =
        std::as_bytes(std::span(values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())));
    SavedTensor& tensor = tensors[slice.name];
    COHORT_CHECK(tensor.slices.empty() || tensor.shape == slice.shape, "two shapes for tensor '{}'",
                 slice.name);
    tensor.shape = slice.shape;
    if (values.numel() > 0) tensor.slices.push_back({slice.begin, values.numel(), checksum(bytes)});
  }
  return tensors;
}

void sort_and_check(const std::string& name, SavedTensor& tensor) {
  std::sort(tensor.slices.begin(), tensor.slices.end(),
            [](const SavedSlice& a, const SavedSlice& b) { return a.begin < b.begin; });
  std::int64_t position = 0;
  for (const SavedSlice& slice : tensor.slices) {
    COHORT_CHECK(slice.begin == position, "tensor '{}': a slice begins at {}, the one before ends at {}",
                 name, slice.begin, position);
    position += slice.count;
  }
  COHORT_CHECK(position == value_count(tensor.shape), "tensor '{}': slices of {} values for a tensor of {}",
               name, position, value_count(tensor.shape));
}

Meta meta_from(const json& object) {
  return {object.at("step"), object.at("epoch"), object.at("seed"), object.at("config"),
          object.at("dataset")};
}

}  // namespace

std::int64_t value_count(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Catalogue agree_on_catalogue(const std::vector<Slice>& state, comm::Communicator& ranks) {
  std::string mine;
  comm::together(ranks, [&] { mine = to_json(describe(state)).dump(); });
  Catalogue all;
  for (const std::string& text : ranks.gather_texts(mine)) {
    for (auto& [name, part] : tensors_from(json::parse(text), "slices of a rank")) {
      const auto [place, is_new] = all.tensors.try_emplace(name, SavedTensor{part.shape, {}});
      COHORT_CHECK(place->second.shape == part.shape, "the ranks give tensor '{}' two shapes", name);
      auto& slices = place->second.slices;
      slices.insert(slices.end(), part.slices.begin(), part.slices.end());
    }
  }
  for (auto& [name, tensor] : all.tensors) sort_and_check(name, tensor);
  return all;
}

std::string meta_text(const MetaFile& content) {
  json object = {{"format", kFormat},
                 {"version", kVersion},
                 {"step", content.meta.step},
                 {"epoch", content.meta.epoch},
                 {"seed", content.meta.seed},
                 {"config", content.meta.config},
                 {"dataset", content.meta.dataset},
                 {"file_bytes", content.catalogue.file_bytes},
                 {"tensors", to_json(content.catalogue.tensors)}};
  object["checksum"] = checksum_text(checksum(bytes_of(object.dump())));
  return object.dump(1) + "\n";
}

MetaFile parse_meta(const std::string& text, const std::string& where) {
  const DataError damaged(
      {"the description of the checkpoint is damaged", where, "use an earlier checkpoint"});
  json object = json::parse(text, nullptr, false);
  if (!object.is_object() || !object.contains("format") || object["format"] != kFormat ||
      !object.contains("version"))
    throw damaged;
  if (object["version"] != kVersion) {
    throw DataError({fmt::format("the checkpoint has version {}, this program reads version {}",
                                 object["version"].dump(), kVersion),
                     where, "use the version of Cohort that wrote it"});
  }
  try {
    const std::uint64_t expected = parse_checksum(object.at("checksum").get<std::string>(), where);
    object.erase("checksum");
    if (checksum(bytes_of(object.dump())) != expected) throw damaged;
    return {meta_from(object), {tensors_from(object.at("tensors"), where), object.at("file_bytes")}};
  } catch (const json::exception&) {
    throw damaged;
  }
}

}  // namespace cohort::checkpoint
