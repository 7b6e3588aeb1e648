//! The C entries of the shim, and its errors as values.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use torch_sys::C_tensor;

use crate::TorchError;

#[repr(C)]
pub(crate) struct RawStore {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(crate) struct RawGroup {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(crate) struct RawWork {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    pub(crate) fn m2t_set_gradient(leaf: *mut C_tensor, gradient: *mut C_tensor) -> *mut c_char;
    pub(crate) fn m2t_on_gradient_ready(
        leaf: *mut C_tensor,
        call: extern "C" fn(*mut c_void),
        drop: extern "C" fn(*mut c_void),
        context: *mut c_void,
    ) -> *mut c_char;

    pub(crate) fn m2t_store_serve(
        host: *const c_char,
        timeout_ms: u64,
        port: *mut u16,
        out: *mut *mut RawStore,
    ) -> *mut c_char;
    pub(crate) fn m2t_store_join(
        host: *const c_char,
        port: u16,
        timeout_ms: u64,
        out: *mut *mut RawStore,
    ) -> *mut c_char;
    pub(crate) fn m2t_store_free(store: *mut RawStore);

    pub(crate) fn m2t_gloo_new(
        store: *mut RawStore,
        address: *const c_char,
        index: c_int,
        size: c_int,
        timeout_ms: u64,
        out: *mut *mut RawGroup,
    ) -> *mut c_char;
    pub(crate) fn m2t_gloo_free(group: *mut RawGroup);
    pub(crate) fn m2t_gloo_send(
        group: *mut RawGroup,
        tensor: *mut C_tensor,
        to: c_int,
        out: *mut *mut RawWork,
    ) -> *mut c_char;
    pub(crate) fn m2t_gloo_receive(
        group: *mut RawGroup,
        tensor: *mut C_tensor,
        from: c_int,
        tag: c_int,
        out: *mut *mut RawWork,
    ) -> *mut c_char;
    pub(crate) fn m2t_work_wait(work: *mut RawWork, timeout_ms: u64, done: *mut u8) -> *mut c_char;
    pub(crate) fn m2t_work_abort(work: *mut RawWork) -> *mut c_char;
    pub(crate) fn m2t_work_free(work: *mut RawWork);

    pub(crate) fn m2t_moments(x: *mut C_tensor, mean: *mut C_tensor, variance: *mut C_tensor) -> *mut c_char;
    pub(crate) fn m2t_normalise(
        x: *mut C_tensor,
        weight: *mut C_tensor,
        bias: *mut C_tensor,
        mean: *mut C_tensor,
        variance: *mut C_tensor,
        epsilon: f64,
        residual: *mut C_tensor,
        rectified: u8,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn m2t_batch_norm(
        x: *mut C_tensor,
        weight: *mut C_tensor,
        bias: *mut C_tensor,
        running_mean: *mut C_tensor,
        running_variance: *mut C_tensor,
        momentum: f64,
        epsilon: f64,
        residual: *mut C_tensor,
        rectified: u8,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;

    pub(crate) fn m2t_largest(x: *mut C_tensor, out: *mut f64) -> *mut c_char;
    pub(crate) fn m2t_square(x: *mut C_tensor, out: *mut f64) -> *mut c_char;
    pub(crate) fn m2t_quantise(x: *mut C_tensor, scale: f64, add: u8, total: *mut C_tensor) -> *mut c_char;
    pub(crate) fn m2t_dequantise(total: *mut C_tensor, scale: f64, x: *mut C_tensor) -> *mut c_char;
    pub(crate) fn m2t_descend(
        p: *mut C_tensor,
        buffer: *mut C_tensor,
        g: *mut C_tensor,
        momentum: f64,
        inner: f64,
        decay: f64,
        outer: f64,
    ) -> *mut c_char;
    pub(crate) fn m2t_follow(teacher: *mut C_tensor, student: *mut C_tensor, momentum: f64) -> *mut c_char;

    pub(crate) fn m2t_keep_memory() -> *mut c_char;
    pub(crate) fn m2t_repeatable() -> *mut c_char;

    pub(crate) fn m2t_profile_begin() -> *mut c_char;
    pub(crate) fn m2t_profile_end(
        call: extern "C" fn(*mut c_void, *const c_char, f64, i64),
        context: *mut c_void,
    ) -> *mut c_char;

    pub(crate) fn m2t_libtorch(release: *mut *mut c_char, instruction_set: *mut *mut c_char) -> *mut c_char;

    fn free(pointer: *mut c_void);
}

/// What an entry returned, as a result.
pub(crate) fn checked(message: *mut c_char) -> Result<(), TorchError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null return of every entry is a NUL-terminated string from strdup(3) that is now ours.
    let text = unsafe { taken(message) };
    // libtorch appends a C++ backtrace in further lines; the first line is the message.
    Err(TorchError::Libtorch(
        text.lines().next().unwrap_or("no message").to_owned(),
    ))
}

/// A string of the shim's, freed.
///
/// # Safety
/// `text` comes from strdup(3), belongs to the caller and is not used again.
pub(crate) unsafe fn taken(text: *mut c_char) -> String {
    // SAFETY: the caller promises a NUL-terminated string from malloc(3) that is read here once and freed once.
    unsafe {
        let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
        free(text.cast());
        copy
    }
}

/// Text for C. An interior NUL ends it: no address or path of ours has one.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).expect("the text was cut at its first NUL")
}
