//! The daemon of a machine, and m2t, the operator tool.
