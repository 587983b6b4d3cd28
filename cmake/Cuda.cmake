# CUDA kernels are plain .cu files: nvcc compiles each to an object by itself, with no CUDA language in CMake and
# none of LibTorch's flags. Where nvcc is present but OUTLIERS_CUDA is off, the target outliers_cuda_compile
# shows that they compile.
set(OUTLIERS_CUDA_ARCHITECTURES "80;90" CACHE STRING "Compute capabilities the kernels are compiled for; the last one also as PTX")
find_program(OUTLIERS_NVCC nvcc HINTS ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(OUTLIERS_CUDA)
  if(NOT OUTLIERS_NVCC)
    message(FATAL_ERROR "OUTLIERS_CUDA is on but nvcc was not found. Set OUTLIERS_NVCC or CUDA_HOME.")
  endif()
  find_package(CUDAToolkit REQUIRED)
endif()
if(OUTLIERS_NVCC AND NOT TARGET outliers_cuda_compile)
  add_custom_target(outliers_cuda_compile)
endif()

# outliers_cuda(ROOM KERNELS *.cu... BINDINGS *.cpp...): adds kernels and their bindings to a room's library, and
# defines OUTLIERS_CUDA in the room's own sources.
function(outliers_cuda room)
  cmake_parse_arguments(arg "" "" "KERNELS;BINDINGS" ${ARGN})
  if(NOT OUTLIERS_NVCC)
    return()
  endif()
  set(targets "")
  foreach(architecture ${OUTLIERS_CUDA_ARCHITECTURES})
    list(APPEND targets -gencode=arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  list(GET OUTLIERS_CUDA_ARCHITECTURES -1 newest)
  list(APPEND targets -gencode=arch=compute_${newest},code=compute_${newest})
  set(objects "")
  foreach(kernel ${arg_KERNELS})
    cmake_path(GET kernel STEM stem)
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${room}_${stem}.cu.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${OUTLIERS_NVCC} -std=c++17 -O3 ${targets} -Xcompiler=-fPIC,-Wall -I${PROJECT_SOURCE_DIR}/src
              -MD -MF ${object}.d -c ${CMAKE_CURRENT_SOURCE_DIR}/${kernel} -o ${object}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${kernel} DEPFILE ${object}.d
      COMMENT "Compiling CUDA kernels ${kernel}" VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  add_custom_target(outliers_${room}_kernels DEPENDS ${objects})
  add_dependencies(outliers_cuda_compile outliers_${room}_kernels)
  if(OUTLIERS_CUDA)
    set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    target_sources(outliers_${room} PRIVATE ${arg_BINDINGS} ${objects})
    target_compile_definitions(outliers_${room} PRIVATE OUTLIERS_CUDA)
    target_link_libraries(outliers_${room} PUBLIC CUDA::cudart)
  endif()
endfunction()
