// Long vectors on the CPU, each in one pass. All are contiguous, of one kind (float or double) and one length.
#include "shim.h"

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "chunks.h"

namespace {

template <typename Body>
void by_kind(const at::Tensor& x, Body body) {
  if (x.scalar_type() == at::kDouble) {
    body(m2t::kernels().flat64, double());
  } else {
    TORCH_CHECK(x.scalar_type() == at::kFloat, "a flat vector is of float or double, not of ", x.scalar_type());
    body(m2t::kernels().flat32, float());
  }
}

template <typename A>
A* data(at::Tensor* x, int64_t n) {
  TORCH_CHECK(x->is_cpu() && x->is_contiguous() && x->numel() == n, "a flat vector must be contiguous, on the CPU, of ", n, " elements");
  return x->data_ptr<A>();
}

}  // namespace

extern "C" {

char* m2t_largest(at::Tensor* x, double* out) {
  return m2t::guarded([&] {
    const int64_t n = x->numel();
    by_kind(*x, [&](const auto& loops, auto zero) {
      const auto* from = data<decltype(zero)>(x, n);
      std::vector<double> of_piece(n / m2t::kChunk + 1);
      m2t::in_pieces(n, [&](int64_t at, int64_t length) { of_piece[at / m2t::kChunk] = loops.largest(from + at, length); });
      *out = 0;
      for (const double largest : of_piece) *out = largest > *out || std::isnan(largest) ? largest : *out;
    });
  });
}

char* m2t_square(at::Tensor* x, double* out) {
  return m2t::guarded([&] {
    const int64_t n = x->numel();
    by_kind(*x, [&](const auto& loops, auto zero) {
      const auto* from = data<decltype(zero)>(x, n);
      std::vector<double> of_piece(n / m2t::kChunk + 1);
      m2t::in_pieces(n, [&](int64_t at, int64_t length) { of_piece[at / m2t::kChunk] = loops.square(from + at, length); });
      *out = 0;
      for (const double square : of_piece) *out += square;
    });
  });
}

char* m2t_quantise(at::Tensor* x, double scale, uint8_t add, at::Tensor* total) {
  return m2t::guarded([&] {
    const int64_t n = x->numel();
    auto* to = data<int64_t>(total, n);
    by_kind(*x, [&](const auto& loops, auto zero) {
      const auto* from = data<decltype(zero)>(x, n);
      m2t::in_pieces(n, [&](int64_t at, int64_t length) { loops.quantise(from + at, length, scale, add, to + at); });
    });
  });
}

char* m2t_dequantise(at::Tensor* total, double scale, at::Tensor* x) {
  return m2t::guarded([&] {
    const int64_t n = x->numel();
    const auto* from = data<int64_t>(total, n);
    by_kind(*x, [&](const auto& loops, auto zero) {
      auto* to = data<decltype(zero)>(x, n);
      m2t::in_pieces(n, [&](int64_t at, int64_t length) { loops.dequantise(from + at, length, scale, to + at); });
    });
  });
}

char* m2t_descend(at::Tensor* p, at::Tensor* buffer, at::Tensor* g, double momentum, double inner, double decay, double outer) {
  return m2t::guarded([&] {
    const int64_t n = p->numel();
    by_kind(*p, [&](const auto& loops, auto zero) {
      using A = decltype(zero);
      auto *moved = data<A>(p, n), *kept = data<A>(buffer, n), *from = data<A>(g, n);
      m2t::in_pieces(n, [&](int64_t at, int64_t length) {
        loops.descend(moved + at, kept + at, from + at, length, static_cast<A>(momentum), static_cast<A>(inner), static_cast<A>(decay),
                      static_cast<A>(outer));
      });
    });
  });
}

char* m2t_follow(at::Tensor* teacher, at::Tensor* student, double momentum) {
  return m2t::guarded([&] {
    const int64_t n = teacher->numel();
    by_kind(*teacher, [&](const auto& loops, auto zero) {
      using A = decltype(zero);
      auto *to = data<A>(teacher, n), *from = data<A>(student, n);
      m2t::in_pieces(n, [&](int64_t at, int64_t length) {
        loops.follow(to + at, from + at, length, static_cast<A>(momentum), static_cast<A>(1 - momentum));
      });
    });
  });
}

}  // extern "C"
