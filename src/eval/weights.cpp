#include "cohort/eval/weights.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/checkpoint/export.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/nn/position.h"

namespace cohort::eval {
namespace {

bool is_head(const std::string& name) {
  return name.starts_with("head.");
}

std::string shape_text(const at::Tensor& values) {
  return fmt::format("[{}]", fmt::join(values.sizes(), ", "));
}

/// Side of the square grid behind the first `prefix` rows of a table; 0: there is none.
std::int64_t grid_side(const at::Tensor& table, std::int64_t prefix) {
  const std::int64_t patches = std::max<std::int64_t>(table.size(1) - prefix, 0);
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(patches))));
  return side * side == patches ? side : 0;
}

struct Adapted {
  at::Tensor values;
  std::string how;
};

using Signature = data::Signature;

nn::PatchGrid grid_of(std::int64_t height, std::int64_t width, std::int64_t patch) {
  return {height / patch, width / patch};
}

std::string grid_text(nn::PatchGrid grid) {
  return fmt::format("{} x {}", grid.rows, grid.columns);
}

/// Rows of a model's position table before those of patches.
std::int64_t positions_before_patches(const nn::VitShape& shape) {
  return shape.registers > 0 ? 0 : 1 + std::ssize(shape.context.keys);
}

/// A stored table [1, prefix + n, D], its rows before those of patches as the model has them.
struct StoredTable {
  at::Tensor table;
  nn::PatchGrid grid;
  std::string note{};  ///< how it was read, for the log
};

/// The stored table with rows for the keys of the model, by name; zeros for those that the file lacks.
StoredTable with_rows_of_keys(const at::Tensor& stored, const nn::VitShape& shape, const Signature& from,
                              nn::PatchGrid grid) {
  std::vector<std::string> names;
  for (const Signature::Context& context : from.contexts) names.push_back(context.name);
  if (shape.registers > 0 || names == shape.context.keys) return {stored, grid};
  std::vector<at::Tensor> rows{stored.narrow(1, 0, 1)};
  StoredTable result{{}, grid, ", rows of context tokens by key"};
  for (const std::int64_t place : data::places_of(shape.context.keys, names)) {
    rows.push_back(place < 0 ? at::zeros({1, 1, stored.size(2)}) : stored.narrow(1, 1 + place, 1));
    if (place < 0) result.note = ", zeros for the context tokens that the file lacks";
  }
  rows.push_back(stored.narrow(1, stored.size(1) - grid.count(), grid.count()));
  result.table = at::cat(rows, 1);
  return result;
}

/// How images of this size were cut into `count` square patches; nothing when they cannot be.
std::optional<nn::PatchGrid> grid_of_patches(const data::ImageLayout& images, std::int64_t count) {
  const auto pixels = static_cast<double>(images.height * images.width);
  const std::int64_t patch = count > 0 ? std::llround(std::sqrt(pixels / static_cast<double>(count))) : 0;
  if (patch == 0 || images.height % patch != 0 || images.width % patch != 0) return std::nullopt;
  const nn::PatchGrid grid = grid_of(images.height, images.width, patch);
  return grid.count() == count ? std::optional(grid) : std::nullopt;
}

/// Nothing when the file contradicts itself.
std::optional<StoredTable> table_of(const at::Tensor& stored, const nn::VitShape& shape,
                                    const Signature& from) {
  const std::int64_t prefix = shape.registers > 0 ? 0 : 1 + std::ssize(from.contexts);
  const auto grid = grid_of_patches(from.images, stored.size(1) - prefix);
  return grid ? std::optional(with_rows_of_keys(stored, shape, from, *grid)) : std::nullopt;
}

/// The grid of a table of which nobody says it: the model's own when it has as many patches, else a square.
std::optional<StoredTable> with_likely_grid(const at::Tensor& table, std::int64_t prefix, nn::PatchGrid own) {
  const std::int64_t side = grid_side(table, prefix);
  if (table.size(1) == prefix + own.count()) {
    const bool is_clear = own.rows == own.columns || side == 0;
    return StoredTable{table, own, is_clear ? "" : ", taken for the model's own grid: the file does not say"};
  }
  if (side == 0) return std::nullopt;
  return StoredTable{table, {side, side}, ", taken for a square: the file does not say"};
}

/// A table of which nobody says where it comes from; nothing when its grid cannot be told.
std::optional<StoredTable> unnamed_table(const at::Tensor& stored, const nn::VitShape& shape,
                                         nn::PatchGrid own) {
  const std::int64_t prefix = positions_before_patches(shape);
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
std::optional<Adapted> adapt_positions(const at::Tensor& stored, const nn::VitShape& shape,
                                       const Signature* from) {
  const nn::PatchGrid own = grid_of(shape.height, shape.width, shape.patch_size);
  const at::Tensor values = stored.to(at::kFloat);
  const auto known = from != nullptr ? table_of(values, shape, *from) : unnamed_table(values, shape, own);
  if (!known) return std::nullopt;
  const bool fits = known->grid == own;
  if (fits && known->note.empty()) return Adapted{stored, ""};
  return Adapted{
      nn::interpolate_positions(known->table, positions_before_patches(shape), known->grid, own,
                                shape.positions),
      fits ? fmt::format("{} patches{}", grid_text(own), known->note)
           : fmt::format("{} patches -> {}, bicubic{}", grid_text(known->grid), grid_text(own), known->note)};
}

/// [D, c, P, P] -> [D, n, P, P]
Adapted adapt_channels(const at::Tensor& stored, std::int64_t channels) {
  const at::Tensor values = stored.to(at::kFloat);
  const std::int64_t before = values.size(1);
  const std::string how = fmt::format("{} channels -> {}", before, channels);
  if (channels == 1) return {values.sum(1, true), how};
  const std::int64_t copies = (channels + before - 1) / before;
  const double scale = static_cast<double>(before) / static_cast<double>(channels);
  return {values.repeat({1, copies, 1, 1}).narrow(1, 0, channels) * scale, how};
}

/// Filters [D, c, P, Q] that differ in their numbers of channels alone. Compares sizes: the parameter may
/// have no memory.
bool same_but_channels(at::IntArrayRef stored, at::IntArrayRef parameter) {
  return stored.size() == 4 && stored[1] > 0 && stored[0] == parameter[0] &&
         stored.slice(2) == parameter.slice(2);
}

bool has(const std::vector<std::int64_t>& places, std::int64_t place) {
  return std::find(places.begin(), places.end(), place) != places.end();
}

at::Tensor selected(const at::Tensor& stored, std::int64_t dimension,
                    const std::vector<std::int64_t>& places) {
  return stored.index_select(dimension, at::tensor(places, at::kLong));
}

/// Both sides of weights whose names are known.
struct Names {
  const Signature *from, *to;
};

std::string channels_text(const Names& names) {
  return fmt::format("channels {} -> {}", data::list_of(names.from->channels),
                     data::list_of(names.to->channels));
}

/// Filters by name of their channels; by position, which is said, when the file does not know all of them.
Adapted filters_by_name(const at::Tensor& stored, const Names& names) {
  const std::vector<std::string>&from = names.from->channels, &to = names.to->channels;
  const std::vector<std::int64_t> places = data::places_of(to, from);
  if (!has(places, -1)) {
    const double scale = static_cast<double>(from.size()) / static_cast<double>(to.size());
    return {selected(stored.to(at::kFloat), 1, places) * scale, channels_text(names) + ", by name"};
  }
  if (from.size() == to.size()) return {stored, channels_text(names) + ", by position"};
  return {adapt_channels(stored, std::ssize(to)).values, channels_text(names) + ", by position"};
}

/// Rows of a table by name; zeros for new names.
Adapted rows_by_name(const at::Tensor& stored, std::span<const std::string> from,
                     std::span<const std::string> to) {
  const std::vector<std::int64_t> places = data::places_of(to, from);
  std::vector<std::int64_t> rows, sources;
  std::vector<std::string> fresh;
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (places[i] < 0) {
      fresh.push_back(to[i]);
      continue;
    }
    rows.push_back(static_cast<std::int64_t>(i));
    sources.push_back(places[i]);
  }
  const at::Tensor values = at::zeros({std::ssize(to), stored.size(1)});
  values.index_copy_(0, at::tensor(rows, at::kLong), selected(stored.to(at::kFloat), 0, sources));
  std::string how = fmt::format("{} of {} rows by name", rows.size(), to.size());
  if (!fresh.empty()) how += ", zeros for " + data::list_of(fresh);
  return {values, how};
}

/// The context key of a dictionary's parameter, "site" of "cin_blocks.0.model.site.weight"; empty: of others.
std::string dictionary_key(const nn::VitShape& shape, const std::string& name) {
  for (const std::string& key : shape.context.keys) {
    if (name.starts_with("cin") && name.ends_with(".model." + key + ".weight")) return key;
  }
  return "";
}

const Signature::Context* find_context(const Signature& signature, const std::string& key) {
  for (const Signature::Context& context : signature.contexts) {
    if (context.name == key) return &context;
  }
  return nullptr;
}

bool same_classes(const Names& names) {
  const std::vector<std::string>&from = names.from->classes, &to = names.to->classes;
  return names.from->label == names.to->label && from.size() == to.size() &&
         !has(data::places_of(to, from), -1);
}

std::string head_text(const Names& names) {
  return fmt::format("the file answers '{}': {}; the model is to answer '{}': {}", names.from->label,
                     data::list_of(names.from->classes), names.to->label, data::list_of(names.to->classes));
}

/// What the file has for the parameter `name` when names decide; nothing when its number of rows is not that
/// of the names.
std::optional<Adapted> adapt_by_name(const nn::VitShape& shape, const std::string& name,
                                     const at::Tensor& stored, const Names& names) {
  const auto rows = [&](const auto& from, const auto& to) -> std::optional<Adapted> {
    if (stored.dim() == 0 || stored.size(0) != std::ssize(from)) return std::nullopt;
    if (from == to) return Adapted{stored, ""};
    return rows_by_name(stored.reshape({stored.size(0), -1}), from, to);
  };
  if (is_head(name)) {
    auto moved = rows(names.from->classes, names.to->classes);
    if (moved && stored.dim() == 1) moved->values = moved->values.flatten();
    return moved;
  }
  if (name == "patch_embed.channel_embed.weight") {
    const std::vector<std::string>&from = names.from->channels, &to = names.to->channels;
    if (from.size() == to.size() && has(data::places_of(to, from), -1))
      return Adapted{stored, channels_text(names) + ", by position"};
    return rows(from, to);
  }
  if (const std::string key = dictionary_key(shape, name); !key.empty()) {
    const Signature::Context *from = find_context(*names.from, key), *to = find_context(*names.to, key);
    if (from != nullptr && to != nullptr) return rows(from->values, to->values);
  }
  if (name == "patch_embed.proj.weight" && shape.family == nn::Family::vit) {
    if (stored.dim() != 4 || stored.size(1) != std::ssize(names.from->channels)) return std::nullopt;
    return names.from->channels == names.to->channels ? Adapted{stored, ""} : filters_by_name(stored, names);
  }
  return Adapted{stored, ""};
}

/// `stored` as the parameter `name` of `model` needs it; nothing when it cannot be.
std::optional<Adapted> adapt(const nn::VitShape& shape, const std::string& name, const at::Tensor& parameter,
                             const at::Tensor& stored, const std::optional<Names>& names) {
  if (name == "pos_embed" && stored.dim() == 3 && stored.size(2) == parameter.size(2))
    return adapt_positions(stored, shape, names ? names->from : nullptr);
  if (names) return adapt_by_name(shape, name, stored, *names);
  if (stored.sizes() == parameter.sizes()) return Adapted{stored, ""};
  if (name == "patch_embed.proj.weight" && same_but_channels(stored.sizes(), parameter.sizes()))
    return adapt_channels(stored, parameter.size(1));
  return std::nullopt;
}

at::Tensor* find(checkpoint::Safetensors& weights, const std::string& name) {
  for (auto& [key, values] : weights.tensors) {
    if (key == name) return &values;
  }
  return nullptr;
}

/// Published DINOv2 weights with registers under timm's names: its cls token has a position of its own, which
/// timm's has taken over.
void adopt_registers(checkpoint::Safetensors& weights) {
  at::Tensor *cls = find(weights, "cls_token"), *positions = find(weights, "pos_embed");
  if (find(weights, "register_tokens") == nullptr || cls == nullptr || positions == nullptr) return;
  *cls = *cls + positions->narrow(1, 0, 1);
  *positions = positions->narrow(1, 1, positions->size(1) - 1).contiguous();
  std::erase_if(weights.tensors, [](const auto& entry) { return entry.first == "mask_token"; });
  for (auto& [name, values] : weights.tensors) {
    if (name == "register_tokens") name = "reg_token";
  }
}

/// ChannelViT without channel sampling is published with a parameter [1, D, C, 1, 1] where others have an
/// embedding [C, D].
void adopt_channels(checkpoint::Safetensors& weights) {
  for (auto& [name, values] : weights.tensors) {
    if (name != "patch_embed.channel_embed" || values.dim() != 5) continue;
    name += ".weight";
    values = values.flatten(2).squeeze(0).t().contiguous();
  }
}

class Fitter {
 public:
  Fitter(const nn::VisionTransformer& model, const checkpoint::Safetensors& weights, std::string where,
         Misfits misfits, std::optional<Names> names)
      : model_(&model), weights_(&weights), where_(std::move(where)), misfits_(misfits), names_(names) {}

  FittedWeights fit() {
    const auto parameters = model_->named_parameters();
    skip_unknown(parameters.keys());
    for (const auto& parameter : parameters) fit_parameter(parameter.key(), parameter.value());
    return std::move(result_);
  }

 private:
  void skip_unknown(const std::vector<std::string>& known) {
    for (const auto& [name, values] : weights_->tensors) {
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      if (misfits_ == Misfits::refuse && !is_head(name)) {
        throw DataError(
            {fmt::format("the model has no parameter '{}'", name), where_, did_you_mean(name, known)});
      }
      result_.skipped.push_back(fmt::format("{}: the model has no such parameter", name));
    }
  }

  void fit_parameter(const std::string& name, const at::Tensor& parameter) {
    const at::Tensor* stored = weights_->find(name);
    if (stored == nullptr) return miss(name);
    if (names_ && is_head(name) && !same_classes(*names_)) return skip(name, head_text(*names_));
    auto adapted = adapt(model_->shape(), name, parameter, *stored, names_);
    if (!adapted || adapted->values.sizes() != parameter.sizes())
      return skip(name, fmt::format("{}, the model needs {}", shape_text(*stored), shape_text(parameter)));
    result_.values[name] = std::move(adapted->values);
    if (!adapted->how.empty()) result_.adapted.push_back(fmt::format("{}: {}", name, adapted->how));
  }

  void miss(const std::string& name) {
    if (misfits_ == Misfits::refuse && !is_head(name)) {
      throw DataError(
          {fmt::format("'{}' is missing", name), where_,
           "check model.* and context.* of the configuration against those the weights come from"});
    }
    result_.missing.push_back(name);
  }

  void skip(const std::string& name, const std::string& why) {
    if (misfits_ == Misfits::refuse && !is_head(name)) {
      throw DataError({fmt::format("'{}' has shape {}", name, why), where_,
                       "check model.*, context.* and the dataset of the configuration against those the "
                       "weights come from"});
    }
    result_.skipped.push_back(fmt::format("{}: {}", name, why));
    result_.missing.push_back(name);
  }

  const nn::VisionTransformer* model_;
  const checkpoint::Safetensors* weights_;
  std::string where_;
  Misfits misfits_;
  std::optional<Names> names_;
  FittedWeights result_;
};

}  // namespace

checkpoint::Safetensors weights_of(const nn::VisionTransformer& model) {
  checkpoint::Safetensors weights;
  weights.metadata["format"] = "pt";
  for (const auto& parameter : model.named_parameters()) {
    const at::Tensor copy = parameter.value().detach().to(at::kCPU, at::kFloat, false, true).contiguous();
    weights.tensors.emplace_back(parameter.key(), copy);
  }
  return weights;
}

std::optional<data::Signature> signature_in(const checkpoint::Safetensors& weights,
                                            const std::string& where) {
  const auto found = weights.metadata.find(checkpoint::kTrainedOn);
  if (found == weights.metadata.end()) return std::nullopt;
  return data::parse_signature(found->second, where);
}

FittedWeights fitted_weights(const nn::VisionTransformer& model, const checkpoint::Safetensors& weights,
                             const std::string& where, Misfits misfits, const data::Signature* trains_on) {
  checkpoint::Safetensors adopted = weights;
  adopt_registers(adopted);
  adopt_channels(adopted);
  const auto from = signature_in(weights, where);
  std::optional<Names> names;
  if (from && trains_on != nullptr) names = Names{&*from, trains_on};
  return Fitter(model, adopted, where, misfits, names).fit();
}

bool load_weights(nn::VisionTransformer& model, const checkpoint::Safetensors& weights,
                  const std::string& where, const data::Signature* trains_on) {
  const auto fitting = fitted_weights(model, weights, where, Misfits::refuse, trains_on).values;
  const at::NoGradGuard no_gradients;
  auto parameters = model.named_parameters();
  for (const auto& [name, values] : fitting) parameters[name].copy_(values);
  return fitting.size() == parameters.size();
}

}  // namespace cohort::eval
