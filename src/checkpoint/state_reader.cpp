#include <algorithm>
#include <span>

#include <ATen/ops/from_blob.h>
#include <c10/util/StringUtil.h>

#include "cohort/core/checksum.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"

#include "state_file.h"
#include "transfer.h"

namespace cohort::checkpoint {
namespace {

// Parts of reads: small enough to be checked while they are in the processor's caches. In order, so that the
// system reads ahead, which it does in larger pieces by itself than when it is told to (POSIX_FADV_WILLNEED).
constexpr std::int64_t kReadValues = std::int64_t{1} << 18;

const SavedTensor& find_tensor(const Catalogue& catalogue, const Slice& slice,
                               const std::filesystem::path& file) {
  const auto found = catalogue.find(slice.name);
  if (found == catalogue.end()) {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : catalogue) names.push_back(name);
    throw DataError({fmt::format("the checkpoint has no tensor '{}'", slice.name), file.string(),
                     did_you_mean(slice.name, names)});
  }
  if (found->second.shape != slice.shape) {
    throw DataError(
        {fmt::format("tensor '{}' has the shape {} in the checkpoint, the model needs {}", slice.name,
                     c10::str(at::IntArrayRef(found->second.shape)), c10::str(at::IntArrayRef(slice.shape))),
         file.string(), "resume with the model configuration of the checkpoint, or start a new run"});
  }
  return found->second;
}

}  // namespace

StateReader::StateReader(const std::filesystem::path& file, const Contents& contents)
    : path_(file), contents_(&contents), buffer_(kReadValues) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(file, error);
  if (error) throw Damaged("the checkpoint has no readable state.h5: " + error.message(), file.string());
  if (bytes != contents.file_bytes) {
    throw Damaged(fmt::format("state.h5 has {} bytes, {} were saved", bytes, contents.file_bytes),
                  file.string());
  }
  try {
    const hdf5::Lock lock;
    file_ = hdf5::open_file(file);
  } catch (const DataError& failure) {
    throw Damaged("state.h5 cannot be opened: " + failure.text().what, file.string());
  }
}

StateReader::~StateReader() {
  const hdf5::Lock lock;
  file_.reset();
}

// What HDF5 cannot read of a tensor is damaged.
template <class Action>
void StateReader::as_damage(const std::string& name, Action&& action) const {
  try {
    action();
  } catch (const DataError& failure) {
    throw Damaged(fmt::format("tensor '{}' is damaged: {}", name, failure.text().what), path_.string(),
                  failure.text().fix);
  }
}

template <class Action>
void StateReader::for_each_saved(const Slice& slice, Action&& action) {
  const SavedTensor& tensor = find_tensor(contents_->tensors, slice, path_);
  const std::int64_t end = slice.begin + slice.values.numel();
  COHORT_CHECK(slice.begin >= 0 && end <= value_count(slice.shape), "a slice [{}, {}) of tensor '{}'",
               slice.begin, end, slice.name);
  for (const SavedSlice& saved : tensor.slices) {
    if (saved.begin < end && slice.begin < saved.begin + saved.count) action(tensor, saved);
  }
}

template <class Place, class Use>
void StateReader::in_parts(const std::string& name, const SavedTensor& tensor, const SavedSlice& saved,
                           Place&& place, Use&& use) {
  const hdf5::Lock lock;
  const hdf5::Dataset dataset = open(name, tensor);
  Checksum sum;
  for (std::int64_t done = 0; done < saved.count; done += kReadValues) {
    const std::span<float> part = place(done, std::min(kReadValues, saved.count - done));
    read_values(dataset, name, tensor, saved.begin + done, part);
    sum.update(std::as_bytes(part));
    use(done, part);
  }
  if (sum.value() != saved.checksum) {
    throw Damaged(fmt::format("tensor '{}' is damaged: values {} to {} do not match their checksum", name,
                              saved.begin, saved.begin + saved.count - 1),
                  path_.string());
  }
}

hdf5::Dataset StateReader::open(const std::string& name, const SavedTensor& tensor) const {
  hdf5::Dataset dataset;
  bool is_own = false, is_same = false;
  as_damage(name, [&] {
    is_own = hdf5::is_contiguous(file_.get(), name, path_.string());
    if (!is_own) return;
    dataset = hdf5::open_dataset(file_.get(), name, path_.string());
    is_same = hdf5::shape_of(dataset, path_.string()) == tensor.shape;
  });
  if (!is_own)
    throw Damaged(fmt::format("tensor '{}' is damaged: it is not stored in state.h5 itself", name),
                  path_.string());
  if (!is_same) throw Damaged(fmt::format("tensor '{}' is damaged: its shape changed", name), path_.string());
  return dataset;
}

void StateReader::read_values(const hdf5::Dataset& dataset, const std::string& name,
                              const SavedTensor& tensor, std::int64_t begin, std::span<float> values) const {
  as_damage(name, [&] {
    in_boxes(tensor.shape, begin, static_cast<std::int64_t>(values.size()), path_.string(),
             [&](hid_t memory, hid_t selected, std::int64_t offset) {
               hdf5::check_hdf5(H5Dread(dataset.get(), H5T_NATIVE_FLOAT, memory, selected, H5P_DEFAULT,
                                        values.data() + offset),
                                "H5Dread", path_.string());
             });
  });
}

void StateReader::visit(const std::string& name, const SavedTensor& tensor, const SavedSlice& saved,
                        const Visit& visit) {
  in_parts(
      name, tensor, saved,
      [&](std::int64_t, std::int64_t count) {
        return std::span(buffer_).first(static_cast<std::size_t>(count));
      },
      visit);
}

void StateReader::check(const Slice& slice) {
  for_each_saved(slice, [&](const SavedTensor& tensor, const SavedSlice& saved) {
    visit(slice.name, tensor, saved, [](std::int64_t, std::span<const float>) {});
  });
}

void StateReader::read(const Slice& slice) {
  const std::int64_t end = slice.begin + slice.values.numel();
  for_each_saved(slice, [&](const SavedTensor& tensor, const SavedSlice& saved) {
    const bool is_inside = saved.begin >= slice.begin && saved.begin + saved.count <= end;
    if (is_inside && slice.values.is_cpu() && slice.values.is_contiguous()) {
      read_in_place(slice, tensor, saved);
    } else {
      read_overlap(slice, tensor, saved);
    }
  });
}

void StateReader::read_in_place(const Slice& slice, const SavedTensor& tensor, const SavedSlice& saved) {
  float* const first = slice.values.data_ptr<float>() + (saved.begin - slice.begin);
  in_parts(
      slice.name, tensor, saved,
      [&](std::int64_t offset, std::int64_t count) {
        return std::span(first + offset, static_cast<std::size_t>(count));
      },
      [](std::int64_t, std::span<const float>) {});
}

void StateReader::read_overlap(const Slice& slice, const SavedTensor& tensor, const SavedSlice& saved) {
  const std::int64_t end = slice.begin + slice.values.numel();
  visit(slice.name, tensor, saved, [&](std::int64_t offset, std::span<const float> values) {
    const std::int64_t from = saved.begin + offset, to = from + static_cast<std::int64_t>(values.size());
    const std::int64_t first = std::max(slice.begin, from), last = std::min(end, to);
    if (first >= last) return;
    const at::Tensor source =
        at::from_blob(const_cast<float*>(values.data()) + (first - from), {last - first}, at::kFloat);
    slice.values.narrow(0, first - slice.begin, last - first).copy_(source);
  });
}

}  // namespace cohort::checkpoint
