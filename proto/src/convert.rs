//! Conversions between the wire and m2t-common, one file a part of the protocol.

mod evaluation;
mod machine_link;
mod report;
mod start_from;
mod status;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::error::{WireError, invalid, required};

/// A duration for the wire. Beyond 292 billion years it saturates.
fn duration_to_wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).expect("below a billion"),
    }
}

/// A duration from the wire: it must be there and not negative.
fn duration_from_wire(
    duration: Option<prost_types::Duration>,
    field: &'static str,
) -> Result<Duration, WireError> {
    let duration = required(duration, field)?;
    let negative = || invalid(field)(&"a negative duration");
    let seconds = u64::try_from(duration.seconds).map_err(|_| negative())?;
    let nanos = u32::try_from(duration.nanos).map_err(|_| negative())?;
    if nanos >= 1_000_000_000 {
        return Err(invalid(field)(&"a billion nanoseconds or more"));
    }
    Ok(Duration::new(seconds, nanos))
}
