// What tch lacks of autograd: a gradient that is a view of a buffer of ours, and a hook when it is complete.
#include "shim.h"

#include <ATen/Context.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/utils/grad_layout_contract.h>

namespace {

// Calls back when the leaf's gradient is complete. `context` belongs to the hook and goes with it.
class GradientReady : public torch::autograd::PostAccumulateGradHook {
 public:
  GradientReady(void (*call)(void*), void (*drop)(void*), void* context) : call_(call), drop_(drop), context_(context) {}
  ~GradientReady() override { drop_(context_); }
  void operator()(const torch::autograd::Variable&) override { call_(context_); }

 private:
  void (*call_)(void*);
  void (*drop_)(void*);
  void* context_;
};

}  // namespace

extern "C" {

char* m2t_set_gradient(at::Tensor* leaf, at::Tensor* gradient) {
  return m2t::guarded([&] { leaf->mutable_grad() = *gradient; });
}

// Takes `context` over in any case: on an error it is dropped.
char* m2t_on_gradient_ready(at::Tensor* leaf, void (*call)(void*), void (*drop)(void*), void* context) {
  return m2t::guarded([&] {
    auto hook = std::make_unique<GradientReady>(call, drop, context);
    torch::autograd::impl::set_post_acc_grad_hooks(*leaf, std::move(hook));
  });
}

}  // extern "C"
