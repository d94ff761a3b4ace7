#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cohort/config/field.h"

namespace cohort::config {

enum class Colour { red, green };

inline std::span<const EnumName<Colour>> enum_names(Colour) {
  static constexpr std::array kNames{EnumName<Colour>{Colour::red, "red"},
                                     EnumName<Colour>{Colour::green, "green"}};
  return kNames;
}

struct LoaderOptions {
  Bytes cache{64U << 20};
  std::chrono::seconds timeout{600};

  template <class Visit>
  void fields(Visit& visit) {
    visit("cache", cache, "memory for blocks", Range<std::int64_t>{1024, INT64_MAX});
    visit("timeout", timeout, "longest wait", Range<std::int64_t>{1, 86400});
  }
};

struct DataOptions {
  std::filesystem::path path;
  LoaderOptions loader;
  std::vector<std::string> contexts{"module"};

  template <class Visit>
  void fields(Visit& visit) {
    visit("path", path, "folder of the dataset");
    visit.section("loader", loader, "reading ahead");
    visit("contexts", contexts, "keys that group images | in order");
  }
};

struct OptimizerOptions {
  double lr = 5e-4;
  std::vector<double> betas{0.9, 0.999};
  std::int64_t warmup = 0;

  template <class Visit>
  void fields(Visit& visit) {
    visit("lr", lr, "peak learning rate", Range{0.0, 10.0});
    visit("betas", betas, "decay of the moments", Range{0.0, 1.0});
    visit("warmup", warmup, "steps of linear increase", Range<std::int64_t>{0, INT64_MAX});
  }
};

/// One option of every type that a configuration may hold.
struct ExampleOptions {
  std::string name = "vit";
  std::uint64_t seed = 1;
  int depth = 6;
  bool reproducible = false;
  Colour colour = Colour::red;
  std::vector<std::int64_t> image_size;
  DataOptions data;
  OptimizerOptions optimizer;

  template <class Visit>
  void fields(Visit& visit) {
    visit("name", name, "what the run is called");
    visit("seed", seed, "key of every random number");
    visit("depth", depth, "number of blocks", Range{1, 48});
    visit("reproducible", reproducible, "equal bits on any number of ranks");
    visit("colour", colour, "of the curve");
    visit("image_size", image_size, "height and width");
    visit.section("data", data, "what is learnt from");
    visit.section("optimizer", optimizer, "how weights move");
  }
};

}  // namespace cohort::config
