#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cohort/core/random.h"
#include "cohort/data/description.h"

#include "augment/steps.h"

namespace cohort::augment {

class Foreground;

/// What a stream of random numbers decides about one view. Numbers are part of what a run draws: they are
/// only ever added. Those below 16 stand in the low bits of a key, the view's number in the bits above.
enum class Decision : std::uint32_t {
  crop = 1,
  flip,
  colour,
  order,
  gray,
  blur,
  solarise,
  turn,
  holes,
  channels,
  flip_vertical = 16,
  quarter_turns,
  affine,
  rand_augment,
  erase,
  noise,
  stain,
  flip_depth,
  volume_crop,
  axial_affine,
  scale_intensity,
  shift_intensity
};

/// The random numbers of one view of one image.
struct ViewDraws {
  std::uint64_t seed = 0;
  std::int64_t epoch = 0, row = 0, view = 0;
  std::int64_t number = 0;     ///< of the view among those of its kind, global or local
  std::uint32_t repeated = 0;  ///< how often the operation stands in the table before

  [[nodiscard]] RandomKey key(Decision decision) const;
  [[nodiscard]] RandomStream stream(Decision decision) const { return RandomStream(key(decision)); }
};

/// What an operation may be applied to.
struct ViewSizes {
  Sides image, view;
  const Foreground* foreground = nullptr;  ///< of the volume, for needs_foreground(); null: nobody needs it
};

/// One line of a table. Immutable; thread-safe.
class Operation {
 public:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() = default;

  /// Adds what it does to a view: at most most_steps(), none when it does nothing.
  virtual void draw(const ViewDraws& draws, const ViewSizes& sizes, std::vector<Step>& steps) const = 0;
  [[nodiscard]] virtual std::int64_t most_steps() const { return 1; }
  /// What of its options contradicts itself; empty: nothing.
  [[nodiscard]] virtual std::string contradiction() const { return ""; }
  /// Whether it places views of volumes by what their mask marks.
  [[nodiscard]] virtual bool needs_foreground() const { return false; }
  /// Whether the kernels for devices have it with these options (view_body.h).
  [[nodiscard]] virtual bool is_in_kernels() const { return false; }
};

enum class Takes { images, volumes, both };

/// What is known of an operation by its name.
struct OperationTraits {
  Takes takes = Takes::images;
  bool cuts = false;          ///< makes a view of any size from the image; stands first
  bool needs_rgb = false;     ///< 8-bit images of red, green and blue
  bool needs_square = false;  ///< views with equal sides
};

/// An operation of a table, with its name.
struct NamedOperation {
  std::string name;
  OperationTraits traits;
  std::uint32_t repeated = 0;
  std::unique_ptr<const Operation> operation;
};

/// Of `lines` "name option=value …". Throws UsageError: no such operation or option ("did you mean"), values
/// that cannot be; `where` names the list.
std::vector<NamedOperation> operations_of(const std::vector<std::string>& lines, const std::string& where);

}  // namespace cohort::augment
