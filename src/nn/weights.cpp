#include "cohort/nn/weights.h"

#include <algorithm>
#include <array>
#include <optional>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/nn/encoder.h"
#include "cohort/nn/parameter_rule.h"

#include "adapt.h"

namespace cohort::nn {
namespace {

std::string shape_text(const at::Tensor& values) {
  return fmt::format("[{}]", fmt::join(values.sizes(), ", "));
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

at::Tensor selected(const at::Tensor& stored, std::int64_t dimension,
                    const std::vector<std::int64_t>& places) {
  return stored.index_select(dimension, at::tensor(places, at::kLong));
}

/// Filters by name of their channels; by position, which is said, when the file does not know all of them.
Adapted filters_by_name(const at::Tensor& stored, NamesOfBoth names) {
  const std::vector<std::string>&from = names.from->channels, &to = names.to->channels;
  if (!has_unknown_names(to, from)) {
    const double scale = static_cast<double>(from.size()) / static_cast<double>(to.size());
    return {selected(stored.to(at::kFloat), 1, places_of(to, from)) * scale,
            channels_text(names) + ", by name"};
  }
  if (from.size() == to.size()) return {stored, channels_text(names) + ", by position"};
  return {adapt_channels(stored, std::ssize(to)).values, channels_text(names) + ", by position"};
}

bool same_classes(NamesOfBoth names) {
  const std::vector<std::string>&from = names.from->classes, &to = names.to->classes;
  return names.from->label == names.to->label && from.size() == to.size() && !has_unknown_names(to, from);
}

std::string head_text(NamesOfBoth names) {
  return fmt::format("the file answers '{}': {}; the model is to answer '{}': {}", names.from->label,
                     list_of(names.from->classes), names.to->label, list_of(names.to->classes));
}

bool has_match(const NamedTensors& tensors, std::string_view pattern) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const auto& entry) { return matches(pattern, entry.first); });
}

/// Without what the programs that saved a model put before all of its names.
NamedTensors unwrapped(NamedTensors tensors) {
  constexpr std::array<std::string_view, 4> kWrappers{"model.", "module.", "backbone.", "encoder."};
  const auto wraps_all = [&](std::string_view wrapper) {
    return std::all_of(tensors.begin(), tensors.end(),
                       [&](const auto& entry) { return entry.first.starts_with(wrapper); });
  };
  while (!tensors.empty()) {
    const auto* const wrapper = std::find_if(kWrappers.begin(), kWrappers.end(), wraps_all);
    if (wrapper == kWrappers.end()) break;
    for (auto& [name, values] : tensors) name.erase(0, wrapper->size());
  }
  return tensors;
}

/// The tensors of a published layout under the encoder's names.
NamedTensors translated(const NamedTensors& tensors, std::span<const Rename> table) {
  NamedTensors ours;
  for (const auto& [name, values] : tensors) {
    const auto found = std::find_if(table.begin(), table.end(),
                                    [&](const Rename& rename) { return matches(rename.theirs, name); });
    if (found == table.end()) {
      ours.emplace_back(name, values);
    } else if (!found->ours.empty()) {
      ours.emplace_back(found->ours, found->change == nullptr ? values : found->change(values, tensors));
    }
  }
  return ours;
}

const Names::Context* find_context(const Names& names, const std::string& key) {
  const auto found = std::find_if(names.contexts.begin(), names.contexts.end(),
                                  [&](const Names::Context& context) { return context.key == key; });
  return found == names.contexts.end() ? nullptr : &*found;
}

class Fitter {
 public:
  Fitter(const Encoder& model, const NamedTensors& file, NamesOfBoth names)
      : model_(&model), file_(&file), names_(names) {}

  FittedWeights fit() {
    const NamedTensors wanted = named_values(*model_);
    for (const auto& [name, values] : wanted) known_.push_back(name);
    skip_unknown();
    for (const auto& [name, values] : wanted) fit_tensor(name, values);
    return std::move(result_);
  }

  /// After fit(). Throws where something is missing, unknown or of another shape.
  void refuse_misfits(const std::string& where) const {
    std::vector<std::string> what;
    const auto add = [&](const char* kind, const std::vector<std::string>& names) {
      if (!names.empty()) what.push_back(fmt::format("{}: {}", kind, list_of(names)));
    };
    add("missing", missing_);
    add("unknown to the model", unknown_);
    add("of another shape", misshaped_);
    if (what.empty()) return;
    const std::string meant =
        unknown_.empty() ? "" : fmt::format("{} ", did_you_mean(unknown_.front(), known_));
    throw DataError({fmt::format("the weights do not fit the model; {}", join(what, "; ")), where,
                     meant + "check model.*, context.* and the dataset of the configuration against those "
                             "the weights come from"});
  }

 private:
  [[nodiscard]] bool is_head(const std::string& name) const { return name.starts_with(model_->head()); }
  [[nodiscard]] bool may_differ(const std::string& name) const {
    return is_head(name) || model_->is_optional(name);
  }

  void skip_unknown() {
    for (const auto& [name, values] : *file_) {
      if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
      if (!may_differ(name)) unknown_.push_back(name);
      result_.skipped.push_back(fmt::format("{}: the model has no such parameter", name));
    }
  }

  void fit_tensor(const std::string& name, const at::Tensor& wanted) {
    const at::Tensor* const stored = find_tensor(*file_, name);
    if (stored == nullptr) {
      if (!may_differ(name)) missing_.push_back(name);
      result_.missing.push_back(name);
      return;
    }
    if (is_head(name) && names_.are_known() && !same_classes(names_)) return skip(name, head_text(names_));
    auto adapted =
        is_head(name) ? rows_of_classes(*stored, names_) : model_->adapt(name, wanted, *stored, names_);
    if (!adapted || adapted->values.sizes() != wanted.sizes())
      return skip(name, fmt::format("{}, the model needs {}", shape_text(*stored), shape_text(wanted)));
    result_.values[name] = std::move(adapted->values);
    if (!adapted->how.empty()) result_.adapted.push_back(fmt::format("{}: {}", name, adapted->how));
  }

  void skip(const std::string& name, const std::string& why) {
    if (!may_differ(name)) misshaped_.push_back(fmt::format("{} {}", name, why));
    result_.skipped.push_back(fmt::format("{}: {}", name, why));
    result_.missing.push_back(name);
  }

  const Encoder* model_;
  const NamedTensors* file_;
  NamesOfBoth names_;
  std::vector<std::string> known_, missing_, unknown_, misshaped_;
  FittedWeights result_;
};

}  // namespace

bool has_unknown_names(std::span<const std::string> wanted, std::span<const std::string> known) {
  const std::vector<std::int64_t> places = places_of(wanted, known);
  return std::find(places.begin(), places.end(), -1) != places.end();
}

const at::Tensor* find_tensor(const NamedTensors& tensors, std::string_view name) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& entry) { return entry.first == name; });
  return found == tensors.end() ? nullptr : &found->second;
}

std::string channels_text(NamesOfBoth names) {
  return fmt::format("channels {} -> {}", list_of(names.from->channels), list_of(names.to->channels));
}

std::optional<Adapted> rows_by_name(const at::Tensor& stored, std::span<const std::string> from,
                                    std::span<const std::string> to) {
  if (stored.dim() == 0 || stored.size(0) != std::ssize(from)) return std::nullopt;
  if (std::equal(from.begin(), from.end(), to.begin(), to.end())) return Adapted{stored};
  const at::Tensor table = stored.reshape({stored.size(0), -1}).to(at::kFloat);
  const std::vector<std::int64_t> places = places_of(to, from);
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
  const at::Tensor values = at::zeros({std::ssize(to), table.size(1)});
  values.index_copy_(0, at::tensor(rows, at::kLong), selected(table, 0, sources));
  std::string how = fmt::format("{} of {} rows by name", rows.size(), to.size());
  if (!fresh.empty()) how += ", zeros for " + list_of(fresh);
  return Adapted{values, how};
}

std::optional<Adapted> rows_of_classes(const at::Tensor& stored, NamesOfBoth names) {
  if (!names.are_known()) return Adapted{stored};
  if (!same_classes(names)) return std::nullopt;
  auto moved = rows_by_name(stored, names.from->classes, names.to->classes);
  if (moved && stored.dim() == 1) moved->values = moved->values.flatten();
  return moved;
}

std::optional<Adapted> rows_of_dictionary(const std::string& name, const at::Tensor& stored,
                                          NamesOfBoth names) {
  if (!names.are_known() || !name.starts_with("cin")) return Adapted{stored};
  for (const Names::Context& to : names.to->contexts) {
    const Names::Context* const from = find_context(*names.from, to.key);
    if (from != nullptr && name.ends_with(".model." + to.key + ".weight"))
      return rows_by_name(stored, from->values, to.values);
  }
  return Adapted{stored};
}

std::span<const Dialect> without_batch_counts() noexcept {
  static constexpr std::array kTable{Rename{"*.num_batches_tracked", ""}};
  static constexpr std::array kPyTorch{Dialect{"*.num_batches_tracked", kTable}};
  return kPyTorch;
}

std::optional<Adapted> filters_of_channels(const at::Tensor& stored, const at::Tensor& parameter,
                                           NamesOfBoth names) {
  if (names.are_known()) {
    if (stored.dim() != 4 || stored.size(1) != std::ssize(names.from->channels)) return std::nullopt;
    return names.from->channels == names.to->channels ? Adapted{stored} : filters_by_name(stored, names);
  }
  if (stored.sizes() == parameter.sizes()) return Adapted{stored};
  if (!same_but_channels(stored.sizes(), parameter.sizes())) return std::nullopt;
  return adapt_channels(stored, parameter.size(1));
}

NamedTensors named_values(const torch::nn::Module& module) {
  NamedTensors all;
  for (const auto& parameter : module.named_parameters())
    all.emplace_back(parameter.key(), parameter.value().detach());
  for (const auto& buffer : module.named_buffers()) all.emplace_back(buffer.key(), buffer.value());
  return all;
}

void write_values(torch::nn::Module& module, const std::map<std::string, at::Tensor>& values) {
  const at::NoGradGuard no_gradients;
  for (const auto& [name, tensor] : named_values(module)) {
    if (const auto found = values.find(name); found != values.end()) tensor.copy_(found->second);
  }
}

void write_buffers(torch::nn::Module& module, const std::map<std::string, at::Tensor>& values) {
  for (const auto& buffer : module.named_buffers()) {
    if (const auto found = values.find(buffer.key()); found != values.end())
      buffer.value().copy_(found->second);
  }
}

FittedWeights fitted_weights(const Encoder& model, const NamedTensors& file, const std::string& where,
                             Misfits misfits, NamesOfBoth names) {
  NamedTensors tensors = unwrapped(file);
  for (const Dialect& dialect : model.dialects()) {
    if (has_match(tensors, dialect.mark)) tensors = translated(tensors, dialect.table);
  }
  Fitter fitter(model, tensors, names);
  FittedWeights fitted = fitter.fit();
  if (misfits == Misfits::refuse) fitter.refuse_misfits(where);
  return fitted;
}

}  // namespace cohort::nn
