//! Gradients of leaves: where they are accumulated, and when they are complete.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;

use crate::TorchError;
use crate::shim::{checked, m2t_on_gradient_ready, m2t_set_gradient};

/// Makes `gradient` (a view of the caller's buffer, of the leaf's shape and kind) the place where the next backward adds
/// the leaf's gradient. The caller zeroes it.
pub fn set_gradient(leaf: &mut Tensor, gradient: &Tensor) -> Result<(), TorchError> {
    let mut gradient = gradient.shallow_clone();
    // SAFETY: both pointers are live at::Tensor objects owned by the two `Tensor`s for the length of the call; the shim
    // copies the handle of the gradient (a reference count), so that `gradient` may be dropped afterwards. `leaf` is
    // borrowed mutably: nobody else reads its gradient meanwhile.
    checked(unsafe { m2t_set_gradient(leaf.as_mut_ptr(), gradient.as_mut_ptr()) })
}

type Callback = Box<dyn Fn() + Send + Sync>;

/// Calls `ready` each time a backward has completed the leaf's gradient, on the thread that runs the backward. The hook
/// lives as long as the leaf. A panic in `ready` ends the process: nothing may unwind through libtorch.
pub fn on_gradient_ready(leaf: &mut Tensor, ready: impl Fn() + Send + Sync + 'static) -> Result<(), TorchError> {
    let callback: Box<Callback> = Box::new(Box::new(ready));
    let context = Box::into_raw(callback).cast::<c_void>();
    // SAFETY: the leaf is a live at::Tensor. The shim takes `context` over in any case and gives it back exactly once,
    // to `drop_callback`, after the last `call_callback`; the callback is Send and Sync, as the engine may run hooks on
    // threads of its own.
    checked(unsafe { m2t_on_gradient_ready(leaf.as_mut_ptr(), call_callback, drop_callback, context) })
}

extern "C" fn call_callback(context: *mut c_void) {
    // SAFETY: `context` is the `Box<Callback>` that `on_gradient_ready` gave away and `drop_callback` has not yet had.
    let callback = unsafe { &*context.cast::<Callback>() };
    if catch_unwind(AssertUnwindSafe(callback)).is_err() {
        std::process::abort();
    }
}

extern "C" fn drop_callback(context: *mut c_void) {
    // SAFETY: the shim calls this once, last, with what `on_gradient_ready` got from Box::into_raw.
    let callback = unsafe { Box::from_raw(context.cast::<Callback>()) };
    if catch_unwind(AssertUnwindSafe(|| drop(callback))).is_err() {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn gradients_land_in_the_buffer_and_say_when() {
        let flat = Tensor::zeros([6], (Kind::Float, Device::Cpu));
        let mut leaf = Tensor::from_slice(&[1f32, 2.0, 3.0]).set_requires_grad(true);
        set_gradient(&mut leaf, &flat.narrow(0, 2, 3)).unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        on_gradient_ready(&mut leaf, move || {
            counter.fetch_add(1, Ordering::SeqCst);
        })
        .unwrap();
        for expected in [1usize, 2] {
            // The leaf is used twice; its gradient is complete once.
            ((&leaf * &leaf).sum(Kind::Float) + (&leaf * 3.0).sum(Kind::Float)).backward();
            assert_eq!(calls.load(Ordering::SeqCst), expected);
        }
        let values = Vec::<f32>::try_from(&flat).unwrap();
        assert_eq!(values, [0.0, 0.0, 10.0, 14.0, 18.0, 0.0]);
        drop(leaf);
        assert_eq!(Arc::strong_count(&calls), 1, "the hook went with its leaf");
    }

    #[test]
    fn a_gradient_of_another_shape_is_an_error_and_not_a_crash() {
        let mut leaf = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
        let error = on_gradient_ready(&mut Tensor::new(), || ()).expect_err("an undefined tensor has no gradient");
        assert!(!error.to_string().is_empty());
        set_gradient(&mut leaf, &Tensor::zeros([2], (Kind::Float, Device::Cpu))).unwrap();
    }
}
