#pragma once
#include <ATen/core/Tensor.h>

#include "cohort/comm/communicator.h"

#include "comm/mpi_call.h"

// Tensors as MPI sees them.
namespace cohort::comm::mpi {

struct Dtype {
  at::ScalarType torch;
  MPI_Datatype mpi;
  const char* name;  ///< "f32"
};

/// Null for a dtype that MPI does not carry.
const Dtype* find_dtype(at::ScalarType type);
/// Of a dtype that MPI carries.
MPI_Datatype mpi_type(const at::Tensor& tensor);
/// Elements, of a tensor that check_tensor accepted.
int count(const at::Tensor& tensor);
MPI_Op mpi_op(Reduce op);

}  // namespace cohort::comm::mpi
