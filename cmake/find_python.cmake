# The interpreter of the Python tests: COHORT_PYTHON, or the environment of scripts/bootstrap.sh --python.
if(DEFINED ENV{COHORT_DEPS})
  set(deps $ENV{COHORT_DEPS})
else()
  set(deps ${PROJECT_SOURCE_DIR}/.deps)
endif()
set(COHORT_PYTHON ${deps}/python/bin/python CACHE FILEPATH "Python with torch, timm, h5py, numpy and safetensors, for the tests")
if(NOT EXISTS ${COHORT_PYTHON})
  message(FATAL_ERROR "${COHORT_PYTHON} was not found: the tests compare with h5py and timm.\n"
    "  fix: run scripts/bootstrap.sh --python, or set COHORT_PYTHON; -DCOHORT_PYTHON_TESTS=OFF leaves these tests out")
endif()
