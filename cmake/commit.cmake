# usage: cmake -DROOT=<folder of the project> -DHEADER=<file> -P commit.cmake
# Writes the commit that is built into a header, which changes only when the commit does.
set(commit "unknown")
find_program(git git)
if(git AND EXISTS ${ROOT}/.git)
  execute_process(COMMAND ${git} describe --always --dirty --abbrev=12 --match=no-tag WORKING_DIRECTORY ${ROOT}
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  if(NOT commit)  # git refuses folders of other users
    set(commit "unknown")
  endif()
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "inline constexpr const char* kCommit = \"${commit}\";\n")
