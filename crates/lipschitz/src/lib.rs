//! ReLU networks and bounds on their local Lipschitz constants.
//!
//! [`Network`] is a validated graph of layers, made by a [`NetworkBuilder`]. Its constants ([`Kind`]) over the ball of radius
//! `eps` around an input `x0` are, in the Euclidean norm,
//!
//! ```text
//! centred   sup |f(x) - f(x0)| / |x - x0|    x in the ball
//! uniform   sup |f(x) - f(x')| / |x - x'|    x, x' in the ball
//! global    the same over all pairs
//! ```
//!
//! [`bound`] and [`global_bound`] answer with a [`BoundResult`] whose `upper` is not exceeded and whose `lower` is attained.
//! Every norm is a bracket of [`lipbound_spectral`], and every number is rounded outward (docs/soundness.md). There are two
//! ways to an upper end:
//!
//! - **Layerwise**, the theorem of T. Avant and K. Morgansen (arXiv 2008.06141), composed over stages as in arXiv 2104.14672:
//!   `z = unit(A x + b)` has at most the constant `|R A D|`, `R` being the largest secant slopes and `D` the mask of inputs
//!   that move; the next stage sees a ball of radius `eps |R A D|`. The bound is the product.
//! - **The certificate** (docs/certificate.md): with slope intervals `[c - delta, c + delta]`, increments obey
//!   `dz = c dv + e`, `|e| <= delta |dv|`. If `K : (kappa dx, w e) -> (dy, w delta dv)` has `|K| <= sigma` for any weights
//!   `w > 0`, the constant is at most `kappa max(1, sigma)^h`, `h` the number of levels. The best weights give the optimum of
//!   LipSDP with local slopes (Fazlyab et al., NeurIPS 2019).
//!
//! [`certified_radius`] turns constants of margins into a distance within which the class cannot change, `min(eps, min_j m_j /
//! L_j)` for the best `eps`. [`bound_with_certificates`] writes down what others need to [`check`] a bound without trusting
//! whoever made it.

mod attack;
mod attained;
mod bound;
mod branches;
#[cfg(test)]
mod cancellation;
mod certificate;
mod check;
mod claims;
mod cost;
mod digest;
mod document;
mod error;
#[cfg(test)]
mod example;
mod flow;
mod functionals;
mod increments;
mod layer;
mod layers;
pub mod layerwise;
mod ledger;
mod margins;
mod memory;
mod merge;
mod network;
mod nominal;
mod phases;
mod plan;
mod pool;
mod pooling;
mod prove;
mod radius;
mod ranges;
mod result;
mod scaled;
mod tensor;
mod trace;
mod unit;
mod walk;
mod weights;

pub use attack::Adversarial;
pub use attained::Witness;
pub use bound::{
    SweepPoint, bound, bound_functionals, bound_with_certificates, global_bound, global_bound_functionals,
    global_bound_with_certificate, sweep,
};
pub use check::{CHECK_STEPS, CheckReport, check};
pub use claims::{Certificate, StageClaims, WholeClaim};
pub use cost::Cost;
pub use digest::{Digest, DigestError};
pub use document::{Document, DocumentError};
pub use error::{BoundError, ErrorKind, ModelError};
pub use layer::{Affine, Bias, Layer};
pub use layers::{
    AvgPool2d, BatchNorm2d, Conv2dOptions, ConvTranspose2dOptions, MaxPool2dOptions, Parts, abs, add, avg_pool2d,
    batch_norm2d, concat, conv_transpose2d, conv2d, flatten, global_avg_pool2d, global_max_pool2d, linear, max_pool2d,
    maximum, minimum, normalize, pad2d, permute, prelu, reshape, sparse, transposed_kernel, unit, upsample2d,
};
pub use margins::Margin;
pub use memory::PredictedMemory;
pub use network::{LayerView, Network, NetworkBuilder, Node};
pub use pool::{MaxPool, PoolGeometry};
pub use radius::{Radius, RadiusOptions, RadiusTermination, ZeroRadius, certified_radius};
pub use result::{
    Attempts, BoundMonitor, BoundOptions, BoundResult, FunctionalBound, GlobalOptions, LayerReport, Method,
    MethodRequest, Quiet, StageKind, UnitCounts,
};
pub use tensor::{Tensor, TensorData};
pub use unit::{Kind, Slope, Unit, Units};
