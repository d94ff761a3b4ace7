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
#include "augment/operations.h"
#include "augment/recipe.h"
#include "augment/steps.h"

namespace cohort::augment {
namespace {

/// A preset that comes with Cohort: its table, and sizes where the configuration has none.
struct BuiltIn {
  std::string_view name;
  std::int64_t global_size, local_size;
  Policy table;
};

const std::vector<BuiltIn>& built_in() {
  static const std::vector<BuiltIn> presets{
      {"camelyon_dino",
       96,
       32,
       {{"crop area=[0.4,1]", "flip", "jitter", "gray", "blur probability=[1,0.1]",
         "solarise probability=[0,0.2]"},
        {"crop area=[0.05,0.4]", "flip", "jitter", "gray", "blur"}}},
      {"cell_dino",
       224,
       96,
       {{"pad_crop", "flip_or_rotate", "defocus largest=[3,5]", "holes"},
        {"pad_crop least=320 anywhere=false", "flip_or_rotate", "defocus probability=1"}}}};
  return presets;
}

const BuiltIn* built_in(std::string_view name) {
  const auto found = std::find_if(built_in().begin(), built_in().end(),
                                  [&](const auto& preset) { return preset.name == name; });
  return found == built_in().end() ? nullptr : &*found;
}

/// Views of one kind, global or local.
struct ViewKind {
  std::int64_t count = 0;
  Sides size;
  std::vector<NamedOperation> operations;
};

/// All that is not random.
struct Table {
  ViewKind global, local;
  [[nodiscard]] std::int64_t views() const noexcept { return global.count + local.count; }
  [[nodiscard]] const ViewKind& kind_of(std::int64_t view) const noexcept {
    return view < global.count ? global : local;
  }
};

std::string text_of(Sides size) {
  return fmt::format("{} x {}", size.height, size.width);
}

void check_cut(const ViewKind& kind, Sides image, const std::string& where) {
  const bool cuts = !kind.operations.empty() && kind.operations.front().traits.cuts;
  const bool is_cut = kind.size.height != image.height || kind.size.width != image.width;
  if (is_cut && !cuts) {
    throw UsageError(
        {fmt::format("views of {} pixels are to be made of images of {}, and no operation cuts them",
                     text_of(kind.size), text_of(image)),
         where, "begin with crop, pad_crop or resize"});
  }
  for (std::size_t i = 1; i < kind.operations.size(); ++i) {
    if (!kind.operations[i].traits.cuts) continue;
    throw UsageError(
        {fmt::format("'{}' is not the first operation", kind.operations[i].name), where,
         "crop, pad_crop or resize cut the view out of the image: put one first, and none later"});
  }
}

void check_images(const ViewKind& kind, const data::ImageLayout& images, const std::string& preset,
                  const std::string& where) {
  const bool is_rgb = images.channels == 3 && images.type == data::PixelType::u8;
  for (const NamedOperation& operation : kind.operations) {
    if (operation.traits.needs_rgb && !is_rgb) {
      if (built_in(preset) != nullptr) {
        throw UsageError({fmt::format("preset {} needs 8-bit RGB images, not {} channels of type {}", preset,
                                      images.channels, data::pixel_type_name(images.type)),
                          "augment.preset", "use cell_dino for other images"});
      }
      throw UsageError({fmt::format("'{}' needs 8-bit RGB images, not {} channels of type {}", operation.name,
                                    images.channels, data::pixel_type_name(images.type)),
                        where, fmt::format("leave out '{}'", operation.name)});
    }
    if (operation.traits.needs_square && kind.size.height != kind.size.width) {
      throw UsageError({fmt::format("'{}' needs square views, not {}", operation.name, text_of(kind.size)),
                        where, "set augment.multi_crop.global_size, and cut views of that size"});
    }
  }
}

Sides square(std::int64_t side) {
  return {side, side};
}

Table table_of(const ViewConfig& config, std::int64_t global_views, const data::ImageLayout& images) {
  const BuiltIn* const preset = built_in(config.preset);
  const Policy& lines = preset != nullptr ? preset->table : config.policy;
  const Sides image{images.height, images.width};
  const auto size = [&](std::int64_t configured, std::int64_t of_preset) {
    const std::int64_t side = configured > 0 ? configured : of_preset;
    return side > 0 ? square(side) : image;
  };
  Table table;
  table.global = {preset != nullptr ? kGlobalCrops : global_views,
                  size(config.multi_crop.global_size, preset != nullptr ? preset->global_size : 0),
                  operations_of(lines.global, "augment.policy.global")};
  table.local = {lines.local.empty() ? 0 : config.multi_crop.local_crops,
                 size(config.multi_crop.local_size, preset != nullptr ? preset->local_size : 0),
                 operations_of(lines.local, "augment.policy.local")};
  for (const auto& [kind, where] :
       {std::pair{&table.global, "augment.policy.global"}, std::pair{&table.local, "augment.policy.local"}}) {
    if (kind->count == 0) continue;
    check_images(*kind, images, config.preset, where);
    check_cut(*kind, image, where);
  }
  return table;
}

// ---- Kernels ----

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
    std::vector<data::ViewShape> shapes;
    for (std::int64_t view = 0; view < table_.views(); ++view) {
      const Sides size = table_.kind_of(view).size;
      shapes.push_back({description_.images.channels, size.height, size.width});
    }
    return shapes;
  }

  void make(std::span<const std::byte> image, std::int64_t row,
            std::span<const std::span<float>> views) const override {
    Planes stored = planes_of(description_.images, image);
    if (shuffles_channels_) shuffle_channels(stored, channel_order(row));
    std::vector<Step> steps;
    for (std::size_t v = 0; v < views.size(); ++v) {
      const auto view = static_cast<std::int64_t>(v);
      draw_steps(row, view, steps);
      normaliser_.apply(made_by(steps, stored, table_.kind_of(view).size, description_).values, views[v]);
    }
  }

  /// Views, then the order of channels [C] i32.
  [[nodiscard]] std::int64_t recipe_bytes() const override {
    return table_.views() * view_bytes_ + (description_.images.channels + 1) / 2 * 8;
  }

  void draw(std::int64_t row, std::span<std::byte> recipe) const override {
    std::byte* next = recipe.data();
    std::vector<Step> steps;
    for (std::int64_t view = 0; view < table_.views(); ++view, next += view_bytes_) {
      draw_steps(row, view, steps);
      Format::write(steps, next);
    }
    for (const std::int64_t channel : channel_order(row)) {
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
    const ViewKind& kind = table_.kind_of(view);
    const ViewSizes sizes{{description_.images.height, description_.images.width}, kind.size};
    ViewDraws draws{seed_, epoch_, row, view, view < table_.global.count ? view : view - table_.global.count,
                    0};
    steps.clear();
    for (const NamedOperation& operation : kind.operations) {
      draws.repeated = operation.repeated;
      operation.operation->draw(draws, sizes, steps);
    }
  }

  /// Of the image that stands at each place of the views' channels.
  [[nodiscard]] std::vector<std::int64_t> channel_order(std::int64_t row) const {
    const std::int64_t channels = description_.images.channels;
    if (shuffles_channels_)
      return permutation(channels, ViewDraws{seed_, epoch_, row}.stream(Decision::channels));
    std::vector<std::int64_t> order(static_cast<std::size_t>(channels));
    std::iota(order.begin(), order.end(), 0);
    return order;
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
  for (const BuiltIn& preset : built_in()) names.emplace_back(preset.name);
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
  if (config.preset == kWholeImage) return config.whole.noise > 0.0 ? Kernel::none : Kernel::whole;
  return kernel_of(table_of(config, kGlobalCrops, description.images), description.images);
}

std::string operation_without_kernel(const ViewConfig& config, const data::Description& description) {
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
