#include "catalogue.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"

#include "support/json.h"

namespace cohort::checkpoint {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "cohort-checkpoint";
constexpr int kVersion = 1;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

json to_json(const Catalogue& tensors) {
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

Catalogue tensors_from(const json& object, const std::string& where) {
  Catalogue tensors;
  for (const auto& [name, value] : object.items()) {
    SavedTensor& tensor = tensors[name];
    for (const json& size : value.at("shape")) tensor.shape.push_back(integer_of(size));
    for (const json& slice : value.at("slices")) {
      tensor.slices.push_back({integer_of(slice.at("begin")), integer_of(slice.at("count")),
                               parse_checksum(slice.at("checksum").get<std::string>(), where)});
    }
  }
  return tensors;
}

// Values of CUDA tensors come in parts: never a whole tensor twice.
std::uint64_t checksum_of(const at::Tensor& values) {
  constexpr std::int64_t kPart = std::int64_t{1} << 20;
  Checksum sum;
  for (std::int64_t done = 0; done < values.numel(); done += kPart) {
    const at::Tensor part = values.narrow(0, done, std::min(kPart, values.numel() - done)).cpu();
    sum.update(
        std::as_bytes(std::span(part.const_data_ptr<float>(), static_cast<std::size_t>(part.numel()))));
  }
  return sum.value();
}

// The slices of this rank alone.
Catalogue describe(const std::vector<Slice>& state) {
  Catalogue tensors;
  for (const Slice& slice : state) {
    SavedTensor& tensor = tensors[slice.name];
    COHORT_CHECK(tensor.slices.empty() || tensor.shape == slice.shape, "two shapes for tensor '{}'",
                 slice.name);
    tensor.shape = slice.shape;
    for (std::int64_t done = 0; done < slice.values.numel(); done += kSavedValues) {
      const std::int64_t count = std::min(kSavedValues, slice.values.numel() - done);
      tensor.slices.push_back({slice.begin + done, count, checksum_of(slice.values.narrow(0, done, count))});
    }
  }
  return tensors;
}

/// No dimension is negative, and the number of values can be counted.
bool is_shape(const std::vector<std::int64_t>& shape) {
  std::int64_t values = sizeof(float);
  return std::all_of(shape.begin(), shape.end(), [&](std::int64_t size) {
    return size >= 0 && !__builtin_mul_overflow(values, std::max<std::int64_t>(size, 1), &values);
  });
}

/// What a file says of its tensors: slices that follow each other and are all of the tensor.
bool is_whole(const SavedTensor& tensor) {
  if (!is_shape(tensor.shape)) return false;
  std::int64_t position = 0;
  const std::int64_t all = value_count(tensor.shape);
  for (const SavedSlice& slice : tensor.slices) {
    if (slice.begin != position || slice.count < 0 || slice.count > all - position) return false;
    position += slice.count;
  }
  return position == all;
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

std::vector<Meta::Encoder> encoders_from(const json& object) {
  std::vector<Meta::Encoder> encoders;
  if (!object.contains("encoders")) return encoders;
  for (const json& encoder : object["encoders"])
    encoders.push_back({encoder.at("name"), encoder.at("prefix")});
  return encoders;
}

Meta meta_from(const json& object) {
  return {integer_of(object.at("step")),  integer_of(object.at("epoch")),
          unsigned_of(object.at("seed")), object.at("config"),
          object.at("dataset"),           object.contains("trained_on") ? object["trained_on"].dump() : "",
          encoders_from(object)};
}

}  // namespace

Damaged::Damaged(std::string what, const std::string& where, const std::string& remedy)
    : DataError({std::move(what), where,
                 fmt::format("{}use an earlier checkpoint: resume=<folder of the checkpoint>",
                             remedy.empty() ? "" : remedy + "; or ")}) {}

std::int64_t value_count(std::span<const std::int64_t> shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

Catalogue agree_on_catalogue(const std::vector<Slice>& state, comm::Communicator& ranks) {
  std::string mine;
  comm::together(ranks, [&] { mine = to_json(describe(state)).dump(); });
  Catalogue all;
  for (const std::string& text : ranks.gather_texts(mine)) {
    for (auto& [name, part] : tensors_from(json::parse(text), "slices of a rank")) {
      const auto [place, is_new] = all.try_emplace(name, SavedTensor{part.shape, {}});
      COHORT_CHECK(place->second.shape == part.shape, "the ranks give tensor '{}' two shapes", name);
      auto& slices = place->second.slices;
      slices.insert(slices.end(), part.slices.begin(), part.slices.end());
    }
  }
  for (auto& [name, tensor] : all) sort_and_check(name, tensor);
  return all;
}

std::string meta_text(const Contents& contents) {
  json object = {{"format", kFormat},
                 {"version", kVersion},
                 {"step", contents.meta.step},
                 {"epoch", contents.meta.epoch},
                 {"seed", contents.meta.seed},
                 {"config", contents.meta.config},
                 {"dataset", contents.meta.dataset},
                 {"file_bytes", contents.file_bytes},
                 {"tensors", to_json(contents.tensors)}};
  if (!contents.meta.trained_on.empty()) object["trained_on"] = json::parse(contents.meta.trained_on);
  for (const auto& [name, prefix] : contents.meta.encoders)
    object["encoders"].push_back({{"name", name}, {"prefix", prefix}});
  object["checksum"] = checksum_text(checksum(bytes_of(object.dump())));
  return object.dump(1) + "\n";
}

Contents parse_meta(const std::string& text, const std::string& where) {
  const Damaged damaged("the description of the checkpoint is damaged", where);
  if (is_nested_deeply(text)) throw damaged;
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
    const std::string expected = object.at("checksum");
    object.erase("checksum");
    if (checksum_text(checksum(bytes_of(object.dump()))) != expected) throw damaged;
    Contents contents{meta_from(object), tensors_from(object.at("tensors"), where),
                      unsigned_of(object.at("file_bytes"))};
    const bool whole = std::all_of(contents.tensors.begin(), contents.tensors.end(),
                                   [](const auto& entry) { return is_whole(entry.second); });
    if (!whole) throw damaged;
    return contents;
  } catch (const json::exception&) {
    throw damaged;
  } catch (const std::out_of_range&) {
    throw damaged;
  }
}

}  // namespace cohort::checkpoint
