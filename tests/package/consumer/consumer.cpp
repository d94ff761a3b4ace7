#include <cstdio>
#include <string>
#include <vector>

#include "cohort/core/error.h"
#include "cohort/core/text.h"

int main() {
  const std::vector<std::string> keys{"optimizer.lr", "train.epochs"};
  const cohort::UsageError error(
      {"unknown key 'optimiser.lr'", "", cohort::did_you_mean("optimiser.lr", keys)});
  std::printf("%s\n", error.text().fix.c_str());
}
