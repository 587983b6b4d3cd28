# Language level, warnings, sanitizers, linker and compiler cache: everything that holds for all targets.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set_property(GLOBAL PROPERTY USE_FOLDERS ON)
# The rooms that compute have -O3 (FAST in Rooms.cmake); elsewhere it only costs minutes of compiling.
string(REPLACE "-O3" "-O2" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
if(OUTLIERS_ASSERT)
  string(REPLACE "-DNDEBUG" "" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")
  string(REPLACE "-DNDEBUG" "" CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_CXX_FLAGS_RELWITHDEBINFO}")
endif()

# Flags live in one interface target; every room and test links it, so a precompiled header can be shared.
add_library(outliers_flags INTERFACE)
target_compile_options(outliers_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Werror>)
# One kind of objects for programs and for the shared library, so that the precompiled headers serve both; what the library
# shows is marked OUTLIERS_API.
target_compile_options(outliers_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-fPIC -fvisibility=hidden -fvisibility-inlines-hidden>)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # GCC 12 and 13 see overflows in std::string's operator+ and insert that are not there (GCC bug 105651).
  target_compile_options(outliers_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds>)
endif()
if(OUTLIERS_MARCH)
  target_compile_options(outliers_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=${OUTLIERS_MARCH}>)
endif()
if(OUTLIERS_SANITIZE)
  target_compile_options(outliers_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${OUTLIERS_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all>)
  # The sanitizer's dlopen stands between: of its callers only a program's DT_RPATH is searched then, not DT_RUNPATH.
  target_link_options(outliers_flags INTERFACE -fsanitize=${OUTLIERS_SANITIZE} LINKER:--disable-new-dtags)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # GCC 13 finds it in std::regex's own std::function once it is instrumented.
    target_compile_options(outliers_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>)
  endif()
endif()

if(OUTLIERS_FUZZ)
  target_compile_options(outliers_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>)
endif()

# Before 2.4 mold counts .tbss into RELRO; now and then, by the sizes of sections, that makes a program that the dynamic
# loader refuses (rui314/mold#1151).
find_program(OUTLIERS_MOLD mold)
if(OUTLIERS_MOLD AND NOT OUTLIERS_SANITIZE)
  execute_process(COMMAND ${OUTLIERS_MOLD} --version OUTPUT_VARIABLE mold_version)
  if(mold_version MATCHES "mold ([0-9.]+)" AND CMAKE_MATCH_1 VERSION_GREATER_EQUAL 2.4)
    add_link_options(-fuse-ld=mold)
  endif()
endif()
# LibTorch's libraries export std::filesystem of the compiler they were built with, whose remove_all crashes when it is
# called from outside: with the shared libstdc++ first, that one is called.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libstdc++.so.6 OUTPUT_VARIABLE libstdcxx OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT IS_ABSOLUTE "${libstdcxx}")
    find_library(OUTLIERS_LIBSTDCXX NAMES libstdc++.so.6 PATHS /usr/lib/${CMAKE_SYSTEM_PROCESSOR}-linux-gnu /usr/lib64 /usr/lib REQUIRED)
    set(libstdcxx ${OUTLIERS_LIBSTDCXX})
  endif()
  add_link_options(LINKER:--push-state,--no-as-needed ${libstdcxx} LINKER:--pop-state)
endif()
find_program(OUTLIERS_CCACHE ccache)
if(OUTLIERS_CCACHE)
  # The sloppiness lets ccache cache files that use the precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${OUTLIERS_CCACHE})
endif()
