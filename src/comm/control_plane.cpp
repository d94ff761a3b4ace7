// Collectives of small host values.
#include <utility>

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "cohort/comm/communicator.h"
#include "cohort/core/error.h"

#include "comm/communicator_impl.h"
#include "comm/failure.h"
#include "comm/mpi_transport.h"

namespace cohort::comm {
namespace {

template <class T>
T reduced(OperationQueue* queue, T value, Reduce op) {
  if (queue == nullptr) return value;
  const auto shared = std::make_shared<T>(value);  // outlives this call if the operation is given up
  queue->run(mpi::all_reduce(shared, op));
  return *shared;
}

}  // namespace

void Communicator::barrier() {
  if (impl_->queue) impl_->queue->run(mpi::barrier());
}

std::int64_t Communicator::sum(std::int64_t value) {
  if (impl_->observer != nullptr)
    return impl_->pretend("sum i64", sizeof value, sizeof value), impl_->size * value;
  return reduced(impl_->queue.get(), value, Reduce::sum);
}
std::int64_t Communicator::max(std::int64_t value) {
  if (impl_->observer != nullptr) impl_->pretend("max i64", sizeof value, sizeof value);
  return reduced(impl_->queue.get(), value, Reduce::max);
}
double Communicator::sum(double value) {
  if (impl_->observer != nullptr)
    return impl_->pretend("sum f64", sizeof value, sizeof value), impl_->size * value;
  return reduced(impl_->queue.get(), value, Reduce::sum);
}
double Communicator::max(double value) {
  if (impl_->observer != nullptr) impl_->pretend("max f64", sizeof value, sizeof value);
  return reduced(impl_->queue.get(), value, Reduce::max);
}

std::string Communicator::broadcast_text(std::string text, int root) {
  COHORT_CHECK(root >= 0 && root < impl_->size, "broadcast_text from rank {} of {}", root, impl_->size);
  if (!impl_->queue) return text;
  const auto shared = std::make_shared<std::string>(std::move(text));
  impl_->queue->run(mpi::broadcast_text(shared, root));
  return std::move(*shared);
}

std::vector<std::string> Communicator::gather_texts(const std::string& text) {
  COHORT_CHECK(std::in_range<int>(text.size()), "gather_texts of {} bytes", text.size());
  if (!impl_->queue) return std::vector<std::string>(static_cast<std::size_t>(impl_->size), text);
  const auto mine = std::make_shared<std::string>(text);
  const auto all = std::make_shared<std::string>();
  const auto gathered = std::make_shared<mpi::Gathered>();
  gathered->mine = mine->data();
  gathered->my_count = static_cast<int>(text.size());
  gathered->allocate = [mine, all](std::int64_t bytes) {
    all->resize(static_cast<std::size_t>(bytes));
    return static_cast<void*>(all->data());
  };
  impl_->queue->run(mpi::gather(gathered));
  std::vector<std::string> texts;
  std::size_t at = 0;
  for (const int bytes : gathered->counts) {
    texts.push_back(all->substr(at, static_cast<std::size_t>(bytes)));
    at += static_cast<std::size_t>(bytes);
  }
  return texts;
}

at::Tensor Communicator::gather_rows(const at::Tensor& rows) {
  COHORT_CHECK(rows.dim() >= 1 && rows.is_contiguous() && rows.is_cpu(),
               "gather_rows needs a contiguous CPU tensor [n, …]");
  if (impl_->observer != nullptr) {
    impl_->pretend("gather", 0, static_cast<double>(rows.nbytes()) * impl_->size);
    return at::cat(std::vector<at::Tensor>(static_cast<std::size_t>(impl_->size), rows));
  }
  if (!impl_->queue) return rows.clone();
  auto shape = rows.sizes().vec();
  const auto row = std::accumulate(shape.begin() + 1, shape.end(), std::int64_t{1}, std::multiplies<>());
  const auto all = std::make_shared<at::Tensor>();
  const auto gathered = std::make_shared<mpi::Gathered>();
  gathered->mine = rows.data_ptr();
  gathered->my_count = static_cast<int>(rows.size(0));
  gathered->row_bytes = row * static_cast<std::int64_t>(rows.element_size());
  gathered->allocate = [rows, all, shape](std::int64_t count) mutable {
    shape[0] = count;
    *all = at::empty(shape, rows.options());
    return all->data_ptr();
  };
  impl_->queue->run(mpi::gather(gathered));
  return *all;
}

void Communicator::agree(std::exception_ptr local) {
  const std::int64_t nobody = impl_->size;
  const std::int64_t first = -max(local ? -static_cast<std::int64_t>(impl_->rank) : -nobody);
  if (first == nobody) return;
  const int speaker = static_cast<int>(first);
  std::string text;
  if (impl_->rank == speaker) {
    Failure failure = describe(local);
    if (impl_->size > 1 && !failure.agreed) add_rank(failure, impl_->rank, impl_->size);
    text = serialise(failure);
  }
  throw_agreed(parse_failure(broadcast_text(std::move(text), speaker)));
}

}  // namespace cohort::comm
