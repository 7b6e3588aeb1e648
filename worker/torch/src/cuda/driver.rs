//! `libcuda.so.1`: the functions used, and their errors as values.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::path::PathBuf;
use std::ptr;

use super::{CudaError, Release};
use crate::library::{OpenLibrary, Scope, functions};

#[repr(C)]
pub(super) struct RawContext {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(crate) struct RawStream {
    _opaque: [u8; 0],
}

#[repr(C)]
pub(super) struct RawEvent {
    _opaque: [u8; 0],
}

/// Codes that are told apart.
pub(super) const NOT_READY: c_int = 600;
const NO_DEVICE: c_int = 100;

functions! {
    Functions {
        init = "cuInit": fn(c_uint) -> c_int;
        release = "cuDriverGetVersion": fn(*mut c_int) -> c_int;
        error_string = "cuGetErrorString": fn(c_int, *mut *const c_char) -> c_int;
        device_count = "cuDeviceGetCount": fn(*mut c_int) -> c_int;
        device = "cuDeviceGet": fn(*mut c_int, c_int) -> c_int;
        device_name = "cuDeviceGetName": fn(*mut c_char, c_int, c_int) -> c_int;
        device_uuid = "cuDeviceGetUuid_v2": fn(*mut [u8; 16], c_int) -> c_int;
        context = "cuDevicePrimaryCtxRetain": fn(*mut *mut RawContext, c_int) -> c_int;
        enter = "cuCtxSetCurrent": fn(*mut RawContext) -> c_int;
        memory = "cuMemGetInfo_v2": fn(*mut usize, *mut usize) -> c_int;
        stream_new = "cuStreamCreate": fn(*mut *mut RawStream, c_uint) -> c_int;
        stream_wait = "cuStreamWaitEvent": fn(*mut RawStream, *mut RawEvent, c_uint) -> c_int;
        stream_free = "cuStreamDestroy_v2": fn(*mut RawStream) -> c_int;
        event_new = "cuEventCreate": fn(*mut *mut RawEvent, c_uint) -> c_int;
        event_record = "cuEventRecord": fn(*mut RawEvent, *mut RawStream) -> c_int;
        event_query = "cuEventQuery": fn(*mut RawEvent) -> c_int;
        event_free = "cuEventDestroy_v2": fn(*mut RawEvent) -> c_int;
    }
}

/// The driver, initialised.
pub struct Driver {
    functions: Functions,
    release: Release,
}

// What follows is the one place where the driver is called. SAFETY of all of it: the functions have the types of cuda.h
// (CUDA 11.4 and newer) and may be called from any thread; out-pointers are to live locals; handles come from the driver
// and are used while their owner (`Context`, `Stream`, `Event`) lives.
impl Driver {
    /// Opens and initialises the driver that lies at the first of the places that has one.
    ///
    /// # Errors
    /// Without a driver, or without a GPU.
    pub fn open(places: &[PathBuf]) -> Result<Self, CudaError> {
        let library = OpenLibrary::open(places, Scope::Own).map_err(CudaError::NoDriver)?;
        // SAFETY: the types are those of cuda.h.
        let functions = unsafe { Functions::of(&library) }.map_err(CudaError::NoDriver)?;
        let mut driver = Self {
            functions,
            release: Release(0),
        };
        // SAFETY: as said above; the first call, and one that may be repeated.
        driver.checked("cuInit", unsafe { (driver.functions.init)(0) })?;
        // SAFETY: as said above.
        let code = unsafe { (driver.functions.release)(&raw mut driver.release.0) };
        driver.checked("cuDriverGetVersion", code)?;
        match driver.n_gpus()? {
            0 => Err(CudaError::NoGpu),
            _ => Ok(driver),
        }
    }

    /// The newest CUDA it supports.
    pub fn release(&self) -> Release {
        self.release
    }

    pub(super) fn n_gpus(&self) -> Result<u32, CudaError> {
        let mut n: c_int = 0;
        // SAFETY: as said above.
        let code = unsafe { (self.functions.device_count)(&raw mut n) };
        self.checked("cuDeviceGetCount", code)?;
        Ok(u32::try_from(n).unwrap_or(0))
    }

    pub(super) fn device(&self, ordinal: u32) -> Result<c_int, CudaError> {
        let mut device = 0;
        // SAFETY: as said above.
        let code = unsafe { (self.functions.device)(&raw mut device, ordinal.cast_signed()) };
        self.checked("cuDeviceGet", code).map(|()| device)
    }

    pub(super) fn device_name(&self, device: c_int) -> Result<String, CudaError> {
        let mut name = [0 as c_char; 128];
        // One byte less than there are: the last stays the end of the text, whatever is written.
        // SAFETY: as said above.
        let code = unsafe { (self.functions.device_name)(name.as_mut_ptr(), 127, device) };
        self.checked("cuDeviceGetName", code)?;
        // SAFETY: the array's last byte is NUL.
        Ok(unsafe { CStr::from_ptr(name.as_ptr()) }
            .to_string_lossy()
            .into_owned())
    }

    pub(super) fn device_uuid(&self, device: c_int) -> Result<[u8; 16], CudaError> {
        let mut uuid = [0; 16];
        // SAFETY: as said above.
        let code = unsafe { (self.functions.device_uuid)(&raw mut uuid, device) };
        self.checked("cuDeviceGetUuid", code).map(|()| uuid)
    }

    pub(super) fn context(&self, device: c_int) -> Result<*mut RawContext, CudaError> {
        let mut context = ptr::null_mut();
        // SAFETY: as said above.
        let code = unsafe { (self.functions.context)(&raw mut context, device) };
        self.checked("cuDevicePrimaryCtxRetain", code).map(|()| context)
    }

    pub(super) fn enter(&self, context: *mut RawContext) -> Result<(), CudaError> {
        // SAFETY: as said above.
        self.checked("cuCtxSetCurrent", unsafe { (self.functions.enter)(context) })
    }

    /// Free and total bytes of the current context's GPU.
    pub(super) fn memory(&self) -> Result<(usize, usize), CudaError> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: as said above.
        let code = unsafe { (self.functions.memory)(&raw mut free, &raw mut total) };
        self.checked("cuMemGetInfo", code).map(|()| (free, total))
    }

    pub(super) fn stream_new(&self, flags: c_uint) -> Result<*mut RawStream, CudaError> {
        let mut stream = ptr::null_mut();
        // SAFETY: as said above.
        let code = unsafe { (self.functions.stream_new)(&raw mut stream, flags) };
        self.checked("cuStreamCreate", code).map(|()| stream)
    }

    pub(super) fn stream_wait(&self, stream: *mut RawStream, event: *mut RawEvent) -> Result<(), CudaError> {
        // SAFETY: as said above.
        let code = unsafe { (self.functions.stream_wait)(stream, event, 0) };
        self.checked("cuStreamWaitEvent", code)
    }

    pub(super) fn stream_free(&self, stream: *mut RawStream) {
        // What a call that failed before left is told here again, to nobody.
        // SAFETY: as said above; the stream's owner is dropped.
        let _ = unsafe { (self.functions.stream_free)(stream) };
    }

    pub(super) fn event_new(&self, flags: c_uint) -> Result<*mut RawEvent, CudaError> {
        let mut event = ptr::null_mut();
        // SAFETY: as said above.
        let code = unsafe { (self.functions.event_new)(&raw mut event, flags) };
        self.checked("cuEventCreate", code).map(|()| event)
    }

    pub(super) fn event_record(&self, event: *mut RawEvent, stream: *mut RawStream) -> Result<(), CudaError> {
        // SAFETY: as said above.
        let code = unsafe { (self.functions.event_record)(event, stream) };
        self.checked("cuEventRecord", code)
    }

    /// Whether what was recorded is over.
    pub(super) fn event_is_over(&self, event: *mut RawEvent) -> Result<bool, CudaError> {
        // SAFETY: as said above.
        match unsafe { (self.functions.event_query)(event) } {
            NOT_READY => Ok(false),
            code => self.checked("cuEventQuery", code).map(|()| true),
        }
    }

    pub(super) fn event_free(&self, event: *mut RawEvent) {
        // SAFETY: as said above; the event's owner is dropped. An event that is not over is freed when it is.
        let _ = unsafe { (self.functions.event_free)(event) };
    }

    fn checked(&self, call: &'static str, code: c_int) -> Result<(), CudaError> {
        match code {
            0 => Ok(()),
            NO_DEVICE => Err(CudaError::NoGpu),
            code => Err(CudaError::Call {
                call,
                code,
                message: self.message(code),
            }),
        }
    }

    fn message(&self, code: c_int) -> String {
        let mut text = ptr::null();
        // SAFETY: as said above.
        let known = unsafe { (self.functions.error_string)(code, &raw mut text) };
        if known != 0 || text.is_null() {
            return "an error that the driver has no words for".to_owned();
        }
        // SAFETY: on success the text is a NUL-terminated string that lives as long as the driver.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}
