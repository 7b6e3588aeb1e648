//! The coordinator's pure state machine.
