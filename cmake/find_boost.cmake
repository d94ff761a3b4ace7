# Boost: headers alone, in sources alone; nothing of it is loaded when programs run. Gives cohort_boost, for PRIVATE use.
set(CMAKE_POLICY_DEFAULT_CMP0167 NEW)  # by Boost's own configuration where CMake has no module of its own any more
find_package(Boost 1.74 QUIET)
if(NOT Boost_FOUND)
  message(FATAL_ERROR "Boost 1.74 or later was not found (its headers are enough).\n"
    "  fix: install libboost-dev (scripts/bootstrap.sh does), load your cluster's module, or set Boost_ROOT to its prefix (docs/install.md)")
endif()
message(STATUS "Boost: ${Boost_VERSION}, ${Boost_INCLUDE_DIRS}")
add_library(cohort_boost INTERFACE)
target_include_directories(cohort_boost SYSTEM INTERFACE ${Boost_INCLUDE_DIRS})
