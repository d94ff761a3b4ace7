#pragma once
// What a kernel computes stands in a header (…_body.h) as plain functions, which both compilers take: nvcc
// for the threads of a device, the host's for a replay, item by item, that a test compares with the code of
// the CPU. The .cu file beside it only says which thread does which item. docs/gpu.md lists the kernels.
#ifdef __CUDACC__
#define COHORT_DEVICE_CODE __device__ __forceinline__
#else
#define COHORT_DEVICE_CODE [[gnu::always_inline]] inline
#endif
