#include "cohort/config/load.h"

#include "../config/example_options.h"
#include "fuzz.h"

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  const File file(content);
  config::ExampleOptions options;
  config::Fields fields(options);
  config::load(file.path(), fields);
}
