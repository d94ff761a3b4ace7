#include "data_prep/splits.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/random.h"
#include "cohort/core/text.h"

#include "data_prep/options.h"

namespace cohort::data_prep {
namespace {

constexpr std::int64_t kWhole = 1'000'000'000;  // weights of fractions add up to it

/// Of images in random order: the same for an id in any list.
std::uint64_t random_place(std::string_view id, std::uint64_t seed) {
  const std::uint64_t sum = checksum(std::as_bytes(std::span(id)));
  RandomStream stream({.seed = seed, .purpose = Purpose::split, .sample = static_cast<std::int64_t>(sum)});
  const std::uint64_t high = stream();
  return high << 32U | stream();
}

/// How many images of one class each part has, and lacks. Integers, so that every machine divides alike.
class Shares {
 public:
  explicit Shares(std::span<const Part> parts) : parts_(parts), counts_(parts.size(), 0) {
    for (const Part& part : parts) whole_ += part.weight;
  }
  /// From now on the parts share `images` more.
  void expect(std::int64_t images) { images_ += images; }
  void add(std::size_t part, std::int64_t images) { counts_[part] += images; }
  /// Images that it lacks, times the sum of all weights.
  [[nodiscard]] std::int64_t missing(std::size_t part) const {
    return parts_[part].weight * images_ - whole_ * counts_[part];
  }

 private:
  std::span<const Part> parts_;
  std::vector<std::int64_t> counts_;
  std::int64_t whole_ = 0, images_ = 0;
};

/// Parts that have to get something yet, so that none stays empty.
class EmptyParts {
 public:
  explicit EmptyParts(std::size_t parts) : is_empty_(parts, true), left_(std::ssize(is_empty_)) {}
  /// Whether `part` may get one of `left` units that are left.
  [[nodiscard]] bool allow(std::size_t part, std::int64_t left) const {
    return left > left_ || is_empty_[part];
  }
  void fill(std::size_t part) {
    left_ -= is_empty_[part] ? 1 : 0;
    is_empty_[part] = false;
  }

 private:
  std::vector<bool> is_empty_;
  std::int64_t left_;
};

/// The allowed part of which `missing(part)` is most; of equal ones the first.
template <class Missing>
std::size_t neediest(std::size_t parts, const EmptyParts& empty, std::int64_t left, const Missing& missing) {
  std::size_t best = parts;
  decltype(missing(best)) most{};
  for (std::size_t part = 0; part < parts; ++part) {
    if (!empty.allow(part, left)) continue;
    const auto value = missing(part);
    if (best < parts && value <= most) continue;
    best = part;
    most = value;
  }
  return best;
}

[[noreturn]] void refuse_few(const std::string& what, std::int64_t parts) {
  throw UsageError({fmt::format("{}, too few for {} splits", what, parts),
                    "--fractions, --folds, --stratify, --group-by",
                    "divide into fewer splits, take small classes together, or leave out --stratify"});
}

/// `counts`: of each class, how many images or groups it has.
void check_classes(const Divisible& images, const std::vector<std::int64_t>& counts, const char* unit,
                   std::span<const Part> parts) {
  if (images.classes.size() == 0) return;
  for (std::size_t i = 0; i < images.class_names.size(); ++i) {
    if (counts[i] > 0 && counts[i] < std::ssize(parts))
      refuse_few(fmt::format("class '{}' of '{}' has {} {}", images.class_names[i], images.label,
                             format_count(counts[i]), unit),
                 std::ssize(parts));
  }
}

/// Calls use(image) for those that are to be divided.
template <class Use>
void for_chosen(const Divisible& images, const Use& use) {
  for (std::int64_t i = 0; i < images.ids.size(); ++i) {
    if (images.is_chosen(i)) use(i);
  }
}

/// By class, at random within it. A number has the first bits of an image's place above the image, so that
/// both take 8 bytes: where these bits are alike, places are computed again.
std::vector<std::uint64_t> drawn_images(const Divisible& images, std::int64_t count, std::uint64_t seed) {
  constexpr std::uint64_t kImage = (std::uint64_t{1} << 36) - 1;
  COHORT_CHECK(std::cmp_less_equal(images.ids.size(), kImage), "{} images to divide", images.ids.size());
  std::vector<std::uint64_t> drawn;
  drawn.reserve(static_cast<std::size_t>(count));
  for_chosen(images, [&](std::int64_t i) {
    drawn.push_back((random_place(images.ids[i], seed) & ~kImage) | static_cast<std::uint64_t>(i));
  });
  const auto image_of = [&](std::uint64_t number) { return static_cast<std::int64_t>(number & kImage); };
  std::sort(drawn.begin(), drawn.end(), [&](std::uint64_t a, std::uint64_t b) {
    const std::size_t left = images.class_of(image_of(a)), right = images.class_of(image_of(b));
    if (left != right) return left < right;
    if (((a ^ b) & ~kImage) != 0) return a < b;
    const std::string_view id = images.ids[image_of(a)], other = images.ids[image_of(b)];
    const std::uint64_t place = random_place(id, seed), other_place = random_place(other, seed);
    return place != other_place ? place < other_place : id < other;
  });
  for (std::uint64_t& number : drawn) number &= kImage;
  return drawn;
}

data::PackedIndices divide_images(const Divisible& images, std::span<const Part> parts, std::uint64_t seed) {
  std::vector<std::int64_t> counts(images.class_count(), 0);
  for_chosen(images, [&](std::int64_t i) { ++counts[images.class_of(i)]; });
  const std::int64_t chosen = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  if (chosen < std::ssize(parts)) refuse_few(fmt::format("there are {} images", chosen), std::ssize(parts));
  check_classes(images, counts, "images", parts);
  data::PackedIndices part_of(images.ids.size(), -1);
  // One for all classes: what rounding takes from a part in one class it gets back in the next.
  Shares shares(parts);
  const std::vector<std::uint64_t> drawn = drawn_images(images, chosen, seed);
  for (std::size_t first = 0; first < drawn.size();) {
    const std::int64_t count = counts[images.class_of(static_cast<std::int64_t>(drawn[first]))];
    shares.expect(count);
    EmptyParts empty(parts.size());
    for (std::int64_t left = count; left > 0; --left) {
      const std::size_t part =
          neediest(parts.size(), empty, left, [&](std::size_t p) { return shares.missing(p); });
      shares.add(part, 1);
      empty.fill(part);
      part_of.set(static_cast<std::int64_t>(drawn[first++]), static_cast<std::int32_t>(part));
    }
  }
  return part_of;
}

/// Images by group: those of group g are list[first[g]] … list[first[g + 1] - 1].
struct GroupLists {
  std::vector<std::size_t> first;
  std::vector<std::int64_t> list;

  explicit GroupLists(const Divisible& images) : first(images.group_names.size() + 1, 0) {
    const auto group_of = [&](std::int64_t i) { return static_cast<std::size_t>(images.groups[i]); };
    for_chosen(images, [&](std::int64_t i) { ++first[group_of(i) + 1]; });
    std::partial_sum(first.begin(), first.end(), first.begin());
    list.resize(first.back());
    std::vector<std::size_t> next(first.begin(), first.end() - 1);
    for_chosen(images, [&](std::int64_t i) { list[next[group_of(i)]++] = i; });
  }
  [[nodiscard]] std::span<const std::int64_t> of(std::size_t group) const {
    return std::span(list).subspan(first[group], first[group + 1] - first[group]);
  }
};

/// Those that have images, in random order.
std::vector<std::size_t> drawn_groups(const Divisible& images, const GroupLists& lists, std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, std::size_t>> drawn;
  for (std::size_t g = 0; g < images.group_names.size(); ++g) {
    if (!lists.of(g).empty()) drawn.emplace_back(random_place(images.group_names[g], seed), g);
  }
  std::sort(drawn.begin(), drawn.end(), [&](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first
                              : images.group_names[a.second] < images.group_names[b.second];
  });
  std::vector<std::size_t> groups;
  for (const auto& [place, group] : drawn) groups.push_back(group);
  return groups;
}

/// Of each class that `list` has images of, how many.
std::map<std::size_t, std::int64_t> images_by_class(const Divisible& images,
                                                    std::span<const std::int64_t> list) {
  std::map<std::size_t, std::int64_t> counts;
  for (const std::int64_t image : list) ++counts[images.class_of(image)];
  return counts;
}

/// Of each class, how many images it has and in how many groups they are.
struct ClassCounts {
  std::vector<std::int64_t> images, groups;
};

ClassCounts count_classes(const Divisible& images, const GroupLists& lists) {
  ClassCounts counts{std::vector<std::int64_t>(images.class_count(), 0),
                     std::vector<std::int64_t>(images.class_count(), 0)};
  for (std::size_t g = 0; g < images.group_names.size(); ++g) {
    for (const auto& [c, count] : images_by_class(images, lists.of(g))) {
      counts.images[c] += count;
      ++counts.groups[c];
    }
  }
  return counts;
}

data::PackedIndices divide_groups(const Divisible& images, std::span<const Part> parts, std::uint64_t seed) {
  const GroupLists lists(images);
  const std::vector<std::size_t> order = drawn_groups(images, lists, seed);
  if (order.size() < parts.size())
    refuse_few(fmt::format("there are {} values of '{}'", order.size(), images.group), std::ssize(parts));
  const ClassCounts counts = count_classes(images, lists);
  check_classes(images, counts.groups, fmt::format("values of '{}'", images.group).c_str(), parts);
  std::vector<Shares> shares(counts.images.size(), Shares(parts));
  for (std::size_t c = 0; c < shares.size(); ++c) shares[c].expect(counts.images[c]);
  EmptyParts empty(parts.size());
  data::PackedIndices part_of(images.ids.size(), -1);
  auto left = std::ssize(order);
  for (const std::size_t group : order) {
    const std::map<std::size_t, std::int64_t> of_group = images_by_class(images, lists.of(group));
    // A class counts as much as any other, however many images it has. Added class by class: sums of one
    // order, whatever that of the images.
    const auto missing = [&](std::size_t part) {
      double sum = 0;
      for (const auto& [c, count] : of_group)
        sum += static_cast<double>(count) * static_cast<double>(shares[c].missing(part)) /
               static_cast<double>(counts.images[c]);
      return sum;
    };
    const std::size_t part = neediest(parts.size(), empty, left--, missing);
    empty.fill(part);
    for (const auto& [c, count] : of_group) shares[c].add(part, count);
    for (const std::int64_t image : lists.of(group)) part_of.set(image, static_cast<std::int32_t>(part));
  }
  return part_of;
}

std::int64_t weight_of(const std::string& text, const std::string& all) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  if (is_number && value > 0 && value < 1) {
    const auto weight = static_cast<std::int64_t>(std::llround(value * static_cast<double>(kWhole)));
    if (weight > 0) return weight;
  }
  throw UsageError({fmt::format("'{}' in '{}' is no fraction between 0 and 1", text, all), "--fractions",
                    "for example train=0.8,val=0.1,test=0.1"});
}

}  // namespace

void DivisionOptions::add_to(CLI::App& command) {
  command
      .add_option("--fractions", fractions,
                  "random splits, for example train=0.8,val=0.1,test=0.1: divides what is not held out; of "
                  "images that have splits, those in the splits that it names")
      ->type_name("SPLIT=FRACTION,…");
  command.add_option("--folds", folds, "random folds for cross-validation; --fold I says which is 'test'")
      ->check(CLI::Range(2, 1 << 20))
      ->type_name("K");
  command.add_option("--fold", fold, "of --folds K: fold I, 0 … K-1, is 'test', the rest is 'train'")
      ->type_name("I");
  command
      .add_option("--stratify", stratify,
                  "of --fractions and --folds: every split has the classes of this label in the same ratio")
      ->type_name("LABEL");
  command
      .add_option("--group-by", group_by,
                  "of --fractions and --folds: images of one value of this context key, or column of the "
                  "table, are in one split")
      ->type_name("KEY");
  command.add_flag(
      "--scikit-learn", scikit_learn,
      "of --folds with --stratify: the folds of scikit-learn's StratifiedKFold or StratifiedGroupKFold "
      "without shuffling, by the order of the images");
  command.add_option("--seed", seed, "of --fractions and --folds: another seed, other splits")
      ->capture_default_str();
}

void DivisionOptions::check() const {
  if (!divides() && !(stratify.empty() && group_by.empty()))
    throw UsageError(
        {"there is nothing to stratify or to group", "--stratify, --group-by", "add --fractions or --folds"});
  if (scikit_learn && (folds == 0 || stratify.empty()))
    throw UsageError({"scikit-learn's rule is one of folds with classes", "--scikit-learn",
                      "add --folds and --stratify, or leave it out"});
  if (folds > 0 && !fold)
    throw UsageError({"which fold is the test split is not said", "--folds",
                      fmt::format("add --fold 0; one dataset for each of 0 … {} makes them all", folds - 1)});
  if (folds == 0 && fold)
    throw UsageError({"the number of folds is not said", "--fold", "add --folds, for example --folds 5"});
  if (fold && (*fold < 0 || *fold >= folds))
    throw UsageError({"there is no such fold", "--fold", fmt::format("give 0 … {}", folds - 1)});
}

std::vector<Part> parts_of(const std::string& fractions) {
  std::vector<Part> parts;
  std::set<std::string> names;
  std::int64_t whole = 0;
  for (const std::string& text : split_text(fractions, ',')) {
    const std::size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    if (equals == std::string::npos || name.empty() || !names.insert(name).second)
      throw UsageError({fmt::format("'{}' in '{}' names no split of its own", text, fractions), "--fractions",
                        "for example train=0.8,val=0.1,test=0.1"});
    parts.push_back({name, weight_of(text.substr(equals + 1), fractions)});
    whole += parts.back().weight;
  }
  if (whole == kWhole) return parts;
  throw UsageError({fmt::format("the fractions of '{}' add up to {}, not to 1", fractions,
                                static_cast<double>(whole) / static_cast<double>(kWhole)),
                    "--fractions", "for example train=0.8,val=0.1,test=0.1"});
}

data::PackedIndices divide(const Divisible& images, std::span<const Part> parts, std::uint64_t seed) {
  return images.group.empty() ? divide_images(images, parts, seed) : divide_groups(images, parts, seed);
}

}  // namespace cohort::data_prep
