#include "augment/policy_views.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/core/text.h"

#include "augment/normaliser.h"
#include "augment/policy_table.h"
#include "augment/recipe.h"
#include "augment/steps.h"
#include "augment/volume_views.h"

namespace cohort::augment {
namespace {

struct KernelOrder {
  Kernel kernel;
  std::vector<std::string_view> names;
};

const std::array<KernelOrder, 2>& kernel_orders() {
  static const std::array<KernelOrder, 2> orders{
      {{Kernel::colour, {"crop", "flip", "jitter", "gray", "blur", "solarise"}},
       {Kernel::cell, {"pad_crop", "flip_or_rotate", "defocus", "holes"}}}};
  return orders;
}

/// The first operation of `kind` that a kernel of this order does not make; null: none.
const NamedOperation* misfit(const ViewKind& kind, const KernelOrder& order) {
  if (kind.count == 0) return nullptr;
  auto next = order.names.begin();
  bool is_first = true;
  for (const NamedOperation& operation : kind.operations) {
    const auto found = std::find(next, order.names.end(), operation.name);
    const bool begins = !is_first || found == order.names.begin();
    if (found == order.names.end() || !begins || !operation.operation->is_in_kernels()) return &operation;
    next = found + 1;
    is_first = false;
  }
  return nullptr;
}

bool fits(const Table& table, const KernelOrder& order, const data::ImageLayout& images) {
  const bool begins = !table.global.operations.empty();
  const bool is_rgb = images.channels == 3 && images.type == data::PixelType::u8;
  return begins && (order.kernel != Kernel::colour || is_rgb) && misfit(table.global, order) == nullptr &&
         misfit(table.local, order) == nullptr;
}

Kernel kernel_of(const Table& table, const data::ImageLayout& images) {
  if (images.is_volume()) return Kernel::none;
  for (const KernelOrder& order : kernel_orders()) {
    if (fits(table, order, images)) return order.kernel;
  }
  return Kernel::none;
}

/// Steps of the preset camelyon_dino, or fewer, as the kernel takes them.
struct ColourRecipeOf {
  ColourRecipe& recipe;
  void operator()(const step::Crop& crop) const { recipe.box = crop.box; }
  void operator()(const step::Mirror&) const { recipe.mirrored = true; }
  void operator()(const step::Jitter& jitter) const {
    recipe.jitters = true;
    recipe.brightness = jitter.brightness;
    recipe.contrast = jitter.contrast;
    recipe.saturation = jitter.saturation;
    recipe.hue = jitter.hue;
    std::copy(jitter.order.begin(), jitter.order.end(), recipe.order);
  }
  void operator()(const step::Colour& colour) const {
    (colour.change == step::Colour::Change::gray ? recipe.gray : recipe.solarises) = true;
  }
  void operator()(const step::Blur& blur) const { recipe.blur_radius = blur.radius; }
  template <class Other>
  void operator()(const Other&) const {
    COHORT_CHECK(false, "a step that the kernel does not have");
  }
};

struct CellRecipeOf {
  CellRecipe& recipe;
  void operator()(const step::PaddedCrop& crop) const {
    recipe.top = crop.top;
    recipe.left = crop.left;
  }
  void operator()(const step::Mirror&) const { recipe.turn = Turn::mirror; }
  void operator()(const step::UpsideDown&) const { recipe.turn = Turn::upside_down; }
  void operator()(const step::Rotate& rotate) const {
    recipe.turn = Turn::rotate;
    recipe.cosine = rotate.cosine;
    recipe.sine = rotate.sine;
  }
  void operator()(const step::Defocus& defocus) const { recipe.defocus = defocus.radius; }
  void operator()(const step::Holes& holes) const {
    recipe.holes = holes.count;
    std::copy_n(holes.part.begin(), holes.count, recipe.hole);
  }
  template <class Other>
  void operator()(const Other&) const {
    COHORT_CHECK(false, "a step that the kernel does not have");
  }
};

/// Formats of what is drawn about a view: those of the kernels, or all steps.
struct ColourFormat {
  static constexpr std::int64_t bytes(std::int64_t /*most_steps*/) { return sizeof(ColourRecipe); }
  static void write(std::span<const Step> steps, std::byte* to) {
    ColourRecipe recipe;
    for (const Step& step : steps) std::visit(ColourRecipeOf{recipe}, step);
    std::memcpy(to, &recipe, sizeof(recipe));
  }
  static data::ViewGeometry geometry(const std::byte* from, Sides image, Sides size) {
    return geometry_of(recipe_at<ColourRecipe>(from), image, size);
  }
};

struct CellFormat {
  static constexpr std::int64_t bytes(std::int64_t /*most_steps*/) { return sizeof(CellRecipe); }
  static void write(std::span<const Step> steps, std::byte* to) {
    CellRecipe recipe;
    for (const Step& step : steps) std::visit(CellRecipeOf{recipe}, step);
    std::memcpy(to, &recipe, sizeof(recipe));
  }
  static data::ViewGeometry geometry(const std::byte* from, Sides image, Sides size) {
    return geometry_of(recipe_at<CellRecipe>(from), image, size);
  }
};

/// Their number [1] i64, then the steps.
struct StepsFormat {
  static constexpr std::int64_t bytes(std::int64_t most_steps) {
    return static_cast<std::int64_t>(sizeof(std::int64_t)) +
           most_steps * static_cast<std::int64_t>(sizeof(Step));
  }
  static void write(std::span<const Step> steps, std::byte* to) {
    const std::int64_t count = std::ssize(steps);
    std::memcpy(to, &count, sizeof(count));
    if (count > 0) std::memcpy(to + sizeof(count), steps.data(), steps.size_bytes());
  }
  static data::ViewGeometry geometry(const std::byte* from, Sides image, Sides size) {
    std::vector<Step> steps(static_cast<std::size_t>(recipe_at<std::int64_t>(from)));
    for (std::size_t i = 0; i < steps.size(); ++i)
      steps[i] = recipe_at<Step>(from + sizeof(std::int64_t) + i * sizeof(Step));
    return geometry_of(steps, image, size);
  }
};

std::int64_t most_steps(const Table& table) {
  const auto of_kind = [](const ViewKind& kind) {
    return std::accumulate(
        kind.operations.begin(), kind.operations.end(), std::int64_t{0},
        [](std::int64_t sum, const NamedOperation& o) { return sum + o.operation->most_steps(); });
  };
  return std::max(of_kind(table.global), of_kind(table.local));
}

/// `Format`: how what is drawn about a view is written down.
template <class Format>
class PolicyViews final : public data::ViewMaker {
 public:
  PolicyViews(Table table, bool shuffles_channels, const data::Description& description,
              Normalisation normalisation, std::uint64_t seed, std::int64_t epoch)
      : table_(std::move(table)),
        view_bytes_(Format::bytes(most_steps(table_))),
        shuffles_channels_(shuffles_channels),
        description_(description),
        normaliser_(description, normalisation),
        seed_(seed),
        epoch_(epoch) {}

  [[nodiscard]] std::vector<data::ViewShape> shapes() const override {
    return table_.shapes(description_.images.channels);
  }

  void make(std::span<const std::byte> image, data::ViewKey key,
            std::span<const std::span<float>> views) const override {
    Planes stored = planes_of(description_.images, image);
    if (shuffles_channels_) shuffle_channels(stored, order_of(key.row));
    std::vector<Step> steps;
    for (std::size_t v = 0; v < views.size(); ++v) {
      const auto view = static_cast<std::int64_t>(v);
      draw_steps(key.row, view, steps);
      normaliser_.apply(made_by(steps, stored, table_.kind_of(view).size, description_).values, views[v]);
    }
  }

  /// Views, then the order of channels [C] i32.
  [[nodiscard]] std::int64_t recipe_bytes() const override {
    return table_.views() * view_bytes_ + (description_.images.channels + 1) / 2 * 8;
  }

  void draw(data::ViewKey key, std::span<std::byte> recipe) const override {
    std::byte* next = recipe.data();
    std::vector<Step> steps;
    for (std::int64_t view = 0; view < table_.views(); ++view, next += view_bytes_) {
      draw_steps(key.row, view, steps);
      Format::write(steps, next);
    }
    for (const std::int64_t channel : order_of(key.row)) {
      const auto number = static_cast<std::int32_t>(channel);
      std::memcpy(next, &number, sizeof(number));
      next += sizeof(number);
    }
  }

  [[nodiscard]] data::ViewGeometry geometry(std::span<const std::byte> recipe,
                                            std::size_t view) const override {
    return Format::geometry(recipe.data() + view * static_cast<std::size_t>(view_bytes_),
                            {description_.images.height, description_.images.width},
                            table_.kind_of(static_cast<std::int64_t>(view)).size);
  }

 private:
  void draw_steps(std::int64_t row, std::int64_t view, std::vector<Step>& steps) const {
    table_.draw({seed_, epoch_, row, view}, {{description_.images.height, description_.images.width}, {}},
                steps);
  }

  [[nodiscard]] std::vector<std::int64_t> order_of(std::int64_t row) const {
    return channel_order({seed_, epoch_, row}, description_.images.channels, shuffles_channels_);
  }

  static void shuffle_channels(Planes& image, const std::vector<std::int64_t>& order) {
    const Planes before = image;
    for (std::int64_t c = 0; c < image.channels; ++c)
      std::copy_n(before.plane(order[static_cast<std::size_t>(c)]), image.pixels(), image.plane(c));
  }

  Table table_;
  std::int64_t view_bytes_;
  bool shuffles_channels_;
  data::Description description_;
  Normaliser normaliser_;
  std::uint64_t seed_;
  std::int64_t epoch_;
};

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names{std::string(kWholeImage)};
  for (const BuiltIn& preset : built_in_presets()) names.emplace_back(preset.name);
  return names;
}

std::int64_t local_crops(const ViewConfig& config) {
  const BuiltIn* const preset = built_in(config.preset);
  const bool has_some = !(preset != nullptr ? preset->table : config.policy).local.empty();
  return config.preset != kWholeImage && has_some ? config.multi_crop.local_crops : 0;
}

void check(const Policy& policy) {
  (void)operations_of(policy.global, "augment.policy.global");
  (void)operations_of(policy.local, "augment.policy.local");
}

Kernel kernel_of(const ViewConfig& config, const data::Description& description) {
  if (config.preset == kWholeImage)
    return config.whole.noise > 0.0 || description.images.is_volume() ? Kernel::none : Kernel::whole;
  return kernel_of(table_of(config, kGlobalCrops, description.images), description.images);
}

std::string operation_without_kernel(const ViewConfig& config, const data::Description& description) {
  if (description.images.is_volume()) return "a view of a volume";
  if (config.preset == kWholeImage) return "augment.noise";
  const Table table = table_of(config, kGlobalCrops, description.images);
  const auto begins = [&](std::string_view name) {
    return !table.global.operations.empty() && table.global.operations.front().name == name;
  };
  const KernelOrder& order = kernel_orders()[begins("pad_crop") ? 1 : 0];
  for (const ViewKind* kind : {&table.global, &table.local}) {
    if (const NamedOperation* operation = misfit(*kind, order)) return operation->name;
  }
  return "this table";
}

std::unique_ptr<data::ViewMaker> policy_views(const ViewConfig& config, std::int64_t global_views,
                                              const data::Description& description,
                                              Normalisation normalisation, std::uint64_t seed,
                                              std::int64_t epoch) {
  Table table = table_of(config, global_views, description.images);
  if (description.images.is_volume()) {
    return volume_views(std::move(table), config.multi_crop.shuffle_channels, description, normalisation,
                        seed, epoch);
  }
  const auto made = [&]<class Format>(Format) -> std::unique_ptr<data::ViewMaker> {
    return std::make_unique<PolicyViews<Format>>(std::move(table), config.multi_crop.shuffle_channels,
                                                 description, normalisation, seed, epoch);
  };
  switch (kernel_of(table, description.images)) {
    case Kernel::colour:
      return made(ColourFormat{});
    case Kernel::cell:
      return made(CellFormat{});
    default:
      return made(StepsFormat{});
  }
}

std::unique_ptr<data::ViewMaker> training_views(const ViewConfig& config,
                                                const data::Description& description,
                                                Normalisation normalisation, std::uint64_t seed,
                                                std::int64_t epoch, std::int64_t global_views) {
  if (config.preset == kWholeImage)
    return training_view(config.whole, description, normalisation, seed, epoch);
  return policy_views(config, global_views, description, normalisation, seed, epoch);
}

}  // namespace cohort::augment
