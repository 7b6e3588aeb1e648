//! What can be wrong with a message that came over the wire.

use std::fmt::Display;

/// A message that does not mean anything; names the field. Fields are written `Message.field`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// A field that must be there is not.
    #[error("field {field} of the message is missing; the sender speaks another protocol")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A field holds what it cannot.
    #[error("field {field} of the message is not valid: {problem}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// The value of a field that must be there.
pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { field })
}

/// Names the field in a conversion's error.
pub(crate) fn invalid(field: &'static str) -> impl Fn(&dyn Display) -> WireError {
    move |problem| WireError::Invalid {
        field,
        problem: problem.to_string(),
    }
}
