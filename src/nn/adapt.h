#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cohort/nn/weights.h"

namespace cohort::nn {

/// Rows of a table by name; zeros for new names. Nothing when it has not as many rows as names.
std::optional<Adapted> rows_by_name(const at::Tensor& stored, std::span<const std::string> from,
                                    std::span<const std::string> to);

/// Filters [D, c, P, Q] for the channels of the model: by name, else by position. Nothing when they are not
/// those of the names, or differ from `parameter`, of which only the sizes count, in more than channels.
std::optional<Adapted> filters_of_channels(const at::Tensor& stored, const at::Tensor& parameter,
                                           NamesOfBoth names);

/// Weight or bias of a head by classes, where names of both sides are known; nothing when these, or what they
/// are of, differ.
std::optional<Adapted> rows_of_classes(const at::Tensor& stored, NamesOfBoth names);

/// Rows of a dictionary of contexts ("cin.model.site.weight") by the values of its key, where names of both
/// sides are known; anything else as it is.
std::optional<Adapted> rows_of_dictionary(const std::string& name, const at::Tensor& stored,
                                          NamesOfBoth names);

/// Of PyTorch's batch normalisation, for an encoder with nn::BatchNorm: its number of batches, which averages
/// over all of them would need, is left out.
std::span<const Dialect> without_batch_counts() noexcept;

/// "channels red -> gray".
std::string channels_text(NamesOfBoth names);

bool has_unknown_names(std::span<const std::string> wanted, std::span<const std::string> known);

/// The tensor of this name; null: there is none.
const at::Tensor* find_tensor(const NamedTensors& tensors, std::string_view name);

}  // namespace cohort::nn
