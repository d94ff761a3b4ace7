#include "comm/mpi_values.h"

#include <algorithm>
#include <iterator>

namespace cohort::comm::mpi {

MPI_Op mpi_op(Reduce op) {
  switch (op) {
    case Reduce::sum:
      return MPI_SUM;
    case Reduce::max:
      return MPI_MAX;
    case Reduce::min:
      return MPI_MIN;
  }
  return MPI_OP_NULL;
}

const Dtype* find_dtype(at::ScalarType type) {
  static const Dtype known[] = {{at::kFloat, MPI_FLOAT, "f32"},        {at::kDouble, MPI_DOUBLE, "f64"},
                                {at::kBFloat16, MPI_UINT16_T, "bf16"}, {at::kInt, MPI_INT32_T, "i32"},
                                {at::kLong, MPI_INT64_T, "i64"},       {at::kByte, MPI_UINT8_T, "u8"}};
  const auto* found =
      std::find_if(std::begin(known), std::end(known), [type](const Dtype& d) { return d.torch == type; });
  return found == std::end(known) ? nullptr : found;
}

MPI_Datatype mpi_type(const at::Tensor& tensor) {
  return find_dtype(tensor.scalar_type())->mpi;
}
int count(const at::Tensor& tensor) {
  return static_cast<int>(tensor.numel());
}

}  // namespace cohort::comm::mpi
