#pragma once
#include <algorithm>
#include <barrier>
#include <cstdint>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include "cohort/shard/optimizer.h"

namespace cohort::shard {

constexpr std::int64_t kSliceUnit = 1024;

/// One unit of parameters with values and gradients, laid out as the engine does.
class Unit {
 public:
  /// Parameters start at multiples of 16 values; matrices come before others.
  void add(const std::string& name, const at::Tensor& init, int layer = 0) {
    slots_.push_back({name, init.sizes().vec(), size_, layer});
    values_.push_back(init);
    size_ = (size_ + init.numel() + 15) / 16 * 16;
  }
  /// The next parameter starts 16 values before a place where the unit may be cut, so that a longer one lies
  /// in two slices.
  void skip_to_cut() { size_ = (size_ / kSliceUnit + 1) * kSliceUnit - 16; }

  /// After the last parameter.
  void finish() {
    size_ = (size_ / kSliceUnit + 1) * kSliceUnit;
    value = at::zeros({size_});
    gradient = at::zeros({size_});
    for (std::size_t i = 0; i < slots_.size(); ++i) view(value, slots_[i]).copy_(values_[i]);
  }

  /// Slices [begin, end), in order, as many as asked for; they share memory with the unit.
  [[nodiscard]] std::vector<FlatShard> cut(int slices) const {
    const std::int64_t chunks = size_ / kSliceUnit;
    std::vector<FlatShard> shards;
    for (int i = 0; i < slices; ++i) {
      const std::int64_t begin = chunks * i / slices * kSliceUnit,
                         count = chunks * (i + 1) / slices * kSliceUnit - begin;
      FlatShard& shard = shards.emplace_back();
      shard.slots = slots_;
      shard.begin = begin;
      shard.value = value.narrow(0, begin, count);
      shard.gradient = gradient.narrow(0, begin, count);
    }
    return shards;
  }

  static at::Tensor view(const at::Tensor& flat, const ParameterSlot& slot) {
    return flat.narrow(0, slot.offset, c10::multiply_integers(slot.shape)).view(slot.shape);
  }
  [[nodiscard]] const std::vector<ParameterSlot>& slots() const { return slots_; }
  [[nodiscard]] const ParameterSlot& slot(const std::string& name) const {
    for (const ParameterSlot& slot : slots_) {
      if (slot.name == name) return slot;
    }
    throw std::runtime_error("no parameter " + name);
  }
  [[nodiscard]] at::Tensor parameter(const std::string& name) const { return view(value, slot(name)); }
  [[nodiscard]] at::Tensor gradient_of(const std::string& name) const { return view(gradient, slot(name)); }

  at::Tensor value, gradient;

 private:
  std::vector<ParameterSlot> slots_;
  std::vector<at::Tensor> values_;
  std::int64_t size_ = 0;
};

/// Ranks as threads of one process, each with an optimizer on its slice of one unit.
class SimulatedRanks {
 public:
  SimulatedRanks(const Unit& unit, int ranks, const OptimizerConfig& config, const Rules& rules = {})
      : slots_(unit.slots()), meeting_(ranks), posted_(static_cast<std::size_t>(ranks)) {
    for (FlatShard& shard : unit.cut(ranks)) shards.push_back({std::move(shard)});
    for (std::size_t rank = 0; rank < shards.size(); ++rank) {
      const auto norms = [this, rank](auto values) { return squared_norms(rank, values[0]); };
      optimizers.push_back(make_optimizer(shards[rank], config, norms, rules));
    }
  }

  /// A step on every rank; the norm of the gradients, the same on all ranks.
  double step(double lr, double weight_decay) {
    std::vector<double> norms(optimizers.size());
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < optimizers.size(); ++rank) {
      threads.emplace_back([&, rank] {
        norms[rank] = optimizers[rank]->clip_gradients();
        optimizers[rank]->step(lr, weight_decay, norms[rank]);
      });
    }
    for (std::thread& thread : threads) thread.join();
    if (std::count(norms.begin(), norms.end(), norms[0]) != std::ssize(norms))
      throw std::runtime_error("the ranks have different norms");
    return norms[0];
  }

  std::vector<std::vector<FlatShard>> shards;  ///< [rank], one each
  std::vector<std::unique_ptr<Optimizer>> optimizers;

 private:
  std::vector<std::vector<double>> squared_norms(std::size_t rank, const at::Tensor& values) {
    posted_[rank] = values;
    meeting_.arrive_and_wait();
    const at::Tensor whole = at::cat(posted_).to(at::kDouble);
    std::vector<double> norms;
    for (const ParameterSlot& slot : slots_) {
      const std::int64_t end = slot.offset + c10::multiply_integers(slot.shape);
      double sum = 0.0;
      for (std::int64_t begin = slot.offset; begin < end;) {
        const std::int64_t next = std::min(end, (begin / kSliceUnit + 1) * kSliceUnit);
        sum += whole.narrow(0, begin, next - begin).square().sum().item<double>();
        begin = next;
      }
      norms.push_back(sum);
    }
    meeting_.arrive_and_wait();
    return {norms};
  }

  std::vector<ParameterSlot> slots_;
  std::barrier<> meeting_;
  std::vector<at::Tensor> posted_;
};

}  // namespace cohort::shard
