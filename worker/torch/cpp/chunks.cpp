#include "chunks.h"

#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/Version.h>
#include <ATen/ops/empty.h>

#include <string>

namespace m2t {

void in_chunks(int64_t n, c10::function_ref<void(int64_t)> body) {
  if (n < 2 || at::get_num_threads() == 1) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  // An iterator over nothing of interest: libtorch's own threads, without a second OpenMP of ours beside the one it brings along.
  at::Tensor numbers = at::empty({n}, at::kByte);
  auto iterator = at::TensorIteratorConfig().check_all_same_dtype(false).resize_outputs(false).declare_static_shape({n}).add_output(numbers).build();
  const char* first = static_cast<const char*>(numbers.data_ptr());
  iterator.for_each(
      [&](char** data, const int64_t* strides, int64_t count) {
        for (int64_t i = 0; i < count; ++i) body(data[0] + i * strides[0] - first);
      },
      1);
}

const Kernels& kernels() {
#ifdef M2T_X86
  static const Kernels& chosen = [&]() -> const Kernels& {
    const std::string set = at::get_cpu_capability();
    if (set.rfind("AVX512", 0) == 0 || set.rfind("AMX", 0) == 0) return kernels_avx512();
    return set.rfind("AVX2", 0) == 0 ? kernels_avx2() : kernels_plain();
  }();
  return chosen;
#else
  return kernels_plain();
#endif
}

}  // namespace m2t
