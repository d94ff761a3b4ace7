#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "data/shard_writer.h"

namespace cohort::data {

/// A small file beside a finished shard, until its dataset is complete: a conversion that was interrupted
/// goes on with what it finds. "<shard>.done": one JSON object.
std::filesystem::path receipt_path(const std::filesystem::path& folder, const std::string& file);

/// `source`: Description::source of the conversion. Throws DataError.
void write_receipt(const std::filesystem::path& folder, const WrittenShard& shard, std::uint64_t source);

/// Nothing when there is none, or none of the same conversion.
std::optional<WrittenShard> read_receipt(const std::filesystem::path& folder, const std::string& file,
                                         std::uint64_t source);

/// read_receipt() of a shard that is whole: its bytes are compared with the checksum.
std::optional<WrittenShard> finished_shard(const std::filesystem::path& folder, const std::string& file,
                                           std::uint64_t source);

}  // namespace cohort::data
