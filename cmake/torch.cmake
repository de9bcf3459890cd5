# LibTorch, from -DTorch_DIR (scripts/setup.sh gives it) or CMAKE_PREFIX_PATH.
if(NOT Torch_DIR)
  string(REPLACE ":" ";" environment_prefixes "$ENV{CMAKE_PREFIX_PATH}")
  foreach(prefix ${CMAKE_PREFIX_PATH} ${environment_prefixes})
    foreach(inner share/cmake/Torch torch/share/cmake/Torch Torch)
      if(NOT Torch_DIR AND EXISTS ${prefix}/${inner}/TorchConfig.cmake)
        set(Torch_DIR ${prefix}/${inner} CACHE PATH "Folder of TorchConfig.cmake")
      endif()
    endforeach()
  endforeach()
endif()

if(Torch_DIR)
  get_filename_component(torch_root ${Torch_DIR}/../../.. ABSOLUTE)
  # TorchConfig.cmake looks up its own parts by name; without this it would take those of an older LibTorch that is
  # installed in the system.
  list(PREPEND CMAKE_PREFIX_PATH ${torch_root})
  if(EXISTS ${torch_root}/lib/libtorch_cuda.so)
    # A CUDA build brings the libraries it runs with. For programs without kernels of their own the CUDA toolkit, which
    # TorchConfig.cmake asks for, is not needed; it does not ask when this target exists.
    add_library(torch::cudart INTERFACE IMPORTED)
  endif()
endif()

find_package(Torch REQUIRED)
if(Torch_VERSION VERSION_LESS 2.6)
  message(FATAL_ERROR "LibTorch ${Torch_VERSION} found in ${Torch_DIR}; clipself needs 2.6 or newer")
endif()
