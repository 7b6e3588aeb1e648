// See kernels.h. M2T_KERNELS is the name of this compilation's table.
#include "kernels.h"

namespace m2t {
namespace {

// Channels that are summed at a time, so that their sums stay in the first cache; rows until they go into a double.
constexpr int64_t kWidth = 512;
constexpr int64_t kRows = 128;

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(BFloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

inline void narrow(float value, float* to) { *to = value; }
inline void narrow(double value, double* to) { *to = value; }
// To the nearest, ties to even; a NaN stays one.
inline void narrow(float value, BFloat16* to) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  to->bits = static_cast<uint16_t>(is_nan ? 0x7fc0u : rounded);
}

// What an element adds to the two sums of its channel.
template <typename A>
struct Terms {
  A first;
  A second;
};

// Adds up terms(row offset, channel) over the rows, for each channel.
template <typename A, typename Body>
inline void sum_channels(int64_t rows, int64_t channels, double* first, double* second, Body terms) {
  for (int64_t c = 0; c < channels; c += kWidth) {
    const int64_t width = channels - c < kWidth ? channels - c : kWidth;
    for (int64_t row = 0; row < rows; row += kRows) {
      const int64_t end = rows - row < kRows ? rows : row + kRows;
      A firsts[kWidth] = {}, seconds[kWidth] = {};
      int64_t r = row;
      for (; r + 4 <= end; r += 4) {
#pragma GCC ivdep
        for (int64_t i = 0; i < width; ++i) {
          const Terms<A> t0 = terms(r * channels, c + i), t1 = terms((r + 1) * channels, c + i);
          const Terms<A> t2 = terms((r + 2) * channels, c + i), t3 = terms((r + 3) * channels, c + i);
          firsts[i] += (t0.first + t1.first) + (t2.first + t3.first);
          seconds[i] += (t0.second + t1.second) + (t2.second + t3.second);
        }
      }
      for (; r < end; ++r) {
#pragma GCC ivdep
        for (int64_t i = 0; i < width; ++i) {
          const Terms<A> t = terms(r * channels, c + i);
          firsts[i] += t.first;
          seconds[i] += t.second;
        }
      }
      for (int64_t i = 0; i < width; ++i) {
        first[c + i] += firsts[i];
        second[c + i] += seconds[i];
      }
    }
  }
}

template <typename T, typename A>
void moments(const T* x, int64_t rows, int64_t channels, const A* around, double* sum, double* squares) {
  sum_channels<A>(rows, channels, sum, squares, [=](int64_t row, int64_t c) {
    const A d = widen(x[row + c]) - around[c];
    return Terms<A>{d, d * d};
  });
}

template <bool kRectified, bool kResidual, typename T, typename A>
inline void normalise_as(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, Affine<A> affine) {
  const A* __restrict scale = affine.scale;
  const A* __restrict shift = affine.shift;
  for (int64_t r = 0; r < rows; ++r) {
    const T* from = x + r * channels;
    const T* beside = residual + (kResidual ? r * channels : 0);
    T* to = y + r * channels;
#pragma GCC ivdep
    for (int64_t c = 0; c < channels; ++c) {
      A value = widen(from[c]) * scale[c] + shift[c];
      if (kResidual) value += widen(beside[c]);
      // A NaN stays one.
      if (kRectified) value = value < A(0) ? A(0) : value;
      narrow(value, to + c);
    }
  }
}

template <typename T, typename A>
void normalise(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, Affine<A> affine, bool rectified) {
  if (rectified) {
    residual ? normalise_as<true, true>(x, residual, y, rows, channels, affine)
             : normalise_as<true, false>(x, residual, y, rows, channels, affine);
  } else {
    residual ? normalise_as<false, true>(x, residual, y, rows, channels, affine)
             : normalise_as<false, false>(x, residual, y, rows, channels, affine);
  }
}

template <typename T, typename A>
void sums_back(const T* dy, const T* y, const T* x, T* g, int64_t rows, int64_t channels, Affine<A> affine, const A* mean,
               bool rectified, double* sum, double* along) {
  const A* scale = affine.scale;
  const A* shift = affine.shift;
  if (!rectified) {
    sum_channels<A>(rows, channels, sum, along, [=](int64_t row, int64_t c) {
      const A value = widen(dy[row + c]);
      return Terms<A>{value, value * (widen(x[row + c]) - mean[c])};
    });
  } else if (y == nullptr) {
    sum_channels<A>(rows, channels, sum, along, [=](int64_t row, int64_t c) {
      const A from = widen(x[row + c]);
      const A value = from * scale[c] + shift[c] > A(0) ? widen(dy[row + c]) : A(0);
      return Terms<A>{value, value * (from - mean[c])};
    });
  } else {
    sum_channels<A>(rows, channels, sum, along, [=](int64_t row, int64_t c) {
      const A value = widen(y[row + c]) > A(0) ? widen(dy[row + c]) : A(0);
      narrow(value, g + row + c);
      return Terms<A>{value, value * (widen(x[row + c]) - mean[c])};
    });
  }
}

template <bool kRectified, typename T, typename A>
inline void input_back_as(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, Affine<A> affine, const A* mean,
                          const A* slope, const A* level) {
  for (int64_t r = 0; r < rows; ++r) {
    const T* from = dy + r * channels;
    const T* beside = x + r * channels;
    T* to = dx + r * channels;
#pragma GCC ivdep
    for (int64_t c = 0; c < channels; ++c) {
      const A value = widen(beside[c]);
      A g = widen(from[c]);
      if (kRectified) g = value * affine.scale[c] + affine.shift[c] > A(0) ? g : A(0);
      narrow(g * affine.scale[c] - (value - mean[c]) * slope[c] - level[c], to + c);
    }
  }
}

template <typename T, typename A>
void input_back(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, Affine<A> affine, const A* mean, const A* slope,
                const A* level, bool rectified) {
  rectified ? input_back_as<true>(dy, x, dx, rows, channels, affine, mean, slope, level)
            : input_back_as<false>(dy, x, dx, rows, channels, affine, mean, slope, level);
}

// The bits of |x| order as |x| does, and those of a NaN above all.
inline float largest(const float* x, int64_t n) {
  uint32_t most = 0;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffffu;
    most = bits > most ? bits : most;
  }
  float value;
  __builtin_memcpy(&value, &most, sizeof value);
  return value;
}

inline double largest(const double* x, int64_t n) {
  uint64_t most = 0;
  for (int64_t i = 0; i < n; ++i) {
    uint64_t bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffffffffffffu;
    most = bits > most ? bits : most;
  }
  double value;
  __builtin_memcpy(&value, &most, sizeof value);
  return value;
}

template <bool kAdd, typename A>
inline void quantise_as(const A* x, int64_t n, double scale, int64_t* total) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const int64_t value = static_cast<int64_t>(__builtin_rint(static_cast<double>(x[i]) * scale));
    total[i] = kAdd ? total[i] + value : value;
  }
}

template <typename A>
void quantise(const A* x, int64_t n, double scale, bool add, int64_t* total) {
  add ? quantise_as<true>(x, n, scale, total) : quantise_as<false>(x, n, scale, total);
}

template <typename A>
void dequantise(const int64_t* total, int64_t n, double scale, A* x) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<A>(static_cast<double>(total[i]) * scale);
}

template <typename A>
double square(const A* x, int64_t n) {
  constexpr int64_t kLanes = 32;
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = static_cast<double>(x[i + lane]);
      sums[lane] += value * value;
    }
  }
  for (; i < n; ++i) sums[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  double sum = 0;
  for (double of_lane : sums) sum += of_lane;
  return sum;
}

template <typename A>
void descend(A* p, A* buffer, const A* g, int64_t n, A momentum, A inner, A decay, A outer) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const A moved = momentum * buffer[i] + inner * (g[i] + decay * p[i]);
    buffer[i] = moved;
    p[i] -= outer * moved;
  }
}

template <typename A>
void follow(A* teacher, const A* student, int64_t n, A momentum, A rest) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) teacher[i] = momentum * teacher[i] + rest * student[i];
}

template <typename T, typename A>
constexpr ChannelsLast<T, A> channels_last() {
  return {moments<T, A>, normalise<T, A>, sums_back<T, A>, input_back<T, A>};
}

template <typename A>
constexpr Flat<A> flat() {
  return {largest, quantise<A>, dequantise<A>, square<A>, descend<A>, follow<A>};
}

}  // namespace

const Kernels& M2T_KERNELS() {
  static constexpr Kernels table{channels_last<float, float>(), channels_last<double, double>(), channels_last<BFloat16, float>(),
                                 flat<float>(), flat<double>()};
  return table;
}

}  // namespace m2t
