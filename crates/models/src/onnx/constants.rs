//! Operators whose inputs are all constant.
