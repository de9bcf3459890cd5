// NumPy arrays and scalars inside a checkpoint's pickle.
#pragma once

#include "clipself/formats/pickle_heap.h"

namespace clipself::formats::pickle {

/// numpy.dtype(code, ...): a type of bool, int, unsigned, float or complex numbers; its byte order comes by BUILD.
Id numpy_type(Heap& heap, Id code);
void numpy_build_type(Heap& heap, NumpyType& type, Id state);
/// The state (version, shape, dtype, Fortran order, bytes) of numpy.core.multiarray._reconstruct.
at::Tensor numpy_build_array(Heap& heap, Id state);
/// numpy.core.numeric._frombuffer, which protocol 5 uses.
Id numpy_from_buffer(Heap& heap, Id buffer, Id type, Id shape, bool fortran);
/// numpy.core.multiarray.scalar: an int, float or bool (a 0-dim tensor when complex).
Id numpy_scalar(Heap& heap, Id type, Id bytes);

}  // namespace clipself::formats::pickle
