// Loops on the CPU over flat vectors and channels-last activations, compiled once for each instruction set.
//
// Why not libtorch's own operations: a normalisation, an addition and a ReLU are three of them, each a pass over the largest
// tensors there are, and so are the eight of an optimizer's update or a sum in integers. Here each is one pass.
// Nothing of the standard library or of ATen is included where these are compiled: an inline function of a header, compiled for
// AVX-512, could become the one that the whole program uses.
#pragma once
#include <cstdint>

namespace m2t {

// What the loops know of an element that is stored as bfloat16.
struct BFloat16 {
  uint16_t bits;
};

// y = x·scale + shift, a channel.
template <typename A>
struct Affine {
  const A* scale;
  const A* shift;
};

// Some rows of `channels` elements each. T is how an element is stored, A what it is computed in.
template <typename T, typename A>
struct ChannelsLast {
  // sum[c] += Σ(x − around[c]), squares[c] += Σ(x − around[c])².
  void (*moments)(const T* x, int64_t rows, int64_t channels, const A* around, double* sum, double* squares);
  // y = affine(x), + residual unless that is null; cut at 0 if `rectified`. y may be x.
  void (*normalise)(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, Affine<A> affine, bool rectified);
  // g = dy; if `rectified` only where y > 0, and where y is null, where affine(x) > 0.
  // sum[c] += Σg, along[c] += Σg·(x − mean[c]). g is written unless it is null.
  void (*sums_back)(const T* dy, const T* y, const T* x, T* g, int64_t rows, int64_t channels, Affine<A> affine, const A* mean,
                    bool rectified, double* sum, double* along);
  // dx = g·scale − (x − mean)·slope − level, a channel; g from dy as above, y being null.
  void (*input_back)(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, Affine<A> affine, const A* mean, const A* slope,
                     const A* level, bool rectified);
};

// Vectors of n elements.
template <typename A>
struct Flat {
  // The largest |x|; a NaN if there is one.
  A (*largest)(const A* x, int64_t n);
  // total = round(x·scale); with `add`, total += that.
  void (*quantise)(const A* x, int64_t n, double scale, bool add, int64_t* total);
  // x = total·scale.
  void (*dequantise)(const int64_t* total, int64_t n, double scale, A* x);
  // Σx².
  double (*square)(const A* x, int64_t n);
  // buffer = momentum·buffer + inner·(g + decay·p), p −= outer·buffer.
  void (*descend)(A* p, A* buffer, const A* g, int64_t n, A momentum, A inner, A decay, A outer);
  // teacher = momentum·teacher + rest·student.
  void (*follow)(A* teacher, const A* student, int64_t n, A momentum, A rest);
};

struct Kernels {
  ChannelsLast<float, float> f32;
  ChannelsLast<double, double> f64;
  ChannelsLast<BFloat16, float> bf16;
  Flat<float> flat32;
  Flat<double> flat64;
};

// One a compilation of kernels.cpp.
const Kernels& kernels_plain();
#ifdef M2T_X86
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();
#endif

}  // namespace m2t
