# liboutliers.so for other programs, and what `cmake --install` puts in place: the library, the headers that outliers.h
# needs, a CMake package and a pkg-config file. Our own program and tests link the rooms' archives: they start as fast, and
# see what is hidden here.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# The rooms that `room` needs.
function(outliers_rooms_below room result)
  get_target_property(linked outliers_${room} LINK_LIBRARIES)
  set(rooms "")
  foreach(library ${linked})
    if(library MATCHES "^outliers::(.+)$")
      list(APPEND rooms outliers_${CMAKE_MATCH_1})
      outliers_rooms_below(${CMAKE_MATCH_1} below)
      list(APPEND rooms ${below})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES rooms)
  set(${result} ${rooms} PARENT_SCOPE)
endfunction()

# The headers of ours that `header` includes, and itself, by their paths below src/.
function(outliers_headers_of header result)
  set(found ${header})
  set(next ${header})
  while(next)
    list(POP_FRONT next current)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${current})
    file(STRINGS ${PROJECT_SOURCE_DIR}/src/${current} lines REGEX "^#include \"outliers/")
    foreach(line ${lines})
      string(REGEX REPLACE "^#include \"(.+)\".*" "\\1" included ${line})
      if(NOT included IN_LIST found)
        list(APPEND found ${included})
        list(APPEND next ${included})
      endif()
    endforeach()
  endwhile()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# All objects of every room, since what a header shows may be used by nothing else in the library; the archives add what
# they themselves link.
outliers_rooms_below(api rooms)
list(PREPEND rooms outliers_api)
list(TRANSFORM rooms REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
add_library(outliers_shared SHARED ${objects})
target_link_libraries(outliers_shared PRIVATE ${rooms} outliers_flags)
set(OUTLIERS_SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})  # before 1.0 a minor version may change anything
set_target_properties(outliers_shared PROPERTIES OUTPUT_NAME outliers VERSION ${PROJECT_VERSION}
  SOVERSION ${OUTLIERS_SOVERSION} LINKER_LANGUAGE CXX LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
# Installed, both find LibTorch where it was; by its name, as CMake leaves out what lies in the source tree, like .venv.
outliers_finds_modules(outliers_shared ${CMAKE_BINARY_DIR}/lib)
# And both find the module that reads Parquet files beside the library.
file(RELATIVE_PATH libraries_from_programs ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(outliers PROPERTIES INSTALL_RPATH "$ORIGIN/${libraries_from_programs};${TORCH_INSTALL_PREFIX}/lib")
set_target_properties(outliers_shared PROPERTIES INSTALL_RPATH "$ORIGIN;${TORCH_INSTALL_PREFIX}/lib")
set_target_properties(outliers outliers_shared PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/outliers)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/outliersConfig.cmake.in ${CMAKE_BINARY_DIR}/outliersConfig.cmake
  INSTALL_DESTINATION ${package_dir} PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/outliersConfigVersion.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH OUTLIERS_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/outliers.pc.in ${CMAKE_BINARY_DIR}/outliers.pc @ONLY)

install(TARGETS outliers RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS outliers_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(OUTLIERS_WITH_PARQUET)
  install(TARGETS outliers_parquet LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(FILES ${CMAKE_BINARY_DIR}/outliersConfig.cmake ${CMAKE_BINARY_DIR}/outliersConfigVersion.cmake
  DESTINATION ${package_dir})
install(FILES ${CMAKE_BINARY_DIR}/outliers.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
outliers_headers_of(outliers/outliers.h headers)
foreach(header ${headers})
  cmake_path(GET header PARENT_PATH folder)
  install(FILES ${PROJECT_SOURCE_DIR}/src/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/${folder})
endforeach()
