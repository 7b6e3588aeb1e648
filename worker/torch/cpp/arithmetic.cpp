// How libtorch computes on a GPU where it has a choice.
//
// The setters are those that libtorch keeps in step with each other; its newer ones leave the older flags as they were, and libtorch
// refuses to go on once the two say different things.
#include "shim.h"

#include <ATen/Context.h>

extern "C" {

// No TF32 in place of float32; of cuDNN's algorithms only those that repeat their bits, and none by trial.
char* m2t_repeatable() {
  return m2t::guarded([] {
    auto& context = at::globalContext();
    context.setAllowTF32CuBLAS(false);
    context.setAllowTF32CuDNN(false);
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
    TORCH_CHECK(!context.allowTF32CuBLAS() && !context.allowTF32CuDNN(), "TF32 cannot be turned off");
  });
}

}  // extern "C"
