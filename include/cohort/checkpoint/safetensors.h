#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace cohort::checkpoint {

/// The safetensors format (github.com/huggingface/safetensors): 8 bytes header length, a JSON header, raw
/// little-endian data. Dtypes: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL.
struct Safetensors {
  std::vector<std::pair<std::string, at::Tensor>>
      tensors;                                  ///< CPU, contiguous, in the order of the file's offsets
  std::map<std::string, std::string> metadata;  ///< "__metadata__"

  /// Null when there is none.
  [[nodiscard]] const at::Tensor* find(const std::string& name) const noexcept;
};

/// The tensors are views of the file, which is mapped: values are read when they are used, so that a file may
/// be larger than memory, and writing to a tensor does not change the file. As long as one of them lives, the
/// file may be replaced or removed, but not cut off in place (that would end the program with SIGBUS).
/// Tensors that a file does not align for their dtype are copied. Throws DataError: not safetensors, header
/// damaged, offsets overlap or leave the file, truncated.
Safetensors read_safetensors(const std::filesystem::path& file);

/// Written atomically. Throws DataError.
void write_safetensors(const std::filesystem::path& file, const Safetensors& content);

/// A tensor whose values are not in memory yet.
struct TensorHeader {
  std::string name;
  at::ScalarType dtype;
  std::vector<std::int64_t> shape;
};

/// The same, tensor by tensor, for more than fits into memory: `produce(i, write)` calls write() with the
/// bytes of tensors[i], in row-major order and in as many parts as it likes. It is called once for each
/// tensor, wide dtypes first. What it throws leaves the old file as it was.
using WriteBytes = std::function<void(std::span<const std::byte>)>;
void write_safetensors(const std::filesystem::path& file, const std::vector<TensorHeader>& tensors,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<void(std::size_t, const WriteBytes&)>& produce);

}  // namespace cohort::checkpoint
