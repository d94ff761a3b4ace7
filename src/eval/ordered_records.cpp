#include "eval/ordered_records.h"

#include <algorithm>
#include <cstring>
#include <span>

#include <ATen/ATen.h>

namespace cohort::eval {
namespace {

using Record = OrderedRecords::Record;

constexpr std::size_t kBlock = 128;  // records of a run in memory
constexpr auto kNumbers = static_cast<std::int64_t>(Record{}.size());

at::Tensor tensor_of_records(std::span<const Record> records) {
  const at::Tensor rows = at::empty({std::ssize(records), kNumbers}, at::kLong);
  if (!records.empty()) std::memcpy(rows.mutable_data_ptr(), records.data(), records.size_bytes());
  return rows;
}

/// Of every rank.
std::vector<Record> gathered_records(std::span<const Record> records, comm::Communicator& ranks) {
  const at::Tensor rows = ranks.gather_rows(tensor_of_records(records));
  std::vector<Record> all(static_cast<std::size_t>(rows.size(0)));
  if (!all.empty()) std::memcpy(all.data(), rows.const_data_ptr(), std::span(all).size_bytes());
  return all;
}

}  // namespace

void OrderedRecords::add(const Record& record) {
  fresh_.push_back(record);
  if (fresh_.size() == kRun) flush();
}

void OrderedRecords::flush() {
  if (fresh_.empty()) return;
  std::sort(fresh_.begin(), fresh_.end());
  runs_.push_back({spill_.append(std::as_bytes(std::span(fresh_))), fresh_.size(), {}, 0});
  fresh_.clear();
}

/// Whether there is a next record of the run.
bool OrderedRecords::refill(Run& run) const {
  if (run.next < run.block.size()) return true;
  run.block.resize(std::min(run.left, kBlock));
  run.next = 0;
  spill_.read(run.offset, std::as_writable_bytes(std::span(run.block)));
  run.offset += std::span(run.block).size_bytes();
  run.left -= run.block.size();
  return !run.block.empty();
}

/// Up to `count` records of this rank become those that it offers.
void OrderedRecords::offer(std::size_t count) {
  const auto comes_later = [this](std::size_t a, std::size_t b) {
    return runs_[a].block[runs_[a].next] > runs_[b].block[runs_[b].next];
  };
  while (offered_.size() < count && !heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), comes_later);
    Run& run = runs_[heap_.back()];
    offered_.push_back(run.block[run.next++]);
    if (refill(run))
      std::push_heap(heap_.begin(), heap_.end(), comes_later);
    else
      heap_.pop_back();
  }
}

/// Collective. The next records of all ranks, in order; `is_last`: there are no more.
std::vector<Record> OrderedRecords::take_first(comm::Communicator& ranks, bool& is_last) {
  std::vector<Record> own_end;  // records that are not offered come behind it
  if (!heap_.empty()) own_end.push_back(offered_.back());
  const std::vector<Record> ends = gathered_records(own_end, ranks);
  is_last = ends.empty();
  const auto end = is_last ? offered_.end()
                           : std::upper_bound(offered_.begin(), offered_.end(),
                                              *std::min_element(ends.begin(), ends.end()));
  std::vector<Record> first =
      gathered_records(std::span(offered_).first(static_cast<std::size_t>(end - offered_.begin())), ranks);
  offered_.erase(offered_.begin(), end);
  std::sort(first.begin(), first.end());
  return first;
}

void OrderedRecords::for_each(comm::Communicator& ranks, const std::function<void(const Record&)>& use) {
  const std::size_t of_a_rank = std::max<std::size_t>(1, kTogether / static_cast<std::size_t>(ranks.size()));
  comm::together(ranks, [&] {
    flush();
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      (void)refill(runs_[i]);
      heap_.push_back(i);
    }
    std::make_heap(heap_.begin(), heap_.end(), [this](std::size_t a, std::size_t b) {
      return runs_[a].block.front() > runs_[b].block.front();
    });
  });
  for (bool is_last = false; !is_last;) {
    comm::together(ranks, [&] { offer(of_a_rank); });
    for (const Record& record : take_first(ranks, is_last)) use(record);
  }
}

}  // namespace cohort::eval
