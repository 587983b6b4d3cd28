# The commit is read at build time (not at configure time), so --version stays true after a commit.
find_package(Git QUIET)
set(OUTLIERS_VERSION_HEADER ${CMAKE_BINARY_DIR}/generated/outliers_commit.h)
add_custom_target(outliers_commit
  COMMAND ${CMAKE_COMMAND} -DGIT=${GIT_EXECUTABLE} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUTPUT=${OUTLIERS_VERSION_HEADER}
          -P ${PROJECT_SOURCE_DIR}/cmake/write_commit.cmake
  BYPRODUCTS ${OUTLIERS_VERSION_HEADER})
