# Compiler settings shared by every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# Installed programs find libcohort beside them, and LibTorch, MPI and HDF5 where they were linked.
set(CMAKE_INSTALL_RPATH "$ORIGIN;$ORIGIN/../lib")
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# Release keeps line tables: a crash report without lines is worth little.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")

# The presets that people build from nothing compile three sources at a time (CMAKE_UNITY_BUILD): every translation unit
# with torch spends 3 s on templates that its headers leave pending. Three, so that a changed file is soon compiled again.
set(CMAKE_UNITY_BUILD_BATCH_SIZE 3)

# One flag set for libraries and programs alike, so that all of them share the precompiled torch header. Not for nvcc, which
# has flags of its own (cuda_language.cmake).
set(host_options -fPIC -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms of GCC 12 on std::string and fmt::join: gcc.gnu.org/bugzilla 105329 and 105762.
  list(APPEND host_options -Wno-restrict -Wno-stringop-overflow)
endif()
if(COHORT_WARNINGS_AS_ERRORS)
  list(APPEND host_options -Werror)
endif()
if(COHORT_SANITIZE)
  # Reports need line tables, not whole debug information, which takes longer to write than the code.
  list(APPEND host_options -fsanitize=${COHORT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g1)
  add_link_options(-fsanitize=${COHORT_SANITIZE})
endif()

find_program(COHORT_CCACHE ccache)
mark_as_advanced(COHORT_CCACHE)
if(COHORT_CCACHE)
  # The sloppiness lets ccache store and use precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${COHORT_CCACHE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND host_options -fpch-preprocess)
  endif()
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:${host_options}>")
# HDF5's and MPI's compiler wrappers name libraries that nothing calls: programs start faster without them.
add_link_options(LINKER:--as-needed)
find_program(COHORT_MOLD mold)
mark_as_advanced(COHORT_MOLD)
if(COHORT_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
