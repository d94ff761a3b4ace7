#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "catalogue.h"
#include "hyperslab.h"
#include "support/hdf5.h"

// How a range of values of a dataset is told to HDF5.
namespace cohort::checkpoint {

/// A box is contiguous in the file: HDF5 moves it in one piece.
inline hdf5::Space select(const std::vector<std::int64_t>& shape, const Box& box, const std::string& where) {
  hdf5::Space space = hdf5::make_space(shape, where);
  if (shape.empty()) return space;
  const std::vector<hsize_t> start(box.start.begin(), box.start.end()),
      size(box.count.begin(), box.count.end());
  hdf5::check_hdf5(
      H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr),
      "H5Sselect_hyperslab", where);
  return space;
}

/// The values [begin, begin+count) of a dataset as transfers: transfer(memory space, file space, offset).
template <class Transfer>
void in_boxes(const std::vector<std::int64_t>& shape, std::int64_t begin, std::int64_t count,
              const std::string& where, Transfer&& transfer) {
  const std::vector<Box> boxes = shape.empty() ? std::vector<Box>(1) : boxes_of_range(shape, begin, count);
  std::int64_t done = 0;
  for (const Box& box : boxes) {
    const std::int64_t size = value_count(box.count);
    const hdf5::Space memory = hdf5::make_space(std::span(&size, 1), where);
    const hdf5::Space selected = select(shape, box, where);
    transfer(memory.get(), selected.get(), done);
    done += size;
  }
}

}  // namespace cohort::checkpoint
