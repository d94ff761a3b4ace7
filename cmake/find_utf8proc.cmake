# utf8proc: properties of Unicode's characters. Gives cohort_utf8proc, for PRIVATE use.
find_path(COHORT_UTF8PROC_INCLUDE utf8proc.h)
find_library(COHORT_UTF8PROC_LIBRARY utf8proc)
if(NOT COHORT_UTF8PROC_INCLUDE OR NOT COHORT_UTF8PROC_LIBRARY)
  message(FATAL_ERROR "utf8proc was not found.\n"
    "  fix: install libutf8proc-dev (scripts/bootstrap.sh does), or add its prefix to CMAKE_PREFIX_PATH (docs/install.md)")
endif()
add_library(cohort_utf8proc INTERFACE)
target_include_directories(cohort_utf8proc SYSTEM INTERFACE ${COHORT_UTF8PROC_INCLUDE})
target_link_libraries(cohort_utf8proc INTERFACE ${COHORT_UTF8PROC_LIBRARY})
