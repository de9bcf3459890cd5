# Everything clipself is built on: LibTorch, and Debian packages (listed in scripts/setup.sh).
include(cmake/torch.cmake)
find_package(Threads REQUIRED)
if(NOT CLIPSELF_FUZZ)  # clang's own is often not installed, and fuzzing is better off with one thread
  find_package(OpenMP REQUIRED COMPONENTS CXX)  # without it at::parallel_for, a template, is compiled to a plain loop
endif()
find_package(ZLIB REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(simdjson REQUIRED)
find_package(pugixml REQUIRED)  # Pascal VOC
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(ICU REQUIRED COMPONENTS uc)  # Unicode
find_library(MD_LIBRARY md REQUIRED)  # SHA-256
find_library(SENTENCEPIECE_LIBRARY sentencepiece REQUIRED)

# LibTorch ships headers of its own fmt, of another version than the library we link. A folder that holds
# nothing but the system's fmt, searched first, keeps header and library together.
get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include-first)
file(CREATE_LINK ${fmt_include}/fmt ${CMAKE_BINARY_DIR}/include-first/fmt SYMBOLIC)

add_library(clipself_options INTERFACE)
target_include_directories(clipself_options BEFORE INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/include-first)
target_link_libraries(clipself_options INTERFACE Threads::Threads spdlog::spdlog fmt::fmt nlohmann_json::nlohmann_json)
target_compile_options(clipself_options INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 warns of string concatenation in its own library (GCC bug 105329).
  target_compile_options(clipself_options INTERFACE -Wno-restrict)
endif()
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Two sources in one compilation look to GCC like a header with an anonymous namespace.
  target_compile_options(clipself_options INTERFACE -Wno-subobject-linkage)
endif()
if(CLIPSELF_SANITIZE)
  # What sanitizers put between lets GCC see dangers that are none.
  target_compile_options(clipself_options INTERFACE -fsanitize=${CLIPSELF_SANITIZE} -fno-omit-frame-pointer -g1 -Wno-error)
  target_link_options(clipself_options INTERFACE -fsanitize=${CLIPSELF_SANITIZE})
endif()
if(CLIPSELF_FUZZ)
  target_compile_options(clipself_options INTERFACE -fno-sanitize-recover=all)
  # An index outside a vector is a finding, too. ccache wants a precompiled header without the time it was made.
  target_compile_definitions(clipself_options INTERFACE _GLIBCXX_ASSERTIONS)
  target_compile_options(clipself_options INTERFACE "SHELL:-Xclang -fno-pch-timestamp")
endif()

# Torch's own headers are not ours to warn about.
add_library(clipself_torch INTERFACE)
target_include_directories(clipself_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
target_link_libraries(clipself_torch INTERFACE clipself_options ${TORCH_LIBRARIES})
# By its flags and not by its path: a LibTorch of a Python brings an OpenMP of the same name, and there can be one alone.
target_compile_options(clipself_torch INTERFACE ${OpenMP_CXX_FLAGS})
target_link_options(clipself_torch INTERFACE ${OpenMP_CXX_FLAGS})

# Processes: LibTorch holds Gloo and, built for CUDA, NCCL, but neither's headers. Only types are needed of them: all that
# is called lies in LibTorch.
find_path(GLOO_INCLUDE_DIR gloo/transport/device.h REQUIRED)
add_library(clipself_c10d INTERFACE)
target_include_directories(clipself_c10d SYSTEM INTERFACE ${GLOO_INCLUDE_DIR})
target_compile_definitions(clipself_c10d INTERFACE USE_C10D_GLOO)
if(TORCH_CUDA_LIBRARIES)
  # Those of the packages that a LibTorch of a Python runs with, and of a CUDA toolkit what they lack.
  file(GLOB nvidia_includes ${TORCH_INSTALL_PREFIX}/../nvidia/*/include)
  set(nccl_includes)
  foreach(header nccl.h cuda_runtime_api.h crt/host_config.h cublas_v2.h cusparse.h cusolverDn.h)
    find_path(FOLDER_OF_${header} ${header} HINTS ${nvidia_includes} PATHS /usr/local/cuda/include)
    list(APPEND nccl_includes ${FOLDER_OF_${header}})
  endforeach()
  if(nccl_includes MATCHES NOTFOUND)
    message(WARNING "Headers of NCCL or CUDA were not found: several processes will not train on GPUs (${nccl_includes})")
  else()
    target_include_directories(clipself_c10d SYSTEM INTERFACE ${nccl_includes})
    target_compile_definitions(clipself_c10d INTERFACE USE_C10D_NCCL)
  endif()
endif()
