#pragma once
#include "sgd.h"

namespace cohort::shard {

/// You, Gitman and Ginsburg, arXiv 1708.03888, as DINO's reference code and MAE's linear probe have it.
class Lars final : public Sgd {
 public:
  using Sgd::Sgd;

 private:
  void update(double lr, double weight_decay) override;
  void add_decay(double weight_decay);
  void adapt();
};

}  // namespace cohort::shard
