//! Model, optimizer, step, checkpoint.
