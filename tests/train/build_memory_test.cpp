// A model that is built without values never holds all of them, although freed memory is kept.
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "cohort/core/memory.h"
#include "cohort/nn/vit.h"

namespace cohort::train {
namespace {

// Memory of this process that is no file's, as the system counts it.
double resident_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stod(line.substr(8)) / 1024.0;
  }
  return 0.0;
}

TEST(BuildMemory, AModelWithoutValuesHasNoMemory) {
  keep_freed_memory();
  const nn::VitShape shape = nn::vit_shape(
      {.name = "vit_tiny", .patch_size = 16, .width = 512, .depth = 16, .heads = 8}, {}, {}, 3, 32, 32, 2);
  const double before = resident_mib();

  const nn::VisionTransformer model(shape);

  double whole = 0.0;
  for (const auto& parameter : model.parameters())
    whole += 4.0 * static_cast<double>(parameter.numel()) / (1 << 20);
  EXPECT_GT(whole, 190.0);
  // A block has 12 MiB.
  EXPECT_LT(resident_mib() - before, 30.0);
}

}  // namespace
}  // namespace cohort::train
