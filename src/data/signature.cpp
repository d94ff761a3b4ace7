#include "cohort/data/signature.h"

#include <algorithm>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cohort/core/error.h"
#include "cohort/core/text.h"
#include "cohort/data/pixel_type.h"

#include "support/json.h"

namespace cohort::data {
namespace {

Json to_json(const Signature::Context& context) {
  return {{"name", context.name}, {"values", context.values}, {"unseen", context.unseen}};
}

Signature::Context context_from(const Json& json) {
  return {json.at("name"), json.at("values"), json.at("unseen")};
}

Json to_json(const Preparation& preparation) {
  Json json{{"gray", preparation.gray},
            {"height", preparation.height},
            {"width", preparation.width},
            {"fit", fit_name(preparation.fit)}};
  if (preparation.depth > 0) json["depth"] = preparation.depth;
  return json;
}

/// Only volumes have one.
std::int64_t depth_in(const Json& json, std::int64_t otherwise) {
  return json.contains("depth") ? integer_of(json.at("depth")) : otherwise;
}

Preparation preparation_from(const Json& json) {
  return {json.at("gray"), integer_of(json.at("height")), integer_of(json.at("width")),
          fit_of(json.at("fit").get<std::string>()).value(), depth_in(json, 0)};
}

Signature signature_from(const Json& json) {
  Signature signature{.label = json.at("label"), .classes = json.at("classes")};
  for (const Json& context : json.at("contexts")) signature.contexts.push_back(context_from(context));
  signature.channels = json.at("channels").get<std::vector<std::string>>();
  signature.images = {pixel_type_of(json.at("type").get<std::string>()).value(),
                      std::ssize(signature.channels), integer_of(json.at("height")),
                      integer_of(json.at("width")), depth_in(json, 1)};
  signature.mean = json.at("mean").get<std::vector<double>>();
  signature.deviation = json.at("deviation").get<std::vector<double>>();
  // Weights of programs that did not know the key do not tell.
  if (json.contains("preparation")) signature.preparation = preparation_from(json.at("preparation"));
  return signature;
}

bool are_unique(std::span<const std::string> names) {
  return std::set<std::string_view>(names.begin(), names.end()).size() == names.size();
}

/// Both sides of an image are known, or neither.
bool is_whole(const Preparation& preparation) {
  const bool has_none = preparation.height == 0 && preparation.width == 0;
  return has_none || (preparation.height > 0 && preparation.width > 0);
}

bool is_whole(const Signature& signature) {
  const std::size_t channels = signature.channels.size(), known = signature.mean.size();
  const bool has_sizes =
      signature.images.height > 0 && signature.images.width > 0 && signature.images.depth > 0;
  const bool has_statistics = known == signature.deviation.size() && (known == 0 || known == channels);
  const bool has_preparation = !signature.preparation || is_whole(*signature.preparation);
  return has_sizes && has_statistics && has_preparation && channels > 0 && are_unique(signature.channels) &&
         are_unique(signature.classes) &&
         std::all_of(signature.contexts.begin(), signature.contexts.end(),
                     [](const auto& context) { return are_unique(context.values); });
}

bool has_unknown(std::span<const std::int64_t> places) {
  return std::find(places.begin(), places.end(), -1) != places.end();
}

/// `values` in the order of `places`.
template <class Value>
std::vector<Value> rearranged(const std::vector<Value>& values, std::span<const std::int64_t> places) {
  std::vector<Value> moved;
  if (values.empty()) return moved;
  for (const std::int64_t place : places) moved.push_back(values[static_cast<std::size_t>(place)]);
  return moved;
}

[[noreturn]] void refuse_channels(const Description& description, const Signature& model) {
  throw UsageError({fmt::format("the model was trained on images with the channels {}; the dataset has {}",
                                list_of(model.channels), list_of(description.channels)),
                    fmt::format("dataset {}", description.name),
                    "channels are matched by name: use a dataset with those of the model"});
}

/// Which values have an image.
std::vector<bool> occurring(const Dataset& dataset, const std::string& key) {
  std::vector<bool> occurs(dataset.description().context(key).values.size());
  for (const ContextRun& run : dataset.context_runs(key).runs())
    occurs[static_cast<std::size_t>(run.context)] = true;
  return occurs;
}

void add_difference(std::vector<std::string>& found, const std::string& what, const std::string& before,
                    const std::string& now) {
  if (before != now) found.push_back(fmt::format("{}: {} -> {}", what, before, now));
}

void add_difference(std::vector<std::string>& found, const std::string& what,
                    const std::vector<std::string>& before, const std::vector<std::string>& now) {
  if (before != now) found.push_back(fmt::format("{}: {} -> {}", what, list_of(before), list_of(now)));
}

void add_difference(std::vector<std::string>& found, const std::string& what,
                    const std::vector<double>& before, const std::vector<double>& now) {
  if (before != now && !before.empty())
    found.push_back(fmt::format("{}: {:.9g} -> {:.9g}", what, fmt::join(before, ", "), fmt::join(now, ", ")));
}

std::string size_text(const ImageLayout& images) {
  const std::string depth = images.is_volume() ? fmt::format("{} x ", images.depth) : "";
  return fmt::format("{}{} x {} of type {}", depth, images.height, images.width,
                     pixel_type_name(images.type));
}

}  // namespace

Signature signature_of(const Description& description, const std::string& label,
                       const std::vector<std::string>& keys) {
  Signature signature{.label = label};
  if (!label.empty()) signature.classes = description.label(label).classes;
  for (const std::string& key : keys) signature.contexts.push_back({key, description.context(key).values});
  signature.channels = description.channels;
  signature.images = description.images;
  signature.mean = description.mean;
  signature.deviation = description.deviation;
  signature.preparation = description.preparation;
  return signature;
}

Signature signature_of(const Dataset& training, const std::string& label,
                       const std::vector<std::string>& keys) {
  Signature signature = signature_of(training.description(), label, keys);
  for (Signature::Context& context : signature.contexts) {
    const std::vector<bool> occurs = occurring(training, context.name);
    for (std::size_t i = 0; i < occurs.size(); ++i) {
      if (!occurs[i]) context.unseen.push_back(context.values[i]);
    }
  }
  return signature;
}

std::string signature_text(const Signature& signature) {
  Json contexts = Json::array();
  for (const Signature::Context& context : signature.contexts) contexts.push_back(to_json(context));
  Json json{{"label", signature.label},
            {"classes", signature.classes},
            {"contexts", std::move(contexts)},
            {"channels", signature.channels},
            {"mean", signature.mean},
            {"deviation", signature.deviation},
            {"type", pixel_type_name(signature.images.type)},
            {"height", signature.images.height},
            {"width", signature.images.width}};
  if (signature.images.is_volume()) json["depth"] = signature.images.depth;
  if (signature.preparation) json["preparation"] = to_json(*signature.preparation);
  return json.dump();
}

Signature parse_signature(const std::string& text, const std::string& where) {
  const DataError damaged({"what the model says of its training data is damaged", where,
                           "export the weights again, or use another checkpoint"});
  if (is_nested_deeply(text)) throw damaged;
  try {
    Signature signature = signature_from(Json::parse(text));
    if (!is_whole(signature)) throw damaged;
    return signature;
  } catch (const Json::exception&) {
    throw damaged;
  } catch (const std::out_of_range&) {
    throw damaged;
  } catch (const std::bad_optional_access&) {
    throw damaged;
  }
}

Signature with_channels(Signature model, const std::vector<std::string>& channels) {
  const std::vector<std::int64_t> places = places_of(channels, model.channels);
  COHORT_CHECK(!has_unknown(places), "channels {} of a model of {}", list_of(channels),
               list_of(model.channels));
  model.channels = channels;
  model.images.channels = std::ssize(channels);
  model.mean = rearranged(model.mean, places);
  model.deviation = rearranged(model.deviation, places);
  return model;
}

Signature in_words_of(const Description& description, const Signature& model) {
  if (!model.images.is_volume()) check_images_alone(description.images, description.name, "the model");
  const std::vector<std::int64_t> channels = places_of(description.channels, model.channels);
  if (channels.size() != model.channels.size() || has_unknown(channels)) refuse_channels(description, model);
  Signature words = model;
  words.channels = description.channels;
  words.mean = rearranged(model.mean, channels);
  words.deviation = rearranged(model.deviation, channels);
  for (Signature::Context& context : words.contexts)
    context.values = description.context(context.name).values;
  return words;
}

Signature with_statistics_of(const Signature& model, Signature wanted) {
  const std::vector<std::int64_t> channels = places_of(wanted.channels, model.channels);
  if (model.images.type != wanted.images.type || has_unknown(channels)) return wanted;
  wanted.mean = rearranged(model.mean, channels);
  wanted.deviation = rearranged(model.deviation, channels);
  return wanted;
}

std::string context_without_token(const Dataset& dataset, const Signature& model) {
  for (const Signature::Context& context : model.contexts) {
    const std::vector<std::string>& values = dataset.description().context(context.name).values;
    const std::vector<std::int64_t> known = places_of(values, context.values),
                                    unseen = places_of(values, context.unseen);
    const std::vector<bool> occurs = occurring(dataset, context.name);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (occurs[i] && (known[i] < 0 || unseen[i] >= 0))
        return fmt::format("{} '{}'", context.name, values[i]);
    }
  }
  return "";
}

ClassNumbers::ClassNumbers(const Description& description, std::string split, std::string label,
                           std::vector<std::string> classes)
    : dataset_(description.name),
      split_(std::move(split)),
      label_(std::move(label)),
      names_(description.values(label_)),
      classes_(std::move(classes)),
      places_(places_of(names_, classes_)) {}

std::int32_t ClassNumbers::operator()(std::int32_t label) const {
  if (label < 0) return label;
  const auto place = static_cast<std::int32_t>(places_[static_cast<std::size_t>(label)]);
  if (place >= 0) return place;
  const std::string& name = names_[static_cast<std::size_t>(label)];
  throw UsageError(
      {fmt::format("split '{}' has images of class '{}', which the model does not know: its classes are {}, "
                   "those of '{}' are {}",
                   split_, name, list_of(classes_), label_, list_of(names_)),
       fmt::format("dataset {}", dataset_),
       fmt::format("{}; classes are matched by name", did_you_mean(name, classes_))});
}

std::vector<std::string> differences(const Signature& before, const Signature& now) {
  std::vector<std::string> found;
  add_difference(found, "label", before.label, now.label);
  add_difference(found, fmt::format("classes of '{}'", before.label), before.classes, now.classes);
  for (std::size_t k = 0; k < std::min(before.contexts.size(), now.contexts.size()); ++k) {
    const Signature::Context &old_context = before.contexts[k], &context = now.contexts[k];
    add_difference(found, "context key", old_context.name, context.name);
    add_difference(found, fmt::format("values of '{}'", context.name), old_context.values, context.values);
  }
  add_difference(found, "channels", before.channels, now.channels);
  add_difference(found, "images", size_text(before.images), size_text(now.images));
  add_difference(found, "mean", before.mean, now.mean);
  add_difference(found, "deviation", before.deviation, now.deviation);
  return found;
}

}  // namespace cohort::data
