# Parallel HDF5. Gives cohort_hdf5.
set(HDF5_PREFER_PARALLEL ON)
find_package(HDF5 REQUIRED COMPONENTS C)
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "HDF5 in ${HDF5_INCLUDE_DIRS} was built without MPI.\n"
    "  fix: install libhdf5-openmpi-dev, or load your cluster's parallel HDF5 module and set HDF5_ROOT")
endif()
add_library(cohort_hdf5 INTERFACE)
target_include_directories(cohort_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(cohort_hdf5 INTERFACE ${HDF5_LIBRARIES} MPI::MPI_CXX)
