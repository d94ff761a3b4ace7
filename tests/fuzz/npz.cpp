#include "data_prep/npz.h"

#include "fuzz.h"

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  const File file(content);
  const data_prep::Npz npz(file.path());
  for (const char* name : {"x", "labels"}) {
    const data_prep::Array array = npz.array(name);
    if (array.shape.size() == 1) data_prep::texts(array);
  }
}
