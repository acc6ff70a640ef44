//! Dense and convolution kernels on slices.
//!
//! The lowest room of the house: it knows shapes and numbers, and neither operators nor networks.
//! [`direct`] is plain, portable code for any convolution; [`mod@reference`] is the textbook loop that everything
//! else is tested against.

pub mod aligned;
pub mod direct;
pub mod gemv;
pub mod isa;
pub mod packed;
pub mod pool;
pub mod reference;
pub mod shape;

pub use shape::{ConvShape, ShapeError};
