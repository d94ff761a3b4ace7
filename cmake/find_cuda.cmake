# The CUDA runtime and NCCL, from the packages beside PyTorch (site-packages/nvidia/…) or from a toolkit and the system.
# Gives cohort_cuda and cohort_nccl. No compiler for device code is needed.
get_filename_component(site_packages ${COHORT_LIBTORCH_FOUND} DIRECTORY)
file(GLOB cuda_candidates ${site_packages}/nvidia/cu1[0-9] ${site_packages}/nvidia/cuda_runtime)
list(APPEND cuda_candidates $ENV{CUDA_HOME} ${CUDAToolkit_ROOT} /usr/local/cuda)
set(nccl_candidates ${site_packages}/nvidia/nccl $ENV{NCCL_HOME} ${NCCL_ROOT} /usr)

# cohort_find_cuda(<target> <header> <library> <folders>): wheels carry libraries with a version in the name only.
function(cohort_find_cuda target header library)
  find_path(found_include ${header} PATHS ${ARGN} PATH_SUFFIXES include NO_DEFAULT_PATH NO_CACHE)
  find_library(found_library NAMES_PER_DIR NAMES ${library} lib${library}.so.13 lib${library}.so.12 lib${library}.so.2 PATHS ${ARGN}
    PATH_SUFFIXES lib lib64 lib/x86_64-linux-gnu NO_DEFAULT_PATH NO_CACHE)
  if(NOT found_include OR NOT found_library)
    message(FATAL_ERROR "${header} and lib${library} were not found in: ${ARGN}\n"
      "  fix: run scripts/bootstrap.sh --cuda, or set CUDA_HOME and NCCL_HOME (docs/install.md)")
  endif()
  message(STATUS "${library}: ${found_library}")
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} SYSTEM INTERFACE ${found_include})
  target_link_libraries(${target} INTERFACE ${found_library})
endfunction()

cohort_find_cuda(cohort_cuda cuda_runtime_api.h cudart ${cuda_candidates})
cohort_find_cuda(cohort_nccl nccl.h nccl ${nccl_candidates})
