# Every third-party library, once. Our own targets: cohort_backtrace, cohort_boost, cohort_torch, cohort_hdf5, cohort_icu, cohort_xxhash, cohort_zstd, cohort_arrow, those of find_readers.cmake, and with CUDA cohort_cuda and cohort_nccl.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
include(find_boost)
include(find_backtrace)
include(find_icu)
set(MPI_CXX_SKIP_MPICXX ON)  # the C++ bindings that MPI 3 removed
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
find_package(TIFF REQUIRED)
find_package(ZLIB REQUIRED)

find_path(COHORT_XXHASH_INCLUDE xxhash.h REQUIRED)
find_library(COHORT_XXHASH_LIBRARY xxhash REQUIRED)
add_library(cohort_xxhash INTERFACE)
target_include_directories(cohort_xxhash SYSTEM INTERFACE ${COHORT_XXHASH_INCLUDE})
target_link_libraries(cohort_xxhash INTERFACE ${COHORT_XXHASH_LIBRARY})

find_path(COHORT_ZSTD_INCLUDE zstd.h REQUIRED)
find_library(COHORT_ZSTD_LIBRARY zstd REQUIRED)
add_library(cohort_zstd INTERFACE)
target_include_directories(cohort_zstd SYSTEM INTERFACE ${COHORT_ZSTD_INCLUDE})
target_link_libraries(cohort_zstd INTERFACE ${COHORT_ZSTD_LIBRARY})

include(find_hdf5)
include(find_libtorch)
include(find_arrow)
include(find_readers)

# Installed programs find LibTorch where it was linked. CMake adds such folders itself, but none below the project's.
list(APPEND CMAKE_INSTALL_RPATH ${COHORT_LIBTORCH_FOUND}/lib ${COHORT_ARROW_LIBRARIES})
