//! Norm brackets: the spectral norm of an operator as an interval with a stated guarantee.
//!
//! Lanczos and power iteration approach a norm from below, so what they return is not a bound. Every norm here is
//! `[lower, upper]`: small problems by a verified Cholesky factorisation ([`gram`]), large ones by Golub-Kahan-Lanczos
//! with a probabilistic upper end ([`lanczos`], [`tridiagonal`]), convolutions also by their symbol ([`fourier`]), with
//! cheap deterministic caps in all cases. What proves each end, rounding included, is in docs/soundness.md.
//!
//! [`norm_bracket`] chooses. What its upper end may rest on:
//!
//! | [`Method`] | bound | guarantee | source |
//! | --- | --- | --- | --- |
//! | Cholesky | `t I - A A^T` has a factor, so `\|A\| <= sqrt(t)` | proof | Rump, BIT 46, 2006 |
//! | Lanczos | the start `v1` has `\|<x, v1>\| >= p sqrt(pi / (2 (N - 1)))` but for probability `p`, which bounds the norm | probabilistic | Hochstenbach, J. Sci. Comput. 57, 2013 |
//! | Fourier | `max_j \|F(w_j)\| / cos(n pi / 2M)` over a grid of M frequencies | proof | Riesz's lemma; head of `fourier.rs` |
//! | Frobenius | `sqrt(sum of squared row norms)` | proof | |
//! | row and column sums | `sqrt(\|A\|_1 \|A\|_inf)` | proof | |
//! | Collatz-Wielandt | `sqrt(max_i (\|A\|^T \|A\| x)_i / x_i)` for any `x > 0` | proof | Collatz 1942, Wielandt 1950 |
//!
//! The lower end is a Ritz value less its rounding (Paige, Linear Algebra Appl. 34, 1980), or `|A w| / |w|`: always certain.

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
