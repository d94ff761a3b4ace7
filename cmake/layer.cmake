# cohort_layer(<name> SOURCES … [LAYERS …] [LIBRARIES …] [TORCH])
# One layer of the library, as an object library. LAYERS: the layers it may call; a test of a layer links these alone, so
# that a forbidden call does not link. TORCH: its sources include torch headers, precompiled once for the whole project.
function(cohort_layer name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "SOURCES;LAYERS;LIBRARIES")
  set(target cohort_${name})
  add_library(${target} OBJECT ${arg_SOURCES})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} PUBLIC Threads::Threads fmt::fmt ${arg_LIBRARIES})
  foreach(layer IN LISTS arg_LAYERS)
    target_link_libraries(${target} PUBLIC cohort_${layer})
  endforeach()
  if(arg_TORCH)
    target_link_libraries(${target} PUBLIC cohort_torch)
    cohort_use_precompiled_torch(${target})
  endif()
  set_property(GLOBAL APPEND PROPERTY COHORT_LAYERS ${name})
  set_property(TARGET ${target} PROPERTY COHORT_ALL_LAYERS ${name} ${arg_LAYERS})
endfunction()

# The torch header takes about 30 s to parse; every target with the same flags uses one precompiled copy.
# torch/nn.h is not part of it: the templates it leaves pending would cost every file 5 s more.
function(cohort_precompile_torch target)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${target}.cpp "")
  add_library(${target} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${target}.cpp)
  target_link_libraries(${target} PUBLIC cohort_torch Threads::Threads)
  target_precompile_headers(${target} PRIVATE <torch/types.h> <torch/nn/module.h> <torch/autograd.h>)
  set(COHORT_TORCH_HEADER ${target} PARENT_SCOPE)
endfunction()

# The copy of the folder that the target belongs to.
function(cohort_use_precompiled_torch target)
  target_precompile_headers(${target} REUSE_FROM ${COHORT_TORCH_HEADER})
endfunction()
