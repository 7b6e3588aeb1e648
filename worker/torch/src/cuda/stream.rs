//! A stream of our own beside libtorch's, and events between the two.
//!
//! libtorch computes on the default stream of the legacy kind, which every other stream of the ordinary kind waits for; ours is of the
//! other kind, so that what runs on it overlaps with what libtorch computes, and only events make an order.

use std::ffi::c_uint;
use std::ptr;

use super::driver::{RawEvent, RawStream};
use super::{Context, CudaError};

/// `CU_STREAM_NON_BLOCKING`: no order with the default stream.
const APART: c_uint = 1;
/// `CU_EVENT_DISABLE_TIMING`: an order and nothing else.
const WITHOUT_TIME: c_uint = 2;

/// A stream of our own.
pub(crate) struct Stream {
    context: Context,
    raw: *mut RawStream,
}

// SAFETY: streams are bound to no thread, only to their context, which every call makes current.
unsafe impl Send for Stream {}

impl Stream {
    pub(crate) fn new(context: &Context) -> Result<Self, CudaError> {
        context.enter()?;
        Ok(Self {
            context: context.clone(),
            raw: context.driver.stream_new(APART)?,
        })
    }

    /// What comes on this stream from now on waits for the event, on the GPU; this thread does not.
    pub(crate) fn wait(&self, event: &Event) -> Result<(), CudaError> {
        self.context.enter()?;
        self.context.driver.stream_wait(self.raw, event.raw)
    }

    /// An event that is over when all that is on this stream by now is.
    pub(crate) fn event(&self) -> Result<Event, CudaError> {
        Event::recorded(&self.context, self.raw)
    }

    /// For NCCL, while the stream lives.
    pub(crate) fn raw(&self) -> *mut RawStream {
        self.raw
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            self.context.driver.stream_free(self.raw);
        }
    }
}

/// A point in a stream's work.
pub(crate) struct Event {
    context: Context,
    raw: *mut RawEvent,
}

// SAFETY: as of a stream.
unsafe impl Send for Event {}

impl Event {
    /// An event that is over when all that libtorch has asked the GPU for by now is.
    pub(crate) fn of_libtorch(context: &Context) -> Result<Self, CudaError> {
        Self::recorded(context, ptr::null_mut())
    }

    fn recorded(context: &Context, stream: *mut RawStream) -> Result<Self, CudaError> {
        context.enter()?;
        let event = Self {
            context: context.clone(),
            raw: context.driver.event_new(WITHOUT_TIME)?,
        };
        context.driver.event_record(event.raw, stream)?;
        Ok(event)
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> Result<bool, CudaError> {
        self.context.enter()?;
        self.context.driver.event_is_over(self.raw)
    }

    /// What libtorch asks the GPU for from now on waits for it.
    pub(crate) fn before_libtorch(&self) -> Result<(), CudaError> {
        self.context.enter()?;
        self.context.driver.stream_wait(ptr::null_mut(), self.raw)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            self.context.driver.event_free(self.raw);
        }
    }
}
