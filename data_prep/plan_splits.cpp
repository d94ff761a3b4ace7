#include "data_prep/plan_splits.h"

#include <algorithm>

#include <fmt/format.h>

#include "cohort/core/text.h"

namespace cohort::data_prep {
namespace {

/// Names, and the one of every image.
struct Splits {
  std::vector<std::string> names;
  std::vector<std::int32_t> of_image;
};

/// Where training begins.
void put_training_first(Splits& splits) {
  std::vector<std::string> names = splits.names;
  std::stable_partition(names.begin(), names.end(), is_training_name);
  std::vector<std::int32_t> place;
  for (const std::string& name : splits.names)
    place.push_back(static_cast<std::int32_t>(std::find(names.begin(), names.end(), name) - names.begin()));
  for (std::int32_t& index : splits.of_image) index = place[static_cast<std::size_t>(index)];
  splits.names = std::move(names);
}

std::vector<std::int32_t> unpacked(const data::PackedIndices& values) {
  std::vector<std::int32_t> all;
  all.reserve(static_cast<std::size_t>(values.size()));
  for (std::int64_t i = 0; i < values.size(); ++i) all.push_back(values[i]);
  return all;
}

/// In order of appearance, but train or training first.
Splits splits_of_source(const Source& source) {
  const Categories::Coded coded = source.splits.coded();
  Splits splits{coded.names, unpacked(coded.codes)};
  if (std::find(splits.names.begin(), splits.names.end(), "") != splits.names.end())
    throw DataError({"an image has no split", source.where, "name a split for every image"});
  put_training_first(splits);
  return splits;
}

/// What no rule holds out is train.
Splits held_out_splits(const Source& source, const HoldOut& rule, const Plan& plan) {
  Splits splits{{"train", "seen_test", "unseen_test"}, {}};
  if (rule.contexts == 0 && rule.images == 0)
    splits.of_image.assign(source.ids.size(), 0);
  else
    splits.of_image = hold_out(plan.rows.contexts().empty() ? std::vector<std::int32_t>(source.ids.size(), 0)
                                                            : unpacked(plan.rows.contexts()[0]),
                               plan.rows.ids(), rule);
  // A rule that is off gives no split: with both off, all is train.
  if (rule.contexts == 0) splits.names.pop_back();
  if (rule.images == 0) {
    splits.names.erase(splits.names.begin() + 1);
    for (std::int32_t& index : splits.of_image) index = std::min(index, 1);
  }
  return splits;
}

/// Place of what is called `name`. Throws UsageError for `option`.
template <class Column>
std::size_t place_of(const std::vector<Column>& columns, const std::string& name, const std::string& kind,
                     const std::string& option) {
  std::vector<std::string> names;
  for (const Column& column : columns) names.push_back(column.name);
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  throw UsageError(
      {fmt::format("there is no {} '{}'", kind, name), option,
       names.empty() ? fmt::format("the images have no {} at all", kind) : did_you_mean(name, names)});
}

void stratify(Divisible& images, const std::vector<std::size_t>& chosen, const std::string& label,
              const Plan& plan) {
  const std::size_t column = place_of(plan.description.labels, label, "label", "--stratify");
  images.label = label;
  images.class_names = plan.description.labels[column].classes;
  for (const std::size_t i : chosen)
    images.classes.push_back(plan.rows.labels()[column][static_cast<std::int64_t>(i)]);
}

/// By a column that is nothing but a group.
void group_by_column(Divisible& images, const std::vector<std::size_t>& chosen, const Source& source) {
  const Categories::Coded coded = source.groups.values.coded();
  images.group_names = distinct(coded.names);
  const auto index_of = indices(coded.names, images.group_names, source.groups.name, source.where);
  for (const std::size_t i : chosen) {
    const std::int32_t group = index_of[static_cast<std::size_t>(coded.codes[static_cast<std::int64_t>(i)])];
    if (group < 0) {
      throw DataError(
          {fmt::format("image '{}' has no value in column '{}'", source.ids[i], source.groups.name),
           source.where, "every image needs one; give unknown ones a name of their own"});
    }
    images.groups.push_back(group);
  }
}

void group(Divisible& images, const std::vector<std::size_t>& chosen, const std::string& key,
           const Source& source, const Plan& plan) {
  images.group = key;
  if (source.groups.name == key) return group_by_column(images, chosen, source);
  const std::size_t column = place_of(plan.description.contexts, key, "context key", "--group-by");
  images.group_names = plan.description.contexts[column].values;
  for (const std::size_t i : chosen)
    images.groups.push_back(plan.rows.contexts()[column][static_cast<std::int64_t>(i)]);
}

/// The part of each of the `chosen` images.
std::vector<std::int32_t> divided(const std::vector<std::size_t>& chosen, std::span<const Part> parts,
                                  const DivisionOptions& options, const Source& source, const Plan& plan) {
  Divisible images;
  for (const std::size_t i : chosen) images.ids.push_back(plan.rows.ids()[static_cast<std::int64_t>(i)]);
  if (!options.stratify.empty()) stratify(images, chosen, options.stratify, plan);
  if (!options.group_by.empty()) group(images, chosen, options.group_by, source, plan);
  return divide(images, parts, options.seed);
}

std::vector<std::size_t> images_of(const Splits& splits, const std::vector<bool>& chosen) {
  std::vector<std::size_t> images;
  for (std::size_t i = 0; i < splits.of_image.size(); ++i) {
    if (chosen[static_cast<std::size_t>(splits.of_image[i])]) images.push_back(i);
  }
  return images;
}

/// One fold of what was train becomes the split `test`.
void take_fold(Splits& splits, const DivisionOptions& options, const Source& source, const Plan& plan) {
  std::vector<bool> is_divided(splits.names.size(), false);
  is_divided[0] = true;
  const std::vector<std::size_t> chosen = images_of(splits, is_divided);
  const std::vector<Part> folds(static_cast<std::size_t>(options.folds));
  const std::vector<std::int32_t> fold_of = divided(chosen, folds, options, source, plan);
  const auto test = static_cast<std::int32_t>(splits.names.size());
  splits.names.emplace_back("test");
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (fold_of[i] == *options.fold) splits.of_image[chosen[i]] = test;
  }
}

/// Which splits --fractions divides: train, or those of the source that it names.
std::vector<bool> divided_splits(const Splits& splits, std::span<const Part> parts, const Source& source) {
  std::vector<bool> is_divided;
  for (const std::string& name : splits.names) {
    const bool is_named =
        std::any_of(parts.begin(), parts.end(), [&](const Part& part) { return part.name == name; });
    const bool is_rest = source.splits.empty() && name == splits.names.front();
    if (is_named && !is_rest && source.splits.empty())
      throw UsageError({fmt::format("the split '{}' is held out already", name), "--fractions",
                        "name other splits, for example train=0.9,val=0.1"});
    is_divided.push_back(is_rest || is_named);
  }
  if (std::find(is_divided.begin(), is_divided.end(), true) != is_divided.end()) return is_divided;
  throw UsageError(
      {fmt::format("the images have the splits {}, of which none is named", join(splits.names, ", ")),
       "--fractions",
       fmt::format("the splits that are named are divided, the others stay: for example {}=0.9,val=0.1",
                   splits.names.front())});
}

void take_fractions(Splits& splits, const DivisionOptions& options, const Source& source, const Plan& plan) {
  const std::vector<Part> parts = parts_of(options.fractions);
  const std::vector<bool> is_divided = divided_splits(splits, parts, source);
  const std::vector<std::size_t> chosen = images_of(splits, is_divided);
  const std::vector<std::int32_t> part_of = divided(chosen, parts, options, source, plan);
  std::vector<std::string> names;
  for (const Part& part : parts) names.push_back(part.name);
  std::vector<std::int32_t> moved(splits.names.size(), -1);  // where the splits that stay come to
  for (std::size_t i = 0; i < splits.names.size(); ++i) {
    if (is_divided[i]) continue;
    moved[i] = static_cast<std::int32_t>(names.size());
    names.push_back(splits.names[i]);
  }
  for (std::int32_t& index : splits.of_image) index = moved[static_cast<std::size_t>(index)];
  for (std::size_t i = 0; i < chosen.size(); ++i) splits.of_image[chosen[i]] = part_of[i];
  splits.names = std::move(names);
}

}  // namespace

bool is_training_name(const std::string& name) {
  return name == "train" || name == "training";
}

void add_splits(const Source& source, const ConvertOptions& options, Plan& plan) {
  Splits splits =
      source.splits.empty() ? held_out_splits(source, options.hold_out, plan) : splits_of_source(source);
  options.division.check();
  if (options.division.folds > 0) take_fold(splits, options.division, source, plan);
  if (!options.division.fractions.empty()) take_fractions(splits, options.division, source, plan);
  put_training_first(splits);
  data::PackedIndices of_image;
  for (const std::int32_t split : splits.of_image) of_image.add(split);
  plan.rows.use_splits(std::move(of_image));
  for (std::string& name : splits.names) plan.description.splits.push_back({std::move(name), {}});
}

}  // namespace cohort::data_prep
