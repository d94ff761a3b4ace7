#include "train/batch_feeder.h"

#include <utility>

#include <ATen/core/Tensor.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace cohort::train {
namespace {

std::optional<c10::Stream> copy_stream(at::Device device) {
  if (device.is_cpu()) return std::nullopt;
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

}  // namespace

BatchFeeder::BatchFeeder(data::Loader::Make make, std::int64_t first, std::int64_t last,
                         const data::LoaderConfig& config, at::Device device,
                         std::optional<augment::DeviceViews> views)
    : device_(device),
      views_(std::move(views)),
      stream_(copy_stream(device)),
      loader_([this, make = std::move(make)](std::int64_t step,
                                             Workers& workers) { return made(make(step, workers)); },
              first, last, config) {}

data::Batch BatchFeeder::made(data::Batch batch) {
  if (stream_) {
    Copy started = copy(batch);
    const std::lock_guard lock(mutex_);
    copies_.push_back(std::move(started));
  } else if (views_) {
    batch.views = views_->make(batch.stored, batch.recipes);
  }
  return batch;
}

// Page-locked memory is not reused before the copy is done: its allocator sees to that.
BatchFeeder::Copy BatchFeeder::copy(const data::Batch& host) const {
  const c10::StreamGuard guard(*stream_);
  Copy copy{host, c10::Event(device_.type())};
  copy.batch.for_each_tensor([this](at::Tensor& tensor, data::Batch::Use use) {
    if (use != data::Batch::Use::model) return;
    tensor = tensor.to(device_, tensor.scalar_type(), /*non_blocking=*/true);
  });
  if (views_) copy.batch.views = views_->make(host.stored, host.recipes);
  copy.done.record(*stream_);
  return copy;
}

data::Batch BatchFeeder::take_copy() {
  const std::lock_guard lock(mutex_);
  Copy copy = std::move(copies_.front());
  copies_.pop_front();
  const c10::Stream current = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  copy.done.block(current);
  copy.batch.for_each_tensor([&](const at::Tensor& tensor, data::Batch::Use use) {
    if (use == data::Batch::Use::model) tensor.record_stream(current);
  });
  return std::move(copy.batch);
}

FedBatch BatchFeeder::with_copy(data::Batch host) {
  if (!stream_) return {host, host};
  return {std::move(host), take_copy()};
}

}  // namespace cohort::train
