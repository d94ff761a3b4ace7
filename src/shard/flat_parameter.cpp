#include "flat_parameter.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

namespace cohort::shard {
namespace {

std::int64_t rounded_up(std::int64_t count, std::int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

std::size_t bytes_of(const at::Tensor& tensor) {
  return static_cast<std::size_t>(tensor.numel()) * tensor.element_size();
}

}  // namespace

FlatParameter::FlatParameter(std::vector<NamedParameter> parameters, const Traits& traits,
                             comm::DeviceMesh& mesh, std::shared_ptr<BufferPool> pool)
    : parameters_(std::move(parameters)), traits_(traits), pool_(std::move(pool)), shards_(mesh.shards()) {
  COHORT_CHECK(!parameters_.empty(), "a flat parameter without parameters");
  for (const NamedParameter& parameter : parameters_) {
    COHORT_CHECK(parameter.tensor.scalar_type() == at::kFloat, "parameter '{}' is not f32", parameter.name);
  }
  lay_out(mesh.world().size());
  length_ = padded_ / shards_;
  begin_ = mesh.shard() * length_;
  make_views();
  const auto options = at::TensorOptions(at::kFloat).device(traits_.device);
  shard_is_view_ = traits_.keeps_whole && traits_.whole_type == at::kFloat;
  shard_value_ = shard_is_view_ ? own_part() : at::zeros({length_}, options);
  if (traits_.trained) shard_gradient_ = at::zeros({length_}, options);
  has_gradient_.assign(slots_.size(), false);
}

// The whole is cut into one block of chunks for every rank of the world, whatever the strategy, so that each
// can own a block.
void FlatParameter::lay_out(std::int64_t blocks) {
  std::stable_partition(parameters_.begin(), parameters_.end(),
                        [](const NamedParameter& parameter) { return parameter.tensor.dim() >= 2; });
  std::int64_t size = 0;
  for (const NamedParameter& parameter : parameters_) {
    slots_.push_back({parameter.name, parameter.tensor.sizes().vec(), size, parameter.layer});
    const std::int64_t end = size + parameter.tensor.numel();
    size = rounded_up(end, kAlignment);
    if (size > end) gaps_.emplace_back(end, size);
  }
  padded_ = rounded_up(std::max<std::int64_t>(size, 1), blocks * kChunk);
  if (padded_ > size) gaps_.emplace_back(size, padded_);
}

// The tensors keep their identity: what autograd saves of them stays valid when their storage is emptied and
// filled again.
void FlatParameter::make_views() {
  const at::NoGradGuard no_grad;
  whole_ = at::empty({0}, at::TensorOptions(traits_.whole_type).device(traits_.device));
  whole_.unsafeGetTensorImpl()->set_sizes_contiguous(padded_);
  allocate_whole();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    at::Tensor& parameter = parameters_[i].tensor;
    parameter.mutable_grad() = at::Tensor();
    parameter.set_data(part_of(whole_, i));
  }
}

at::Tensor FlatParameter::own_part() const {
  return whole_.narrow(0, begin_, length_);
}

at::Tensor FlatParameter::part_of(const at::Tensor& flat, std::size_t slot) const {
  const std::vector<std::int64_t>& shape = slots_[slot].shape;
  return flat.narrow(0, slots_[slot].offset, c10::multiply_integers(shape)).view(shape);
}

void FlatParameter::clear_gaps(const at::Tensor& flat) const {
  for (const auto& [begin, end] : gaps_) flat.narrow(0, begin, end - begin).zero_();
}

FlatShard FlatParameter::shard(const comm::DeviceMesh& mesh) const {
  FlatShard shard;
  shard.slots = slots_;
  shard.begin = begin_;
  shard.trained = traits_.trained;
  shard.replica = mesh.replica();
  shard.replicas = mesh.replicas();
  shard.value = shard_value_;
  shard.gradient = shard_gradient_;
  return shard;
}

void FlatParameter::initialise(const std::function<void(const std::string&, at::Tensor&)>& fill,
                               comm::DeviceMesh& mesh) {
  const at::NoGradGuard no_grad;
  const at::Device host = traits_.device.is_meta() ? at::kMeta : at::kCPU;
  at::Tensor values = at::zeros({padded_}, at::TensorOptions(at::kFloat).device(host));
  comm::together(mesh.world(), [&] {
    if (mesh.world().rank() != 0) return;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      at::Tensor part = part_of(values, i);
      fill(slots_[i].name, part);
    }
  });
  mesh.world().broadcast(values).wait();
  if (is_always_whole()) {
    whole_.copy_(values);
  } else {
    shard_value_.copy_(values.narrow(0, begin_, length_));
  }
}

at::Tensor FlatParameter::gathered(comm::DeviceMesh& mesh) const {
  if (shards_ == 1) return shard_value_.detach();
  at::Tensor all = pool_->tensor(padded_, at::kFloat);
  mesh.parameters().all_gather(all, shard_value_.contiguous()).wait();
  return all;
}

void FlatParameter::allocate_whole() {
  c10::StorageImpl& storage = *whole_.storage().unsafeGetStorageImpl();
  if (storage.nbytes() > 0) return;
  const std::size_t bytes = bytes_of(whole_);
  storage.set_data_ptr_noswap(pool_->take(bytes));
  storage.set_nbytes(bytes);
}

comm::Work FlatParameter::gather(comm::DeviceMesh& mesh) {
  const at::NoGradGuard no_grad;
  allocate_whole();
  const at::Tensor mine = own_part();
  if (!shard_is_view_) mine.copy_(shard_value_);
  return mesh.parameters().all_gather(whole_, mine);
}

bool FlatParameter::release() {
  if (traits_.keeps_whole) return true;
  c10::StorageImpl& storage = *whole_.storage().unsafeGetStorageImpl();
  storage.set_data_ptr_noswap(at::DataPtr(nullptr, traits_.device));
  storage.set_nbytes(0);
  return false;
}

void FlatParameter::begin_gradient() {
  if (whole_gradient_.defined()) return;
  whole_gradient_ =
      traits_.whole_gradient_is_shard ? shard_gradient_ : pool_->tensor(padded_, traits_.reduce_type);
  clear_gaps(whole_gradient_);
}

void FlatParameter::add_gradient(std::size_t slot, const at::Tensor& gradient) {
  const at::NoGradGuard no_grad;
  begin_gradient();
  const at::Tensor part = part_of(whole_gradient_, slot);
  if (has_gradient_[slot]) {
    part.add_(gradient);
  } else {
    part.copy_(gradient);
  }
  has_gradient_[slot] = true;
}

at::Tensor FlatParameter::take_gradient() {
  const at::NoGradGuard no_grad;
  begin_gradient();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (!has_gradient_[i]) part_of(whole_gradient_, i).zero_();
  }
  has_gradient_.assign(slots_.size(), false);
  return std::exchange(whole_gradient_, {});
}

void FlatParameter::check_views() const {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const at::Tensor& parameter = parameters_[i].tensor;
    COHORT_CHECK(parameter.storage().unsafeGetStorageImpl() == whole_.storage().unsafeGetStorageImpl() &&
                     parameter.storage_offset() == slots_[i].offset,
                 "parameter '{}' got another storage", parameters_[i].name);
  }
}

}  // namespace cohort::shard
