//! Norm brackets: the spectral norm of an operator as an interval with a stated guarantee.
//!
//! Lanczos and power iteration approach a norm from below, so what they return is not a bound. Every norm here is
//! `[lower, upper]`: small problems by a verified Cholesky factorisation ([`gram`]), large ones by Golub-Kahan-Lanczos
//! with a probabilistic upper end ([`lanczos`], [`tridiagonal`]), with cheap deterministic caps in either case.

mod bracket;
mod fortran;
pub mod gram;
pub mod lanczos;
mod monitor;
pub mod start;
pub mod tridiagonal;

pub use bracket::{
    Guarantee, GuaranteeRequest, Method, NormBracket, NormOptions, OptionsError, Termination, norm_bracket,
};
pub use monitor::{Cancelled, Monitor, NormProgress, Silent};
