#include "cohort/checkpoint/export.h"

#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cohort/checkpoint/safetensors.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"

#include "catalogue.h"
#include "folder.h"
#include "state_file.h"

namespace cohort::checkpoint {

void export_safetensors(const Location& checkpoint, const std::string& prefix,
                        const std::filesystem::path& file) {
  const std::filesystem::path folder = checkpoint.folder / folder_name(checkpoint.step);
  const Contents contents = parse_meta(read_meta(folder), (folder / kMeta).string());
  std::vector<TensorHeader> headers;
  std::vector<const Catalogue::value_type*> saved;
  for (const auto& entry : contents.tensors) {
    if (!entry.first.starts_with(prefix)) continue;
    headers.push_back({entry.first.substr(prefix.size()), at::kFloat, entry.second.shape});
    saved.push_back(&entry);
  }
  if (headers.empty()) {
    throw DataError({fmt::format("the checkpoint has no tensors below '{}'", prefix), folder.string(),
                     "see what it holds: cohort checkpoint inspect"});
  }
  StateReader reader(folder / kState, contents);
  std::map<std::string, std::string> metadata{{"format", "pt"}};
  if (!contents.meta.trained_on.empty()) metadata[kTrainedOn] = contents.meta.trained_on;
  write_safetensors(file, headers, metadata, [&](std::size_t index, const WriteBytes& write) {
    const auto& [name, tensor] = *saved[index];
    for (const SavedSlice& slice : tensor.slices) {
      reader.visit(name, tensor, slice,
                   [&](std::int64_t, std::span<const float> values) { write(std::as_bytes(values)); });
    }
  });
}

}  // namespace cohort::checkpoint
