# ICU: properties, normalisation and letters of Unicode's characters, and where sentences end. Gives cohort_icu, for PRIVATE use.
find_package(ICU 70 QUIET COMPONENTS uc data)
if(NOT ICU_FOUND)
  message(FATAL_ERROR "ICU 70 or later was not found (the libraries icuuc and icudata).\n"
    "  fix: install libicu-dev (scripts/bootstrap.sh does), or set ICU_ROOT to its prefix (docs/install.md)")
endif()
message(STATUS "ICU: ${ICU_VERSION}")
add_library(cohort_icu INTERFACE)
target_link_libraries(cohort_icu INTERFACE ICU::uc ICU::data)
