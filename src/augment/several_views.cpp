#include "cohort/augment/several_views.h"

#include <string>
#include <utility>

namespace cohort::augment {
namespace {

class SeveralViews final : public data::ViewMaker {
 public:
  using Makers = std::vector<std::unique_ptr<data::ViewMaker>>;
  explicit SeveralViews(Makers makers) : makers_(std::move(makers)) {}

  [[nodiscard]] std::vector<data::ViewShape> shapes() const override {
    std::vector<data::ViewShape> all;
    for (const auto& maker : makers_) {
      const std::vector<data::ViewShape> shapes = maker->shapes();
      all.insert(all.end(), shapes.begin(), shapes.end());
    }
    return all;
  }
  [[nodiscard]] std::string guide() const override {
    std::string guide;
    for (const auto& maker : makers_) {
      const std::string wanted = maker->guide();
      COHORT_CHECK(guide.empty() || wanted.empty() || guide == wanted, "views by the masks '{}' and '{}'",
                   guide, wanted);
      if (guide.empty()) guide = wanted;
    }
    return guide;
  }
  void make(std::span<const std::byte> image, data::ViewKey key,
            std::span<const std::span<float>> views) const override {
    for (const auto& maker : makers_) {
      const std::size_t count = maker->shapes().size();
      maker->make(image, key, views.first(count));
      views = views.subspan(count);
    }
  }
  [[nodiscard]] std::int64_t recipe_bytes() const override {
    std::int64_t sum = 0;
    for (const auto& maker : makers_) sum += maker->recipe_bytes();
    return sum;
  }
  void draw(data::ViewKey key, std::span<std::byte> recipe) const override {
    for (const auto& maker : makers_) {
      const auto bytes = static_cast<std::size_t>(maker->recipe_bytes());
      maker->draw(key, recipe.first(bytes));
      recipe = recipe.subspan(bytes);
    }
  }
  [[nodiscard]] data::ViewGeometry geometry(std::span<const std::byte> recipe,
                                            std::size_t view) const override {
    for (const auto& maker : makers_) {
      const std::size_t count = maker->shapes().size();
      if (view < count) return maker->geometry(recipe, view);
      view -= count;
      recipe = recipe.subspan(static_cast<std::size_t>(maker->recipe_bytes()));
    }
    COHORT_CHECK(false, "view {} behind the last", view);
    return {};
  }

 private:
  Makers makers_;
};

}  // namespace

std::unique_ptr<data::ViewMaker> several_views(std::vector<std::unique_ptr<data::ViewMaker>> makers) {
  return std::make_unique<SeveralViews>(std::move(makers));
}

}  // namespace cohort::augment
