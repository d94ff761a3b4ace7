#include "data_prep/npz.h"

#include "fuzz.h"

void cohort::fuzz::read(std::span<const std::uint8_t> content) {
  const File file(content);
  const data_prep::Npz npz(file.path());
  for (const char* name : {"x", "labels"}) {
    const data_prep::LargeArray array = npz.large_array(name);
    if (array.facts().shape.size() != 1) continue;
    data_prep::check_texts(array.facts());
    for (std::int64_t i = 0; i < array.facts().shape.front(); ++i) data_prep::text_of(array, i);
  }
}
