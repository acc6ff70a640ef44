//! Norm brackets: the spectral norm of an operator as an interval with a stated guarantee.
//!
//! Lanczos and power iteration approach a norm from below, so what they return is not a bound. Every norm here is
//! `[lower, upper]`: small problems by a verified Cholesky factorisation ([`gram`]), large ones by Golub-Kahan-Lanczos
//! with a probabilistic upper end ([`lanczos`], [`tridiagonal`]), convolutions also by their symbol ([`fourier`]), with
//! cheap deterministic caps in all cases. What proves each end, rounding included, is in docs/soundness.md.

mod blocks;
mod bracket;
mod caps;
pub mod cholesky;
mod fortran;
pub mod fourier;
pub mod gram;
pub mod lanczos;
pub mod memory;
mod monitor;
pub mod ritz;
pub mod start;
mod symbol;
pub mod tridiagonal;

pub use bracket::{
    Guarantee, GuaranteeRequest, Method, NormBracket, NormOptions, OptionsError, Termination, norm_bracket,
};
pub use monitor::{Cancelled, Context, Monitor, NormProgress, Silent, Stop};
