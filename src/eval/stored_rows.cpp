#include "cohort/eval/stored_rows.h"

#include <algorithm>
#include <optional>
#include <span>

#include <ATen/ATen.h>

#include "cohort/core/error.h"

#include "eval/temporary_file.h"

namespace cohort::eval {
namespace {

constexpr std::int64_t kValueBytes = 4, kMostReduced = std::int64_t{1} << 22;

/// Calls use(i, n) for each stretch of n rows from number i on that follow each other.
template <class Use>
void for_stretches(const at::Tensor& rows, const Use& use) {
  const auto* const row = rows.const_data_ptr<std::int64_t>();
  const std::int64_t count = rows.numel();
  for (std::int64_t begin = 0, end = 0; begin < count; begin = end) {
    for (end = begin + 1; end < count && row[end] == row[end - 1] + 1;) ++end;
    use(begin, end - begin);
  }
}

}  // namespace

struct StoredRows::Impl {
  std::int64_t rows, width;
  comm::Communicator& ranks;
  at::ScalarType type;
  std::optional<TemporaryFile> file;  // none before this rank writes a row

  [[nodiscard]] std::uint64_t bytes_of(std::int64_t count) const {
    return static_cast<std::uint64_t>(count * width * kValueBytes);
  }
  /// Collective. Some rows at a time: an all-reduce takes 2³¹ - 1 values at most.
  void reduce(const at::Tensor& values) const {
    const std::int64_t rows_at_once = std::max(kMostReduced / width, std::int64_t{1});
    for (const at::Tensor& part : values.split(rows_at_once)) ranks.all_reduce(part).wait();
  }
  /// Collective. `read(values)`: this rank's rows, which are 0 in `values` [count, width] i32. Since each row
  /// is on one rank, sums of whole numbers have its bits.
  template <class Read>
  [[nodiscard]] at::Tensor together(std::int64_t count, const Read& read) const {
    at::Tensor values = at::zeros({count, width}, at::kInt);
    comm::together(ranks, [&] {
      if (file) read(static_cast<std::byte*>(values.mutable_data_ptr()));
    });
    reduce(values);
    return values.view(type);
  }
};

StoredRows::StoredRows(std::int64_t rows, std::int64_t width, comm::Communicator& ranks, at::ScalarType type)
    : impl_(std::make_unique<Impl>(Impl{rows, width, ranks, type, {}})) {}
StoredRows::StoredRows(StoredRows&&) noexcept = default;
StoredRows& StoredRows::operator=(StoredRows&&) noexcept = default;
StoredRows::~StoredRows() = default;

std::int64_t StoredRows::rows() const noexcept {
  return impl_->rows;
}

std::int64_t StoredRows::width() const noexcept {
  return impl_->width;
}

void StoredRows::write(const at::Tensor& rows, const at::Tensor& values) {
  COHORT_CHECK(values.dim() == 2 && values.size(0) == rows.numel() && values.size(1) == impl_->width &&
                   values.scalar_type() == impl_->type,
               "{} rows to store", rows.numel());
  if (!impl_->file) {
    impl_->file.emplace("features");
    impl_->file->resize(impl_->bytes_of(impl_->rows));
  }
  const at::Tensor plain = values.contiguous();
  const auto* const bytes = static_cast<const std::byte*>(plain.const_data_ptr());
  const auto* const row = rows.const_data_ptr<std::int64_t>();
  for_stretches(rows, [&](std::int64_t begin, std::int64_t count) {
    impl_->file->write(impl_->bytes_of(row[begin]), {bytes + impl_->bytes_of(begin), impl_->bytes_of(count)});
  });
}

at::Tensor StoredRows::block(std::int64_t first, std::int64_t count) const {
  return impl_->together(count, [&](std::byte* out) {
    impl_->file->read(impl_->bytes_of(first), {out, impl_->bytes_of(count)});
  });
}

at::Tensor StoredRows::gather(const at::Tensor& rows) const {
  return impl_->together(rows.numel(), [&](std::byte* out) {
    const auto* const row = rows.const_data_ptr<std::int64_t>();
    for_stretches(rows, [&](std::int64_t begin, std::int64_t count) {
      impl_->file->read(impl_->bytes_of(row[begin]), {out + impl_->bytes_of(begin), impl_->bytes_of(count)});
    });
  });
}

void StoredRows::share_out(const std::function<void(std::int64_t first, const at::Tensor& rows)>& use) const {
  constexpr std::int64_t kBlock = 8192;
  comm::Communicator& ranks = impl_->ranks;
  for (std::int64_t first = 0; first < impl_->rows; first += kBlock) {
    const at::Tensor values = block(first, std::min(kBlock, impl_->rows - first));
    comm::together(ranks, [&] {
      if (first / kBlock % ranks.size() == ranks.rank()) use(first, values);
    });
  }
}

}  // namespace cohort::eval
