// Images found by texts and texts by images: whether what belongs to a query is among the first ones, as
// recall at k, and the median of its place. An image is found where one of its texts is. A query searches all
// of the split, by the dot product: a method that compares cosines gives vectors of length 1. A rank holds 40
// bytes for each image and text, and vectors in files in TMPDIR.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "cohort/core/error.h"
#include "cohort/eval/stored_rows.h"
#include "cohort/eval/task.h"

#include "eval/answers.h"
#include "eval/retrieval_ranks.h"
#include "eval/spilled_rankings.h"
#include "eval/tasks/scored_contexts.h"

namespace cohort::eval {
namespace {

enum Direction : std::size_t { kImageToText, kTextToImage };
constexpr const char* kDirections[] = {"image_to_text", "text_to_image"};

std::string recall_name(std::size_t direction, std::int64_t k) {
  return fmt::format("{}_recall_at_{}", kDirections[direction], k);
}

std::string median_name(std::size_t direction) {
  return fmt::format("{}_median_rank", kDirections[direction]);
}

std::vector<ScoreName> retrieval_names(const TaskConfig& config) {
  std::vector<ScoreName> names;
  for (const std::size_t direction : {kImageToText, kTextToImage})
    for (const std::int64_t k : config.recall_at) names.push_back({recall_name(direction, k), true});
  for (const std::size_t direction : {kImageToText, kTextToImage})
    names.push_back({median_name(direction), false});
  return names;
}

/// How many queries there were, and of how many what belongs to them was among the first k.
struct Found {
  std::int64_t queries = 0;
  std::vector<std::int64_t> at;  // [recall_at]

  void add(std::int64_t rank, const std::vector<std::int64_t>& recall_at) {
    ++queries;
    for (std::size_t i = 0; i < recall_at.size(); ++i) at[i] += rank < recall_at[i] ? 1 : 0;
  }
};

double median_place(std::vector<std::int64_t> ranks) {
  const auto middle = ranks.begin() + std::ssize(ranks) / 2;
  std::nth_element(ranks.begin(), middle, ranks.end());
  const double upper = static_cast<double>(*middle);
  if (ranks.size() % 2 == 1) return 1 + upper;
  return 1 + (upper + static_cast<double>(*std::max_element(ranks.begin(), middle))) / 2;
}

class Retrieval final : public Task {
 public:
  explicit Retrieval(TaskInput input) : input_(std::move(input)) {}

  void add(const AnsweredImages& images) override;
  Scorecard finish(comm::Communicator& ranks) override;

 private:
  /// Images of one pass, whose vectors lie one after the other from `offset` on, then those of their texts.
  struct Stored {
    std::uint64_t offset;
    std::size_t first, images;  // of `rows_`
    std::int64_t texts;
  };
  /// All images of all ranks, by rows.
  struct Order {
    std::vector<std::int64_t> rows, begins;  // begins [N + 1]: of the texts
  };

  [[nodiscard]] Order order_of(comm::Communicator& ranks) const;
  void write(const Order& order, StoredRows& images, StoredRows& texts) const;
  [[nodiscard]] std::vector<Found> counted(const Order& order, const RetrievalRanks& found,
                                           comm::Communicator& ranks) const;
  [[nodiscard]] std::vector<Score> recalls(std::span<const Found> found) const;
  [[nodiscard]] std::vector<Curve> curves(const RetrievalRanks& found) const;
  [[nodiscard]] static std::size_t place_of(const Order& order, std::int64_t row) {
    return static_cast<std::size_t>(std::lower_bound(order.rows.begin(), order.rows.end(), row) -
                                    order.rows.begin());
  }

  TaskInput input_;
  Spill vectors_;
  std::vector<Stored> stored_;
  std::vector<std::int64_t> rows_, texts_;  // of this rank's images: their rows, how many texts they have
  std::vector<std::int32_t> contexts_;      // [images, keys]
  std::int64_t width_ = 0;
  bool finite_ = true;
};

void Retrieval::add(const AnsweredImages& images) {
  const auto count = static_cast<std::int64_t>(images.rows.size());
  const at::Tensor image = images.answers.at("image").to(at::kFloat).contiguous(),
                   text = images.answers.at("text").to(at::kFloat).contiguous();
  const auto offsets = images.answers.find("text_offsets");
  const at::Tensor begins =
      offsets == images.answers.end() ? at::arange(count + 1) : offsets->second.to(at::kLong).contiguous();
  const auto* begin = begins.const_data_ptr<std::int64_t>();
  COHORT_CHECK(image.size(0) == count && begins.numel() == count + 1 && text.size(0) == begin[count] &&
                   image.size(1) == text.size(1),
               "{} images and {} texts of {} images", image.size(0), text.size(0), count);
  finite_ = finite_ && image.isfinite().all().item<bool>() && text.isfinite().all().item<bool>();
  width_ = image.size(1);
  const auto bytes_of = [](const at::Tensor& values) {
    return std::as_bytes(std::span(values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())));
  };
  stored_.push_back({vectors_.append(bytes_of(image)), rows_.size(), images.rows.size(), text.size(0)});
  vectors_.append(bytes_of(text));
  rows_.insert(rows_.end(), images.rows.begin(), images.rows.end());
  contexts_.insert(contexts_.end(), images.contexts.begin(), images.contexts.end());
  for (std::int64_t i = 0; i < count; ++i) texts_.push_back(begin[i + 1] - begin[i]);
}

Retrieval::Order Retrieval::order_of(comm::Communicator& ranks) const {
  const at::Tensor rows = ranks.gather_rows(at::tensor(rows_, at::kLong)),
                   texts = ranks.gather_rows(at::tensor(texts_, at::kLong));
  const at::Tensor order = rows.argsort();
  const at::Tensor sorted = rows.index_select(0, order), counts = texts.index_select(0, order);
  const auto *row = sorted.const_data_ptr<std::int64_t>(), *count = counts.const_data_ptr<std::int64_t>();
  Order all{{row, row + sorted.numel()}, {0}};
  for (std::int64_t i = 0; i < counts.numel(); ++i) all.begins.push_back(all.begins.back() + count[i]);
  return all;
}

void Retrieval::write(const Order& order, StoredRows& images, StoredRows& texts) const {
  for (const Stored& pass : stored_) {
    const at::Tensor image = at::empty({static_cast<std::int64_t>(pass.images), width_}),
                     text = at::empty({pass.texts, width_});
    const auto read = [&](std::uint64_t offset, const at::Tensor& values) {
      vectors_.read(offset, {static_cast<std::byte*>(values.data_ptr()), values.nbytes()});
    };
    read(pass.offset, image);
    read(pass.offset + image.nbytes(), text);
    std::vector<std::int64_t> places, numbers;
    for (std::size_t i = pass.first; i < pass.first + pass.images; ++i) {
      const std::size_t place = place_of(order, rows_[i]);
      places.push_back(static_cast<std::int64_t>(place));
      for (std::int64_t t = order.begins[place]; t < order.begins[place + 1]; ++t) numbers.push_back(t);
    }
    images.write(at::tensor(places, at::kLong), image);
    texts.write(at::tensor(numbers, at::kLong), text);
  }
}

/// Of all images in both directions, then of each context.
std::vector<Found> Retrieval::counted(const Order& order, const RetrievalRanks& found,
                                      comm::Communicator& ranks) const {
  const std::vector<std::int64_t>& recall_at = input_.config.recall_at;
  std::vector<Found> counts(2 * (1 + input_.contexts.values.size()),
                            {0, std::vector<std::int64_t>(recall_at.size())});
  const std::size_t keys = input_.contexts.keys.size();
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const std::size_t place = place_of(order, rows_[i]);
    const auto add = [&](std::size_t group) {
      counts[2 * group + kImageToText].add(found.of_images[place], recall_at);
      for (std::int64_t t = order.begins[place]; t < order.begins[place + 1]; ++t)
        counts[2 * group + kTextToImage].add(found.of_texts[static_cast<std::size_t>(t)], recall_at);
    };
    add(0);
    for (std::size_t k = 0; k < keys; ++k) add(1 + static_cast<std::size_t>(contexts_[i * keys + k]));
  }
  std::vector<std::int64_t> numbers;
  for (const Found& count : counts) {
    numbers.push_back(count.queries);
    numbers.insert(numbers.end(), count.at.begin(), count.at.end());
  }
  ranks.all_reduce(at::from_blob(numbers.data(), {std::ssize(numbers)}, at::kLong)).wait();
  const std::int64_t* next = numbers.data();
  for (Found& count : counts) {
    count.queries = *next++;
    for (std::int64_t& number : count.at) number = *next++;
  }
  return counts;
}

std::vector<Score> Retrieval::recalls(std::span<const Found> found) const {
  std::vector<Score> scores;
  for (const std::size_t direction : {kImageToText, kTextToImage}) {
    const Found& of = found[direction];
    for (std::size_t i = 0; i < of.at.size(); ++i) {
      Score& score =
          scores.emplace_back(Score{recall_name(direction, input_.config.recall_at[i]), std::nan("")});
      if (of.queries == 0) continue;
      score.value = static_cast<double>(of.at[i]) / static_cast<double>(of.queries);
      score.interval = wilson(of.at[i], of.queries);
    }
  }
  return scores;
}

std::vector<Curve> Retrieval::curves(const RetrievalRanks& found) const {
  constexpr std::int64_t kMostShown = 50;
  std::vector<Curve> curves;
  for (const auto& [of, ranks, searched] :
       {std::tuple{"image to text", &found.of_images, found.of_texts.size()},
        std::tuple{"text to image", &found.of_texts, found.of_images.size()}}) {
    Curve& curve = curves.emplace_back(Curve{"recall_at", of, "first ones that are looked at", "recall", {}});
    for (std::int64_t k = 1; k <= std::min(kMostShown, static_cast<std::int64_t>(searched)); ++k) {
      const auto hits =
          std::count_if(ranks->begin(), ranks->end(), [&](std::int64_t rank) { return rank < k; });
      curve.points.push_back(
          {static_cast<double>(k), static_cast<double>(hits) / static_cast<double>(ranks->size())});
    }
  }
  return curves;
}

Scorecard Retrieval::finish(comm::Communicator& ranks) {
  const Order order = order_of(ranks);
  refuse_unscored(finite_, order.begins.back(), input_.target.name, ranks);
  const std::int64_t width = ranks.max(width_);
  StoredRows images(std::ssize(order.rows), width, ranks), texts(order.begins.back(), width, ranks);
  comm::together(ranks, [&] { write(order, images, texts); });
  const RetrievalRanks found = retrieval_ranks({images, texts, order.begins}, ranks);
  const std::vector<Found> counts = counted(order, found, ranks);
  const auto of_group = [&](std::size_t group) { return std::span(counts).subspan(2 * group, 2); };
  Scorecard card;
  card.samples = std::ssize(order.rows);
  card.all = recalls(of_group(0));
  card.all.push_back({median_name(kImageToText), median_place(found.of_images), {}, false});
  card.all.push_back({median_name(kTextToImage), median_place(found.of_texts), {}, false});
  card.contexts = scored_contexts(input_.contexts, [&](std::size_t i) {
    return ScoredGroup{"", of_group(1 + i)[kImageToText].queries, recalls(of_group(1 + i))};
  });
  card.curves = curves(found);
  return card;
}

}  // namespace

TaskEntry retrieval() {
  return {
      "retrieval",
      "images found by texts, and texts by images",
      data::FieldKind::tokens,
      "image [B, D]; text [B, D], or of several texts an image [sum, D] and text_offsets [B + 1]",
      retrieval_names,
      [](TaskInput input) -> std::unique_ptr<Task> { return std::make_unique<Retrieval>(std::move(input)); }};
}

}  // namespace cohort::eval
