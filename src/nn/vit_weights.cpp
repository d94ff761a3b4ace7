// What of published and earlier weights a vision transformer can use.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/text.h"
#include "cohort/nn/vit.h"
#include "cohort/nn/weights.h"

#include "adapt.h"

namespace cohort::nn {
namespace {

std::string grid_text(PatchGrid grid) {
  return fmt::format("{} x {}", grid.rows, grid.columns);
}

/// Rows of a model's position table before those of patches.
std::int64_t rows_before_patches(const VitShape& shape) {
  return shape.registers > 0 ? 0 : 1 + std::ssize(shape.context.keys);
}

/// A stored table [1, prefix + n, D], its rows before those of patches as the model has them.
struct StoredTable {
  at::Tensor table;
  PatchGrid grid;
  std::string note{};  ///< how it was read, for the log
};

/// The stored table with rows for the keys of the model, by name; zeros for those that the file lacks.
StoredTable with_rows_of_keys(const at::Tensor& stored, const VitShape& shape, const Names& from,
                              PatchGrid grid) {
  std::vector<std::string> keys;
  for (const Names::Context& context : from.contexts) keys.push_back(context.key);
  if (shape.registers > 0 || keys == shape.context.keys) return {stored, grid};
  std::vector<at::Tensor> rows{stored.narrow(1, 0, 1)};
  StoredTable result{{}, grid, ", rows of context tokens by key"};
  for (const std::int64_t place : places_of(shape.context.keys, keys)) {
    rows.push_back(place < 0 ? at::zeros({1, 1, stored.size(2)}) : stored.narrow(1, 1 + place, 1));
    if (place < 0) result.note = ", zeros for the context tokens that the file lacks";
  }
  rows.push_back(stored.narrow(1, stored.size(1) - grid.count(), grid.count()));
  result.table = at::cat(rows, 1);
  return result;
}

/// How images of this size were cut into `count` square patches; nothing when they cannot be.
std::optional<PatchGrid> grid_of_patches(const Names& names, std::int64_t count) {
  const auto pixels = static_cast<double>(names.height * names.width);
  const std::int64_t patch = count > 0 ? std::llround(std::sqrt(pixels / static_cast<double>(count))) : 0;
  if (patch == 0 || names.height % patch != 0 || names.width % patch != 0) return std::nullopt;
  const PatchGrid grid{names.height / patch, names.width / patch};
  return grid.count() == count ? std::optional(grid) : std::nullopt;
}

/// Nothing when the file contradicts itself.
std::optional<StoredTable> named_table(const at::Tensor& stored, const VitShape& shape, const Names& from) {
  const std::int64_t prefix = shape.registers > 0 ? 0 : 1 + std::ssize(from.contexts);
  const auto grid = grid_of_patches(from, stored.size(1) - prefix);
  return grid ? std::optional(with_rows_of_keys(stored, shape, from, *grid)) : std::nullopt;
}

/// Side of the square grid behind the first `prefix` rows of a table; 0: there is none.
std::int64_t grid_side(const at::Tensor& table, std::int64_t prefix) {
  const std::int64_t patches = std::max<std::int64_t>(table.size(1) - prefix, 0);
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(patches))));
  return side * side == patches ? side : 0;
}

/// The grid of a table of which nobody says it: the model's own when it has as many patches, else a square.
std::optional<StoredTable> with_likely_grid(const at::Tensor& table, std::int64_t prefix, PatchGrid own) {
  const std::int64_t side = grid_side(table, prefix);
  if (table.size(1) == prefix + own.count()) {
    const bool is_clear = own.rows == own.columns || side == 0;
    return StoredTable{table, own, is_clear ? "" : ", taken for the model's own grid: the file does not say"};
  }
  if (side == 0) return std::nullopt;
  return StoredTable{table, {side, side}, ", taken for a square: the file does not say"};
}

/// A table of which nobody says where it comes from; nothing when its grid cannot be told.
std::optional<StoredTable> unnamed_table(const at::Tensor& stored, const VitShape& shape, PatchGrid own) {
  const std::int64_t prefix = rows_before_patches(shape);
  auto known = with_likely_grid(stored, prefix, own);
  if (known || prefix <= 1) return known;
  known = with_likely_grid(stored, 1, own);
  if (!known) return std::nullopt;
  known->table = at::cat({stored.narrow(1, 0, 1), at::zeros({1, prefix - 1, stored.size(2)}),
                          stored.narrow(1, 1, stored.size(1) - 1)},
                         1);
  known->note += ", zeros for the context tokens";
  return known;
}

/// The table [1, rows + n, D] for the model's own grid and keys.
std::optional<Adapted> adapt_positions(const at::Tensor& stored, const VitShape& shape, const Names* from) {
  const PatchGrid own{shape.height / shape.patch_size, shape.width / shape.patch_size};
  const at::Tensor values = stored.to(at::kFloat);
  const auto known = from != nullptr ? named_table(values, shape, *from) : unnamed_table(values, shape, own);
  if (!known) return std::nullopt;
  const bool fits = known->grid == own;
  if (fits && known->note.empty()) return Adapted{stored};
  return Adapted{
      interpolate_positions(known->table, rows_before_patches(shape), known->grid, own, shape.positions),
      fits ? fmt::format("{} patches{}", grid_text(own), known->note)
           : fmt::format("{} patches -> {}, bicubic{}", grid_text(known->grid), grid_text(own), known->note)};
}

std::optional<Adapted> embeddings_of_channels(const at::Tensor& stored, NamesOfBoth names) {
  const std::vector<std::string>&from = names.from->channels, &to = names.to->channels;
  if (from.size() == to.size() && has_unknown_names(to, from))
    return Adapted{stored, channels_text(names) + ", by position"};
  return rows_by_name(stored, from, to);
}

/// Published DINOv2 weights with registers: their cls token has a position of its own, which timm's has taken
/// over.
at::Tensor with_its_position(const at::Tensor& cls, const NamedTensors& all) {
  const at::Tensor* const positions = find_tensor(all, "pos_embed");
  return positions == nullptr ? cls : cls + positions->narrow(1, 0, 1);
}

at::Tensor of_patches_alone(const at::Tensor& positions, const NamedTensors& /*all*/) {
  return positions.narrow(1, 1, positions.size(1) - 1).contiguous();
}

/// [1, D, C, 1, 1] -> [C, D]
at::Tensor as_embedding(const at::Tensor& values, const NamedTensors& /*all*/) {
  return values.dim() == 5 ? values.flatten(2).squeeze(0).t().contiguous() : values;
}

constexpr std::array kDinov2Registers{Rename{"register_tokens", "reg_token"},
                                      Rename{"cls_token", "cls_token", with_its_position},
                                      Rename{"pos_embed", "pos_embed", of_patches_alone}};
/// Without channel sampling ChannelViT is published with a parameter where others have an embedding.
constexpr std::array kChannelVit{
    Rename{"patch_embed.channel_embed", "patch_embed.channel_embed.weight", as_embedding}};
/// Masked autoencoders (github.com/facebookresearch/mae) come with their decoder, and DINOv2 with what stands
/// for masked patches.
constexpr std::array kMasked{Rename{"decoder_*", ""}, Rename{"mask_token", ""}};
constexpr std::array kDialects{Dialect{"register_tokens", kDinov2Registers},
                               Dialect{"patch_embed.channel_embed", kChannelVit},
                               Dialect{"mask_token", kMasked}};

}  // namespace

std::span<const Dialect> VisionTransformer::dialects() const noexcept {
  return kDialects;
}

bool VisionTransformer::is_optional(std::string_view name) const {
  return shape_.pooling == Pooling::mean && (name.starts_with("fc_norm.") || name.starts_with("norm."));
}

std::optional<Adapted> VisionTransformer::adapt(const std::string& name, const at::Tensor& parameter,
                                                const at::Tensor& stored, NamesOfBoth names) const {
  if (name == "pos_embed" && stored.dim() == 3 && stored.size(2) == parameter.size(2))
    return adapt_positions(stored, shape_, names.from);
  if (name == "patch_embed.proj.weight" && shape_.family == Family::vit)
    return filters_of_channels(stored, parameter, names);
  if (!names.are_known()) return Adapted{stored};
  if (name == "patch_embed.channel_embed.weight") return embeddings_of_channels(stored, names);
  return rows_of_dictionary(name, stored, names);
}

}  // namespace cohort::nn
