// Work in pieces on libtorch's own threads, and the loops of kernels.h for the instruction set that libtorch uses.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/util/FunctionRef.h>

#include "kernels.h"

namespace m2t {

// Calls body(i) for each i below n, on as many threads as libtorch has; how many those are is not seen in the pieces.
void in_chunks(int64_t n, c10::function_ref<void(int64_t)> body);

const Kernels& kernels();

// Elements of a piece.
constexpr int64_t kChunk = 1 << 18;

// Calls body(start, length) for pieces of a vector of n elements.
template <typename Body>
void in_pieces(int64_t n, Body body) {
  in_chunks((n + kChunk - 1) / kChunk, [&](int64_t i) {
    const int64_t start = i * kChunk;
    body(start, n - start < kChunk ? n - start : kChunk);
  });
}

}  // namespace m2t
