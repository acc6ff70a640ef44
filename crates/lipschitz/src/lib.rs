//! ReLU networks and bounds on their local Lipschitz constants.
//!
//! [`Network`] is a validated graph of layers; [`layerwise`] bounds it layer by layer with the affine-ReLU theorem of
//! Avant and Morgansen (arXiv 2008.06141), every norm a bracket and every number rounded outward.

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
