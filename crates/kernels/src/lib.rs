//! Dense and convolution kernels on slices.
//!
//! The lowest room of the house: it knows shapes and numbers, and neither operators nor networks.
//! [`packed`] has convolutions, [`gemv`] dense matrices; [`mod@reference`] is the textbook loop that they are tested
//! against.

pub mod aligned;
pub mod gemv;
pub mod isa;
pub mod packed;
pub mod pool;
pub mod reference;
pub mod shape;

pub use shape::{ConvShape, ShapeError};
