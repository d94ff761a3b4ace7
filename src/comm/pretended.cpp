#include "cohort/comm/pretended.h"

#include <utility>

#include <fmt/format.h>

#include "comm/communicator_impl.h"
#include "comm/mpi_values.h"

namespace cohort::comm {

Communicator::Impl::Impl(int ranks, std::string name_of_group, CollectiveObserver& whom)
    : name(std::move(name_of_group)), rank(0), size(ranks), id(0), observer(&whom) {}

std::shared_ptr<Work::State> Communicator::Impl::pretend(const char* operation, const at::Tensor& input,
                                                         const at::Tensor& larger) const {
  const std::size_t number = observer->started(
      {name, size, fmt::format("{} {}", operation, mpi::find_dtype(input.scalar_type())->name),
       static_cast<double>(input.nbytes()), static_cast<double>(larger.nbytes())});
  auto state = std::make_shared<Work::State>();
  state->wait_on_device = [observer = observer, number] { observer->waited_for(number); };
  return state;
}

void Communicator::Impl::pretend(const char* operation, double bytes, double moved) const {
  if (size > 1) observer->waited_for(observer->started({name, size, operation, bytes, moved}));
}

Communicator pretend_ranks(int ranks, std::string name, CollectiveObserver& observer) {
  return Communicator(std::make_unique<Communicator::Impl>(ranks, std::move(name), observer));
}

}  // namespace cohort::comm
