#pragma once
// Makers of views from tables of operations, and what they make.
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cohort/augment/multi_crop.h"
#include "cohort/data/description.h"
#include "cohort/data/view_maker.h"

namespace cohort::testing {

inline augment::ViewConfig table(std::vector<std::string> operations, std::int64_t size = 0) {
  augment::ViewConfig config;
  config.preset = "table";
  config.policy.global = std::move(operations);
  config.multi_crop.global_size = size;
  return config;
}

inline std::unique_ptr<data::ViewMaker> views_of(const augment::ViewConfig& config,
                                                 const data::Description& description, std::int64_t count = 1,
                                                 std::int64_t epoch = 0) {
  return augment::training_views(config, description, augment::Normalisation::dataset, 3, epoch, count);
}

inline std::vector<std::vector<float>> made(const data::ViewMaker& maker, std::span<const std::byte> image,
                                            const data::ViewKey& key) {
  std::vector<std::vector<float>> views;
  for (const data::ViewShape& shape : maker.shapes())
    views.emplace_back(static_cast<std::size_t>(shape.values()));
  maker.make(image, key, std::vector<std::span<float>>(views.begin(), views.end()));
  return views;
}

template <class Value>
std::vector<std::vector<float>> made(const data::ViewMaker& maker, const std::vector<Value>& image,
                                     const data::ViewKey& key) {
  return made(maker, std::as_bytes(std::span(image)), key);
}

inline std::vector<std::byte> recipe_of(const data::ViewMaker& maker, const data::ViewKey& key) {
  std::vector<std::byte> recipe(static_cast<std::size_t>(maker.recipe_bytes()));
  maker.draw(key, recipe);
  return recipe;
}

}  // namespace cohort::testing
