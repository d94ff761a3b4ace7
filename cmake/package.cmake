# `cmake --install`: the programs, libcohort and the library of the program cohort, their headers, and the files behind find_package(cohort).
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/cohort)

install(TARGETS libcohort cohort_program EXPORT cohort LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS cohort cohort-data cohort-perf RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# Manual pages and completion, written by the programs themselves. Not with sanitizers, under which a program ends differently.
if(NOT COHORT_SANITIZE)
  set(share ${PROJECT_BINARY_DIR}/share)
  foreach(program cohort cohort-data cohort-perf)
    add_custom_command(OUTPUT ${share}/${program}.written DEPENDS ${program}
      COMMAND ${program} docs share ${share} COMMAND ${CMAKE_COMMAND} -E touch ${share}/${program}.written)
    list(APPEND written ${share}/${program}.written)
  endforeach()
  add_custom_target(cohort_share ALL DEPENDS ${written})
  install(DIRECTORY ${share}/ DESTINATION ${CMAKE_INSTALL_DATADIR} PATTERN "*.written" EXCLUDE
    REGEX "/share/cohort$" EXCLUDE)  # a link to the recipes, which are installed themselves
endif()

add_custom_target(uninstall COMMAND ${CMAKE_COMMAND} -DMANIFEST=${PROJECT_BINARY_DIR}/install_manifest.txt
  -P ${PROJECT_SOURCE_DIR}/cmake/uninstall.cmake)

install(DIRECTORY include/cohort DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(DIRECTORY configs slurm DESTINATION ${CMAKE_INSTALL_DATADIR}/cohort)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/cohort)

configure_package_config_file(cmake/cohortConfig.cmake.in ${PROJECT_BINARY_DIR}/cohortConfig.cmake
  INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cohortConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cohortConfig.cmake ${PROJECT_BINARY_DIR}/cohortConfigVersion.cmake
  cmake/find_libtorch.cmake cmake/find_cuda.cmake DESTINATION ${package_folder})
install(EXPORT cohort NAMESPACE cohort:: DESTINATION ${package_folder} FILE cohortTargets.cmake)
