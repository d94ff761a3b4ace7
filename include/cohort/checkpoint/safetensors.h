#pragma once
#include <filesystem>
#include <map>
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

/// Throws DataError: not safetensors, header damaged, offsets overlap or leave the file, truncated.
Safetensors read_safetensors(const std::filesystem::path& file);

/// Written atomically. Throws DataError.
void write_safetensors(const std::filesystem::path& file, const Safetensors& content);

}  // namespace cohort::checkpoint
