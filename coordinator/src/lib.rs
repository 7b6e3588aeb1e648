//! The coordinator's shell.
