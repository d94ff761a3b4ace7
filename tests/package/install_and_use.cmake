# usage: cmake -DBUILD=… -DCONSUMER=… -DWORK=… -DCOMPILER=… -DBUILD_TYPE=… -DSHARE=… -P install_and_use.cmake
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE ${WORK})
set(prefix ${WORK}/prefix)

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "exit code ${status}: ${ARGN}\n${text}")
  endif()
  set(output "${text}" PARENT_SCOPE)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
foreach(program cohort cohort-data cohort-perf)
  run(${prefix}/bin/${program} --help)
endforeach()
run(${CMAKE_COMMAND} -S ${CONSUMER} -B ${WORK}/build -G Ninja -DCMAKE_PREFIX_PATH=${prefix}
  -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=${BUILD_TYPE})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer)
if(NOT output STREQUAL "did you mean 'optimizer.lr'?\n")
  message(FATAL_ERROR "unexpected output of the program that uses the package: ${output}")
endif()

foreach(file ${prefix}/share/man/man1/cohort.1 ${prefix}/share/man/man1/cohort-data-convert-images.1
    ${prefix}/share/bash-completion/completions/cohort ${prefix}/share/zsh/site-functions/_cohort-data
    ${prefix}/share/fish/vendor_completions.d/cohort-perf.fish)
  if(SHARE AND NOT EXISTS ${file})
    message(FATAL_ERROR "${file} was not installed")
  endif()
endforeach()
run(${CMAKE_COMMAND} --build ${BUILD} --target uninstall)
file(GLOB_RECURSE left ${prefix}/*)
if(left)
  message(FATAL_ERROR "uninstall left: ${left}")
endif()
