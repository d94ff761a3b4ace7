#include "data/shard_receipt.h"

#include <nlohmann/json.hpp>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/file.h"

namespace cohort::data {
namespace {

using ReceiptJson = nlohmann::ordered_json;

WrittenShard parse_receipt(const ReceiptJson& json, const std::string& file) {
  WrittenShard shard{{file, json.at("rows"), json.at("bytes"), json.at("checksum")}, {}};
  for (const ReceiptJson& channel : json.at("channels"))
    shard.channels.push_back({channel.at(0), channel.at(1), channel.at(2)});
  return shard;
}

}  // namespace

std::filesystem::path receipt_path(const std::filesystem::path& folder, const std::string& file) {
  return folder / (file + ".done");
}

void write_receipt(const std::filesystem::path& folder, const WrittenShard& shard, std::uint64_t source) {
  ReceiptJson channels = ReceiptJson::array();
  for (const Moments& moments : shard.channels)
    channels.push_back({moments.count, moments.mean, moments.squares});
  const ReceiptJson json{{"source", source},
                         {"rows", shard.entry.rows},
                         {"bytes", shard.entry.bytes},
                         {"checksum", shard.entry.checksum},
                         {"channels", channels}};
  write_file_atomically(receipt_path(folder, shard.entry.file), json.dump() + "\n");
}

std::optional<WrittenShard> read_receipt(const std::filesystem::path& folder, const std::string& file,
                                         std::uint64_t source) {
  const std::filesystem::path path = receipt_path(folder, file);
  if (source == 0 || !std::filesystem::exists(path)) return std::nullopt;
  try {
    const ReceiptJson json = ReceiptJson::parse(read_file(path));
    if (json.at("source") != source) return std::nullopt;
    return parse_receipt(json, file);
  } catch (const ReceiptJson::exception&) {
    return std::nullopt;  // damaged: the shard is written again
  }
}

std::optional<WrittenShard> finished_shard(const std::filesystem::path& folder, const std::string& file,
                                           std::uint64_t source) {
  const auto shard = read_receipt(folder, file, source);
  std::error_code error;
  if (!shard || std::filesystem::file_size(folder / file, error) != shard->entry.bytes || error)
    return std::nullopt;
  if (checksum_file(folder / file) != shard->entry.checksum) return std::nullopt;
  return shard;
}

}  // namespace cohort::data
