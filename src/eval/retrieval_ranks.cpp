#include "eval/retrieval_ranks.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <tuple>
#include <utility>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kQueries = 1024, kSearched = 4096;

/// Numbers `first` … `first` + `count` - 1 of what is searched.
struct Own {
  at::Tensor first, last;  // [kQueries] i64: first … last - 1 belong to a query
};

/// [count, D], with rows of zeros behind those that there are: a product has the same bits wherever its block
/// is computed, since all blocks are of one size.
at::Tensor padded_block(const StoredRows& rows, std::int64_t first, std::int64_t count) {
  const std::int64_t there = std::clamp(rows.rows() - first, std::int64_t{0}, count);
  const at::Tensor block = at::zeros({count, rows.width()}, at::kDouble);
  if (there > 0) block.narrow(0, 0, there).copy_(rows.block(first, there));
  return block;
}

/// Queries of this rank, and what belongs to each of them.
struct Asked {
  at::Tensor queries;  // [kQueries, D] f64
  Own own;
};

/// Calls use(products [kQueries, n], numbers [n]) for all blocks of what is searched. Collective.
template <class Use>
void for_each_block(const at::Tensor& queries, const StoredRows& searched, const Use& use) {
  for (std::int64_t first = 0; first < searched.rows(); first += kSearched) {
    const std::int64_t count = std::min(kSearched, searched.rows() - first);
    const at::Tensor products = at::mm(queries, padded_block(searched, first, kSearched).t());
    use(products.narrow(1, 0, count), at::arange(first, first + count));
  }
}

/// Of each query, [kQueries].
at::Tensor ranks_of(const Asked& asked, const StoredRows& searched) {
  const at::Tensor first = asked.own.first.unsqueeze(1), last = asked.own.last.unsqueeze(1);
  at::Tensor best = at::full({kQueries}, -std::numeric_limits<double>::infinity(), at::kDouble),
             number = at::zeros({kQueries}, at::kLong), before = at::zeros({kQueries}, at::kLong);
  for_each_block(asked.queries, searched, [&](const at::Tensor& products, const at::Tensor& numbers) {
    const at::Tensor is_own = numbers.ge(first) & numbers.lt(last);
    const auto [most, at] = products.masked_fill(~is_own, -std::numeric_limits<double>::infinity()).max(1);
    const at::Tensor first_equal =
        at::where(products.eq(most.unsqueeze(1)) & is_own, numbers, std::numeric_limits<std::int64_t>::max())
            .amin(1);
    const at::Tensor is_better = most.gt(best);
    best = at::where(is_better, most, best);
    number = at::where(is_better, first_equal, number);
  });
  for_each_block(asked.queries, searched, [&](const at::Tensor& products, const at::Tensor& numbers) {
    const at::Tensor of_best = best.unsqueeze(1);
    before += (products.gt(of_best) | (products.eq(of_best) & numbers.lt(number.unsqueeze(1)))).sum(1);
  });
  return at::where(best.isinf(), searched.rows(), before);
}

/// Of all queries. `own(i)`: the first number that belongs to query i, and the one behind the last.
/// Collective.
std::vector<std::int64_t> all_ranks(
    const StoredRows& queries, const StoredRows& searched,
    const std::function<std::pair<std::int64_t, std::int64_t>(std::int64_t query)>& own,
    comm::Communicator& ranks) {
  std::vector<std::int64_t> all;
  for (std::int64_t round = 0; round < queries.rows(); round += kQueries * ranks.size()) {
    Asked asked{{}, {at::zeros({kQueries}, at::kLong), at::zeros({kQueries}, at::kLong)}};
    for (int rank = 0; rank < ranks.size(); ++rank) {
      const at::Tensor block = padded_block(queries, round + rank * kQueries, kQueries);
      if (rank == ranks.rank()) asked.queries = block;
    }
    const std::int64_t begin = round + ranks.rank() * kQueries;
    auto *first = asked.own.first.mutable_data_ptr<std::int64_t>(),
         *last = asked.own.last.mutable_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < kQueries && begin + i < queries.rows(); ++i)
      std::tie(first[i], last[i]) = own(begin + i);
    const at::Tensor gathered = ranks.gather_rows(ranks_of(asked, searched));
    const auto* rank_of = gathered.const_data_ptr<std::int64_t>();
    all.insert(all.end(), rank_of, rank_of + std::min(gathered.numel(), queries.rows() - round));
  }
  return all;
}

}  // namespace

RetrievalRanks retrieval_ranks(const ImagesAndTexts& all, comm::Communicator& ranks) {
  const std::vector<std::int64_t>& begins = all.begins;
  const auto texts_of = [&](std::int64_t image) {
    const auto i = static_cast<std::size_t>(image);
    return std::pair{begins[i], begins[i + 1]};
  };
  const auto image_of = [&](std::int64_t text) {
    const auto image = std::upper_bound(begins.begin(), begins.end(), text) - begins.begin() - 1;
    return std::pair<std::int64_t, std::int64_t>{image, image + 1};
  };
  return {all_ranks(all.images, all.texts, texts_of, ranks),
          all_ranks(all.texts, all.images, image_of, ranks)};
}

}  // namespace cohort::eval
