# LibTorch. Gives cohort_torch. The wheel's own find_package(Torch) insists on a CUDA toolkit and links libtorch_cuda,
# so that the CPU build names the libraries itself: libtorch_cpu and libc10, and nothing else, are loaded at start-up.
set(COHORT_LIBTORCH "" CACHE PATH "Folder with LibTorch's include/ and lib/ (default: .deps/, then Torch_DIR or CMAKE_PREFIX_PATH)")

set(candidates ${COHORT_LIBTORCH})
if(COHORT_CUDA)
  file(GLOB venv_torch ${PROJECT_SOURCE_DIR}/.deps/python/lib/python3*/site-packages/torch)
  list(APPEND candidates ${venv_torch})
else()
  list(APPEND candidates ${PROJECT_SOURCE_DIR}/.deps/libtorch)
endif()
list(APPEND candidates ${Torch_DIR}/../../.. ${CMAKE_PREFIX_PATH})

find_library(COHORT_C10_LIBRARY c10 PATHS ${candidates} PATH_SUFFIXES lib)
find_library(COHORT_TORCH_CPU_LIBRARY torch_cpu PATHS ${candidates} PATH_SUFFIXES lib)
find_path(COHORT_TORCH_INCLUDE ATen/core/Tensor.h PATHS ${candidates} PATH_SUFFIXES include)
if(NOT COHORT_C10_LIBRARY OR NOT COHORT_TORCH_CPU_LIBRARY OR NOT COHORT_TORCH_INCLUDE)
  message(FATAL_ERROR "LibTorch was not found.\n"
    "  fix: run scripts/bootstrap.sh, or set COHORT_LIBTORCH to a folder with include/ and lib/")
endif()

add_library(cohort_torch INTERFACE)
target_include_directories(cohort_torch SYSTEM INTERFACE
  ${COHORT_TORCH_INCLUDE} ${COHORT_TORCH_INCLUDE}/torch/csrc/api/include)
target_link_libraries(cohort_torch INTERFACE ${COHORT_TORCH_CPU_LIBRARY} ${COHORT_C10_LIBRARY})
