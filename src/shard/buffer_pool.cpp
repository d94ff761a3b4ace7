#include "buffer_pool.h"

#include <algorithm>
#include <utility>

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

namespace cohort::shard {

struct BufferPool::Lease {
  std::shared_ptr<BufferPool> pool;
  std::size_t bytes;
  at::DataPtr block;

  static void end(void* lease) {
    const std::unique_ptr<Lease> mine(static_cast<Lease*>(lease));
    const std::lock_guard lock(mine->pool->mutex_);
    mine->pool->free_.emplace_back(mine->bytes, std::move(mine->block));
  }
};

at::DataPtr BufferPool::take(std::size_t bytes) {
  c10::Allocator& allocator = *c10::GetAllocator(device_.type());
  if (!device_.is_cpu()) return allocator.allocate(bytes);
  auto lease = std::make_unique<Lease>(Lease{shared_from_this(), bytes, {}});
  {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::find_if(free_.begin(), free_.end(), [bytes](const auto& block) { return block.first == bytes; });
    if (found != free_.end()) {
      lease->block = std::move(found->second);
      free_.erase(found);
    }
  }
  if (lease->block.get() == nullptr) lease->block = allocator.allocate(bytes);
  void* const memory = lease->block.get();
  return {memory, lease.release(), &Lease::end, device_};
}

at::Tensor BufferPool::tensor(std::int64_t count, at::ScalarType type) {
  if (!device_.is_cpu()) return at::empty({count}, at::TensorOptions(type).device(device_));
  auto block = std::make_shared<at::DataPtr>(take(static_cast<std::size_t>(count) * c10::elementSize(type)));
  void* const memory = block->get();
  const auto give_back = [block = std::move(block)](void*) mutable { block.reset(); };
  return at::from_blob(memory, {count}, give_back, at::TensorOptions(type).device(device_));
}

}  // namespace cohort::shard
