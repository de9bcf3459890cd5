// The part of LibTorch this project is built on: tensors, autograd, modules. <torch/torch.h> brings the whole C++ front
// end, which costs every source file seconds to compile; this is also what is precompiled.
#pragma once

#include <torch/autograd.h>
#include <torch/cuda.h>
#include <torch/nn/module.h>
#include <torch/ordered_dict.h>
#include <torch/types.h>
#include <torch/utils.h>
