# One library per room. The DEPENDS of a room are the only rooms whose headers it may include
# (tests/architecture_test.py checks the includes against these lines).

# ATen's headers take seconds to parse; they are precompiled once and reused by every target with the same flags, and once
# more with the headers of tests. Reading them back takes a second a file, too, so what only hands tensors on has a header of
# its own, and JSON, which few files need, is in the tests' alone.
# CLI11 is in none: its global validators would be compiled into every file, 3 s each.
function(outliers_precompiled target)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${target}.cpp CONTENT "// Holds a precompiled header.\n")
  add_library(${target} OBJECT ${CMAKE_BINARY_DIR}/${target}.cpp)
  target_link_libraries(${target} PUBLIC outliers_flags ${TORCH_LIBRARIES} fmt::fmt nlohmann_json::nlohmann_json)
  target_precompile_headers(${target} PRIVATE ${ARGN})
endfunction()
set(OUTLIERS_PLAIN_OPTIMISATION $<$<CONFIG:Release>:-O1>)
set(aten_headers <ATen/ATen.h> <ATen/Parallel.h> <fmt/format.h>)
outliers_precompiled(outliers_aten_pch ${aten_headers})
set(plain_headers <ATen/core/Tensor.h> <algorithm> <filesystem> <map> <string> <vector> <fmt/format.h>)
outliers_precompiled(outliers_plain_pch ${plain_headers})
target_compile_options(outliers_plain_pch PRIVATE ${OUTLIERS_PLAIN_OPTIMISATION})
set(OUTLIERS_TESTS_OPTIMISATION $<$<CONFIG:Release>:-O1>)
if(OUTLIERS_TESTS)
  outliers_precompiled(outliers_tests_pch ${aten_headers} <nlohmann/json.hpp> <gmock/gmock.h> <gtest/gtest.h>)
  target_link_libraries(outliers_tests_pch PUBLIC GTest::gmock)
  target_compile_options(outliers_tests_pch PRIVATE ${OUTLIERS_TESTS_OPTIMISATION})
endif()

# outliers_finds_modules(TARGET FOLDER): what stands in FOLDER of the build finds modules, which are loaded when they are
# needed; by a relative path, so that a build can be moved.
function(outliers_finds_modules target folder)
  file(RELATIVE_PATH modules ${folder} ${CMAKE_BINARY_DIR}/lib)
  set_property(TARGET ${target} APPEND PROPERTY BUILD_RPATH "$ORIGIN/${modules}")
endfunction()

# outliers_room(NAME [FAST] SOURCES ... [PLAIN ...] [DEPENDS rooms...] [LINK libraries...]). PLAIN: sources
# without arithmetic on tensors, which read and write one file a run: optimising them only costs minutes. FAST: a room that computes.
function(outliers_room name)
  cmake_parse_arguments(arg "FAST" "" "SOURCES;PLAIN;DEPENDS;LINK" ${ARGN})
  set(optimisation)
  if(arg_FAST)
    set(optimisation $<$<COMPILE_LANG_AND_ID:CXX,GNU,Clang>:-O3>)
  endif()
  add_library(outliers_${name} STATIC ${arg_SOURCES})
  add_library(outliers::${name} ALIAS outliers_${name})
  target_include_directories(outliers_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  list(TRANSFORM arg_DEPENDS PREPEND outliers::)
  target_link_libraries(outliers_${name} PUBLIC outliers_flags ${arg_DEPENDS} ${TORCH_LIBRARIES} fmt::fmt PRIVATE ${arg_LINK})
  target_compile_options(outliers_${name} PRIVATE ${optimisation})
  target_precompile_headers(outliers_${name} REUSE_FROM outliers_aten_pch)
  if(arg_PLAIN)
    add_library(outliers_${name}_plain OBJECT ${arg_PLAIN})
    target_include_directories(outliers_${name}_plain PRIVATE ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(outliers_${name}_plain PRIVATE outliers_flags ${arg_DEPENDS} ${TORCH_LIBRARIES} fmt::fmt ${arg_LINK})
    if(arg_FAST)
      target_compile_options(outliers_${name}_plain PRIVATE ${optimisation})
      target_precompile_headers(outliers_${name}_plain PRIVATE ${plain_headers})
    else()
      target_compile_options(outliers_${name}_plain PRIVATE ${OUTLIERS_PLAIN_OPTIMISATION})
      target_precompile_headers(outliers_${name}_plain REUSE_FROM outliers_plain_pch)
    endif()
    target_sources(outliers_${name} PRIVATE $<TARGET_OBJECTS:outliers_${name}_plain>)
  endif()
endfunction()

# What all programs of tests have in common.
function(outliers_test_target target)
  cmake_parse_arguments(arg "" "" "DEPENDS;LINK" ${ARGN})
  list(TRANSFORM arg_DEPENDS PREPEND outliers::)
  target_link_libraries(${target} PUBLIC ${arg_DEPENDS} outliers_flags ${TORCH_LIBRARIES} fmt::fmt nlohmann_json::nlohmann_json
    GTest::gmock ${arg_LINK})
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${target} PRIVATE OUTLIERS_TESTS_DIR="${PROJECT_SOURCE_DIR}/tests")
  target_precompile_headers(${target} REUSE_FROM outliers_tests_pch)
  target_compile_options(${target} PRIVATE ${OUTLIERS_TESTS_OPTIMISATION})
endfunction()

# Frames that are kept for use-after-return lie where AVX-512's aligned moves fault (seen with GCC 13.3).
set(OUTLIERS_SANITIZER_ENVIRONMENT
  "ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=0"
  "UBSAN_OPTIONS=print_stacktrace=1")

# outliers_test_library(NAME SOURCE [DEPENDS rooms...] [LINK libraries...]): what several tests share.
function(outliers_test_library target source)
  add_library(${target} STATIC ${source})
  outliers_test_target(${target} ${ARGN})
endfunction()

# outliers_test(FILE [DEPENDS rooms...] [LABELS labels...] [TIMEOUT seconds])
# One program per test file, one ctest entry named room.file; it runs in tests/ so that goldens have short paths.
function(outliers_test file)
  cmake_parse_arguments(arg "" "TIMEOUT" "DEPENDS;LABELS;LINK" ${ARGN})
  cmake_path(GET file STEM stem)
  cmake_path(GET CMAKE_CURRENT_SOURCE_DIR FILENAME room)
  set(target ${room}_${stem})
  add_executable(${target} ${file})
  outliers_finds_modules(${target} ${CMAKE_CURRENT_BINARY_DIR})
  outliers_test_target(${target} DEPENDS ${arg_DEPENDS} LINK outliers_tests_main ${arg_LINK})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_test(NAME ${room}.${stem} COMMAND ${target} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}/tests)
  set_tests_properties(${room}.${stem} PROPERTIES LABELS "${room};${arg_LABELS}" TIMEOUT ${arg_TIMEOUT}
    SKIP_RETURN_CODE 77
    ENVIRONMENT "${OUTLIERS_SANITIZER_ENVIRONMENT}")
endfunction()
