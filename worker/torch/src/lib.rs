//! The only C++ and the only unsafe around libtorch and its collectives.
