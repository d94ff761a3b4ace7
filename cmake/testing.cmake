# Tests. A test program of a layer links that layer and the layers it may call, nothing else.

set(COHORT_TEST_ENVIRONMENT
  "OMP_NUM_THREADS=1" "OMPI_ALLOW_RUN_AS_ROOT=1" "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1" "OMPI_MCA_mpi_yield_when_idle=1"
  "OMPI_MCA_btl_vader_single_copy_mechanism=none" "OMPI_MCA_rmaps_base_oversubscribe=1" "OMPI_MCA_hwloc_base_binding_policy=none"
  # mpirun otherwise waits 2 s at the end of each job that fails, and most of the jobs in tests are to fail.
  "OMPI_MCA_odls_base_sigkill_timeout=0")
if(COHORT_SANITIZE)
  set(folder ${PROJECT_SOURCE_DIR}/tests/sanitizers)
  list(APPEND COHORT_TEST_ENVIRONMENT "UBSAN_OPTIONS=print_stacktrace=1"
    "LSAN_OPTIONS=suppressions=${folder}/leaks.txt:print_suppressions=0" "TSAN_OPTIONS=suppressions=${folder}/races.txt:print_suppressions=0")
  add_library(cohort_keep_loaded OBJECT ${folder}/keep_loaded.cpp)
  foreach(program cohort cohort-data cohort-perf)
    target_link_libraries(${program} PRIVATE cohort_keep_loaded)
  endforeach()
endif()

# Everything both kinds of test programs need. LAYER: one of the layers of src/.
function(cohort_test_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LAYER" "SOURCES;LIBRARIES")
  add_executable(${name} ${arg_SOURCES})
  get_target_property(layers cohort_${arg_LAYER} COHORT_ALL_LAYERS)
  foreach(layer IN LISTS layers)
    target_link_libraries(${name} PRIVATE cohort_${layer})
  endforeach()
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES} $<TARGET_NAME_IF_EXISTS:cohort_keep_loaded>)
  target_compile_definitions(${name} PRIVATE COHORT_TEST_DATA="${PROJECT_SOURCE_DIR}/tests")
endfunction()

# Sanitizers make programs several times slower.
function(cohort_stretch_timeout variable)
  if(COHORT_SANITIZE)
    math(EXPR seconds "5 * ${${variable}}")
    set(${variable} ${seconds} PARENT_SCOPE)
  endif()
endfunction()

# cohort_add_test(<name> LAYER <layer> SOURCES … [TIMEOUT s]): one process, no MPI.
function(cohort_add_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LAYER;TIMEOUT" "SOURCES;LIBRARIES")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  cohort_stretch_timeout(arg_TIMEOUT)
  cohort_test_program(${name} LAYER ${arg_LAYER} SOURCES ${arg_SOURCES} LIBRARIES GTest::gtest_main ${arg_LIBRARIES})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LAYER}" ENVIRONMENT "${COHORT_TEST_ENVIRONMENT}")
endfunction()

# Arguments for gtest that leave out the tests that need more than `ranks` ranks: pairs of a number and a gtest pattern.
function(cohort_tests_for_ranks result ranks)
  set(others "")
  while(ARGN)
    list(POP_FRONT ARGN least pattern)
    if(ranks LESS least)
      list(APPEND others ${pattern})
    endif()
  endwhile()
  list(JOIN others ":" others)
  if(others)
    set(others "--gtest_filter=-${others}")
  endif()
  set(${result} ${others} PARENT_SCOPE)
endfunction()

# cohort_add_mpi_test(<name> LAYER <layer> SOURCES … RANKS 1 2 3 4 [FROM_RANKS 2 "Suite.*" …] [TIMEOUT s]): one ctest entry for
# each rank count. FROM_RANKS: tests that mean something from so many ranks on; smaller entries do not run them.
function(cohort_add_mpi_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LAYER;TIMEOUT" "SOURCES;LIBRARIES;RANKS;FROM_RANKS")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  cohort_stretch_timeout(arg_TIMEOUT)
  cohort_test_program(${name} LAYER ${arg_LAYER} SOURCES ${arg_SOURCES} LIBRARIES cohort_mpi_test_main ${arg_LIBRARIES})
  foreach(ranks IN LISTS arg_RANKS)
    cohort_tests_for_ranks(filter ${ranks} ${arg_FROM_RANKS})
    add_test(NAME ${name}.np${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} $<TARGET_FILE:${name}> ${filter})
    set_tests_properties(${name}.np${ranks} PROPERTIES PROCESSORS ${ranks} TIMEOUT ${arg_TIMEOUT}
      LABELS "mpi;np${ranks};${arg_LAYER}" ENVIRONMENT "${COHORT_TEST_ENVIRONMENT}")
  endforeach()
endfunction()
