#pragma once
#include <cstdint>

#include "cohort/config/field.h"

namespace cohort::data {

struct LoaderConfig {
  std::int64_t threads = 1;
  std::int64_t prefetch = 2;
  config::Bytes prefetch_bytes{std::uint64_t{1} << 30};

  template <class Visit>
  void fields(Visit& visit) {
    visit("threads", threads,
          "threads of each rank that read images and make views beside training; more where data_wait is not "
          "near 0; 0: the thread that trains makes each batch when it needs it, the same one",
          config::Range<std::int64_t>{0, 1024});
    visit("prefetch", prefetch, "batches made ahead of the one in use", config::Range<std::int64_t>{1, 64});
    visit("prefetch_bytes", prefetch_bytes,
          "memory of a rank for them; one is made ahead even if it is larger, besides the one being made",
          config::Range<std::uint64_t>{1 << 20, std::uint64_t{1} << 50});
  }
};

}  // namespace cohort::data
