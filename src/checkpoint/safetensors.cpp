#include "cohort/checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <unistd.h>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <nlohmann/json.hpp>

#include "cohort/core/error.h"
#include "cohort/core/file.h"
#include "cohort/core/read_at.h"

#include "file_mapping.h"

namespace cohort::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian and copied as it is");

constexpr std::uint64_t kLargestHeader = 100'000'000;  // the limit of the reference implementation
constexpr std::size_t kLengthBytes = sizeof(std::uint64_t);

struct DtypeName {
  std::string_view name;
  at::ScalarType type;
};
constexpr std::array kDtypes{DtypeName{"F64", at::kDouble}, DtypeName{"F32", at::kFloat},
                             DtypeName{"F16", at::kHalf},   DtypeName{"BF16", at::kBFloat16},
                             DtypeName{"I64", at::kLong},   DtypeName{"I32", at::kInt},
                             DtypeName{"I16", at::kShort},  DtypeName{"I8", at::kChar},
                             DtypeName{"U8", at::kByte},    DtypeName{"BOOL", at::kBool}};

struct Entry {
  std::string name;
  at::ScalarType dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // in the data part
};

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file)
      : file_(file), descriptor_(open_file(file)), file_bytes_(std::filesystem::file_size(file)) {}

  Safetensors read() {
    const nlohmann::json header = read_header();
    Safetensors content;
    std::vector<Entry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") {
        content.metadata = parse_metadata(value);
      } else {
        entries.push_back(parse_entry(name, value));
      }
    }
    check_layout(entries);
    mapping_ = std::make_shared<FileMapping>(descriptor_, file_bytes_, file_);
    for (const Entry& entry : entries) content.tensors.emplace_back(entry.name, read_tensor(entry));
    return content;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw DataError({what, file_.string(),
                     "the file is damaged or not in the safetensors format: copy or download it again"});
  }

  void read_bytes(void* target, std::uint64_t count, std::uint64_t offset) const {
    if (read_at(descriptor_, offset, {static_cast<std::byte*>(target), count}) != count)
      refuse("the file ended while it was read");
  }

  nlohmann::json read_header() {
    std::uint64_t length = 0;
    if (file_bytes_ < kLengthBytes)
      refuse(fmt::format("{} bytes are too few for a safetensors file", file_bytes_));
    read_bytes(&length, kLengthBytes, 0);
    if (length > kLargestHeader || length > file_bytes_ - kLengthBytes) {
      refuse(fmt::format("a header of {} bytes does not fit into a file of {} bytes", length, file_bytes_));
    }
    std::string text(length, '\0');
    read_bytes(text.data(), length, kLengthBytes);
    data_bytes_ = file_bytes_ - kLengthBytes - length;
    return parse_header(text);
  }

  // The JSON library keeps the last of two equal names; the format forbids them.
  nlohmann::json parse_header(const std::string& text) const {
    std::set<std::string> names;
    std::string twice;
    const auto see = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
      if (depth == 1 && event == nlohmann::json::parse_event_t::key &&
          !names.insert(parsed.get<std::string>()).second) {
        twice = parsed.get<std::string>();
      }
      return true;
    };
    nlohmann::json header = nlohmann::json::parse(text, see, false);
    if (header.is_discarded() || !header.is_object()) refuse("the header is not a JSON object");
    if (!twice.empty()) refuse(fmt::format("tensor '{}' appears twice", twice));
    return header;
  }

  std::map<std::string, std::string> parse_metadata(const nlohmann::json& value) const {
    std::map<std::string, std::string> metadata;
    if (!value.is_object()) refuse("__metadata__ is not an object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) refuse(fmt::format("metadata '{}' is not a text", key));
      metadata[key] = text.get<std::string>();
    }
    return metadata;
  }

  Entry parse_entry(const std::string& name, const nlohmann::json& value) const {
    const auto unsigned_list = [](const nlohmann::json& list) {
      return list.is_array() && std::all_of(list.begin(), list.end(),
                                            [](const auto& item) { return item.is_number_unsigned(); });
    };
    if (!value.is_object() || !value.contains("dtype") || !value["dtype"].is_string() ||
        !value.contains("shape") || !unsigned_list(value["shape"]) || !value.contains("data_offsets") ||
        !unsigned_list(value["data_offsets"]) || value["data_offsets"].size() != 2) {
      refuse(fmt::format("tensor '{}' lacks a valid dtype, shape or data_offsets", name));
    }
    Entry entry{name,
                parse_dtype(name, value["dtype"].get<std::string>()),
                {},
                value["data_offsets"][0],
                value["data_offsets"][1]};
    std::uint64_t bytes = c10::elementSize(entry.dtype);
    std::uint64_t most = bytes;  // as if no size were 0
    for (const std::uint64_t size : value["shape"]) {
      if (__builtin_mul_overflow(most, std::max<std::uint64_t>(size, 1), &most) ||
          most > std::numeric_limits<std::int64_t>::max()) {
        refuse(fmt::format("the shape of tensor '{}' is too large", name));
      }
      bytes *= size;
      entry.shape.push_back(static_cast<std::int64_t>(size));
    }
    if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
      refuse(fmt::format("tensor '{}' has data_offsets [{}, {}] but needs {} bytes", name, entry.begin,
                         entry.end, bytes));
    }
    return entry;
  }

  at::ScalarType parse_dtype(const std::string& name, const std::string& text) const {
    const auto* found =
        std::find_if(kDtypes.begin(), kDtypes.end(), [&](const auto& dtype) { return dtype.name == text; });
    if (found == kDtypes.end()) {
      throw DataError({fmt::format("tensor '{}' has the dtype {}, which cannot be read", name, text),
                       file_.string(), "convert it to one of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL"});
    }
    return found->type;
  }

  // Sorts by offset. The format allows neither holes nor overlaps nor bytes after the last tensor.
  void check_layout(std::vector<Entry>& entries) const {
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    std::uint64_t position = 0;
    for (const Entry& entry : entries) {
      if (entry.begin != position) {
        refuse(fmt::format("tensor '{}' starts at byte {} of the data, expected {}", entry.name, entry.begin,
                           position));
      }
      position = entry.end;
    }
    if (position > data_bytes_)
      refuse(fmt::format("the file is cut off: {} of {} data bytes are there", data_bytes_, position));
    if (position < data_bytes_)
      refuse(fmt::format("{} bytes follow the last tensor", data_bytes_ - position));
  }

  // A view of the mapped file, or a copy where the file puts values at an address that is none of their type.
  at::Tensor read_tensor(const Entry& entry) const {
    if (entry.end == entry.begin) return at::empty(entry.shape, entry.dtype);
    std::byte* const start = mapping_->data() + (file_bytes_ - data_bytes_) + entry.begin;
    if (reinterpret_cast<std::uintptr_t>(start) % c10::elementSize(entry.dtype) == 0) {
      const auto hold = [mapping = mapping_](void*) {};
      return at::from_blob(start, entry.shape, hold, entry.dtype);
    }
    at::Tensor tensor = at::empty(entry.shape, entry.dtype);
    std::memcpy(tensor.mutable_data_ptr(), start, entry.end - entry.begin);
    return tensor;
  }

  std::filesystem::path file_;
  FileDescriptor descriptor_;
  std::uint64_t file_bytes_ = 0, data_bytes_ = 0;
  std::shared_ptr<FileMapping> mapping_;
};

std::string_view dtype_name(const TensorHeader& tensor) {
  const auto* found = std::find_if(kDtypes.begin(), kDtypes.end(),
                                   [&](const auto& dtype) { return dtype.type == tensor.dtype; });
  COHORT_CHECK(found != kDtypes.end(), "tensor '{}' has a dtype that safetensors cannot hold", tensor.name);
  return found->name;
}

std::size_t bytes_of(const TensorHeader& tensor) {
  std::size_t bytes = c10::elementSize(tensor.dtype);
  for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::size_t>(size);
  return bytes;
}

// Wide values first, as the reference implementation does, so that each tensor is aligned in a mapped file.
std::vector<std::size_t> file_order(const std::vector<TensorHeader>& tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return c10::elementSize(tensors[a].dtype) > c10::elementSize(tensors[b].dtype);
  });
  return order;
}

std::string header_text(const std::vector<TensorHeader>& tensors,
                        const std::map<std::string, std::string>& metadata,
                        std::span<const std::size_t> order) {
  nlohmann::json header = nlohmann::json::object();
  std::size_t position = 0;
  for (const std::size_t index : order) {
    const TensorHeader& tensor = tensors[index];
    COHORT_CHECK(tensor.name != "__metadata__" && !header.contains(tensor.name), "tensor name '{}' is taken",
                 tensor.name);
    const std::size_t end = position + bytes_of(tensor);
    header[tensor.name] = {
        {"dtype", dtype_name(tensor)}, {"shape", tensor.shape}, {"data_offsets", {position, end}}};
    position = end;
  }
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

const at::Tensor* Safetensors::find(const std::string& name) const noexcept {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& entry) { return entry.first == name; });
  return found == tensors.end() ? nullptr : &found->second;
}

Safetensors read_safetensors(const std::filesystem::path& file) {
  return Reader(file).read();
}

void write_safetensors(const std::filesystem::path& file, const std::vector<TensorHeader>& tensors,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<void(std::size_t, const WriteBytes&)>& produce) {
  const std::vector<std::size_t> order = file_order(tensors);
  const std::string header = header_text(tensors, metadata, order);
  const std::uint64_t length = header.size();
  AtomicFile target(file);
  target.write(std::as_bytes(std::span(&length, 1)));
  target.write(std::as_bytes(std::span(header)));
  for (const std::size_t index : order) {
    std::size_t written = 0;
    produce(index, [&](std::span<const std::byte> bytes) {
      written += bytes.size();
      target.write(bytes);
    });
    COHORT_CHECK(written == bytes_of(tensors[index]), "{} bytes for tensor '{}'", written,
                 tensors[index].name);
  }
  target.commit();
}

void write_safetensors(const std::filesystem::path& file, const Safetensors& content) {
  std::vector<TensorHeader> tensors;
  for (const auto& [name, tensor] : content.tensors)
    tensors.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
  write_safetensors(file, tensors, content.metadata, [&](std::size_t index, const WriteBytes& write) {
    const at::Tensor tensor = content.tensors[index].second.cpu().contiguous();
    write(std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()));
  });
}

}  // namespace cohort::checkpoint
