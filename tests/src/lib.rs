//! Architecture, scenarios and clusters of real processes.
