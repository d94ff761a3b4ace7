# The language CUDA, for our own kernels (docs/gpu.md). nvcc: CUDACXX or CMAKE_CUDA_COMPILER, else in PATH, CUDA_HOME, from
# scripts/bootstrap.sh --cuda, or in the usual place. Not part of the installed package: who uses the library needs no nvcc.
if(DEFINED ENV{COHORT_DEPS})
  set(deps $ENV{COHORT_DEPS})
else()
  set(deps ${PROJECT_SOURCE_DIR}/.deps)
endif()
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(nvcc nvcc PATHS $ENV{CUDA_HOME}/bin ${deps}/cuda/bin /usr/local/cuda/bin NO_CACHE)
  if(NOT nvcc)
    message(FATAL_ERROR "nvcc was not found in: PATH, CUDA_HOME, ${deps}/cuda, /usr/local/cuda\n"
      "  fix: run scripts/bootstrap.sh --cuda, or set CUDA_HOME to a CUDA toolkit (docs/install.md)")
  endif()
  set(CMAKE_CUDA_COMPILER ${nvcc})
endif()
# Ampere, Hopper and Blackwell, and of the newest the portable form, which drivers translate for what comes after.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES "80-real;90-real;100" CACHE STRING "What kernels are compiled for")
endif()
set(CMAKE_CUDA_STANDARD 17)  # CMake 3.25 knows no newer one of nvcc
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
enable_language(CUDA)
set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # the one that LibTorch has loaded: cohort_cuda
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 --generate-line-info")

# Kernels round as the same code does on the CPU: no fused multiply-add, exact division, denormal numbers kept.
set(cuda_options --expt-relaxed-constexpr -fmad=false -prec-div=true -prec-sqrt=true -ftz=false -Xcompiler=-fPIC,-Wall,-Wextra,-Wshadow)
if(COHORT_WARNINGS_AS_ERRORS)
  list(APPEND cuda_options -Werror=all-warnings)
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:${cuda_options}>")
