// The C entries of the shim. Each returns null on success, else an error message that the caller frees with free(3).
// No exception leaves an entry.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>

#include <ATen/core/Tensor.h>

namespace m2t {

template <typename Body>
char* guarded(Body body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const std::exception& e) {
    return strdup(e.what());
  } catch (...) {
    return strdup("an exception that is no std::exception");
  }
}

}  // namespace m2t
