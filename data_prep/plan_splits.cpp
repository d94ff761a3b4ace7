#include "data_prep/plan_splits.h"

#include <algorithm>

#include <fmt/format.h>

#include "cohort/core/text.h"

#include "data_prep/published_folds.h"

namespace cohort::data_prep {
namespace {

/// Names, and the one of every image.
struct Splits {
  std::vector<std::string> names;
  data::PackedIndices of_image;

  /// The split with number i becomes number to[i].
  void renumber(const std::vector<std::int32_t>& to) {
    for (std::int64_t i = 0; i < of_image.size(); ++i)
      of_image.set(i, to[static_cast<std::size_t>(of_image[i])]);
  }
};

/// Where training begins.
void put_training_first(Splits& splits) {
  std::vector<std::string> names = splits.names;
  std::stable_partition(names.begin(), names.end(), is_training_name);
  std::vector<std::int32_t> place;
  for (const std::string& name : splits.names)
    place.push_back(static_cast<std::int32_t>(std::find(names.begin(), names.end(), name) - names.begin()));
  splits.renumber(place);
  splits.names = std::move(names);
}

/// In order of appearance, but train or training first.
Splits splits_of_source(const Source& source) {
  Categories::Coded coded = source.splits.coded();
  Splits splits{std::move(coded.names), std::move(coded.codes)};
  if (std::find(splits.names.begin(), splits.names.end(), "") != splits.names.end())
    throw DataError({"an image has no split", source.where, "name a split for every image"});
  put_training_first(splits);
  return splits;
}

/// What no rule holds out is train.
Splits held_out_splits(const Source& source, const HoldOut& rule, const Plan& plan) {
  Splits splits{{"train", "seen_test", "unseen_test"}, data::PackedIndices(std::ssize(source.ids), 0)};
  if (rule.contexts > 0 || rule.images > 0)
    splits.of_image = hold_out(plan.rows.contexts().empty() ? splits.of_image : plan.rows.contexts()[0],
                               plan.rows.ids(), rule);
  // A rule that is off gives no split: with both off, all is train.
  if (rule.contexts == 0) splits.names.pop_back();
  if (rule.images == 0) {
    splits.names.erase(splits.names.begin() + 1);
    splits.renumber({0, 1, 1});
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

void stratify(Divisible& images, const std::string& label, const Plan& plan) {
  const std::size_t column = place_of(plan.description.labels, label, "label", "--stratify");
  images.label = label;
  images.class_names = plan.description.labels[column].classes;
  images.classes = plan.rows.labels()[column];
}

/// By a column that is nothing but a group.
void group_by_column(Divisible& images, const Source& source) {
  Categories::Coded coded = source.groups.values.coded();
  images.group_names = distinct(coded.names);
  const auto index_of = indices(coded.names, images.group_names, source.groups.name, source.where);
  for (std::int64_t i = 0; i < coded.codes.size(); ++i) {
    const std::int32_t group = index_of[static_cast<std::size_t>(coded.codes[i])];
    if (group < 0 && images.is_chosen(i)) {
      throw DataError(
          {fmt::format("image '{}' has no value in column '{}'", images.ids[i], source.groups.name),
           source.where, "every image needs one; give unknown ones a name of their own"});
    }
    coded.codes.set(i, group);
  }
  images.groups = std::move(coded.codes);
}

void group(Divisible& images, const std::string& key, const Source& source, const Plan& plan) {
  images.group = key;
  if (source.groups.name == key) return group_by_column(images, source);
  const std::size_t column = place_of(plan.description.contexts, key, "context key", "--group-by");
  images.group_names = plan.description.contexts[column].values;
  images.groups = plan.rows.contexts()[column];
}

/// The part of each image of the splits that are divided, -1 of the others.
data::PackedIndices divided(const Splits& splits, const std::vector<bool>& is_divided,
                            std::span<const Part> parts, const DivisionOptions& options, const Source& source,
                            const Plan& plan) {
  Divisible images{.ids = plan.rows.ids()};
  for (std::int64_t i = 0; i < splits.of_image.size(); ++i)
    images.chosen.push_back(is_divided[static_cast<std::size_t>(splits.of_image[i])]);
  if (!options.stratify.empty()) stratify(images, options.stratify, plan);
  if (!options.group_by.empty()) group(images, options.group_by, source, plan);
  return options.scikit_learn ? scikit_learn_folds(images, std::ssize(parts))
                              : divide(images, parts, options.seed);
}

/// One fold of what was train becomes the split `test`.
void take_fold(Splits& splits, const DivisionOptions& options, const Source& source, const Plan& plan) {
  std::vector<bool> is_divided(splits.names.size(), false);
  is_divided[0] = true;
  const std::vector<Part> folds(static_cast<std::size_t>(options.folds));
  const data::PackedIndices fold_of = divided(splits, is_divided, folds, options, source, plan);
  const auto test = static_cast<std::int32_t>(splits.names.size());
  splits.names.emplace_back("test");
  for (std::int64_t i = 0; i < fold_of.size(); ++i) {
    if (fold_of[i] == *options.fold) splits.of_image.set(i, test);
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
  const data::PackedIndices part_of = divided(splits, is_divided, parts, options, source, plan);
  std::vector<std::string> names;
  for (const Part& part : parts) names.push_back(part.name);
  std::vector<std::int32_t> moved(splits.names.size(), -1);  // where the splits that stay come to
  for (std::size_t i = 0; i < splits.names.size(); ++i) {
    if (is_divided[i]) continue;
    moved[i] = static_cast<std::int32_t>(names.size());
    names.push_back(splits.names[i]);
  }
  splits.renumber(moved);
  for (std::int64_t i = 0; i < part_of.size(); ++i) {
    if (part_of[i] >= 0) splits.of_image.set(i, part_of[i]);
  }
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
  plan.rows.use_splits(std::move(splits.of_image));
  for (std::string& name : splits.names) plan.description.splits.push_back({std::move(name), {}});
}

}  // namespace cohort::data_prep
