#pragma once
#include <filesystem>
#include <string>

#include "cohort/checkpoint/store.h"

namespace cohort::checkpoint {

/// Key of the metadata of exported weights: Meta::trained_on.
inline constexpr const char* kTrainedOn = "cohort.trained_on";

/// Writes the tensors of a checkpoint below `prefix` ("/model/") to a safetensors file, f32, under their
/// names without the prefix, as PyTorch's readers expect it, with what the model was trained on as metadata.
/// Values are compared with their checksums; 1 MiB of them are in memory at a time. The file is written
/// atomically. Not collective. Throws DataError: nothing below the prefix, damaged, disk full.
void export_safetensors(const Location& checkpoint, const std::string& prefix,
                        const std::filesystem::path& file);

}  // namespace cohort::checkpoint
