// Which libtorch this is.
#include "shim.h"

#include <ATen/Version.h>
#include <torch/version.h>

extern "C" {

// Both texts are the caller's, to be freed with free(3).
char* m2t_libtorch(char** release, char** instruction_set) {
  return m2t::guarded([&] {
    *release = strdup(TORCH_VERSION);
    *instruction_set = strdup(at::get_cpu_capability().c_str());
  });
}

}  // extern "C"
