#include "data_prep/tar.h"

#include "fuzz.h"

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  const File file(content);
  data_prep::LeftOut left_out;
  for (const auto& entry : data_prep::read_tar(file.path(), left_out))
    (void)data_prep::read_tar_entry(file.path(), entry);
}
