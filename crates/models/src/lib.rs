//! Files and descriptions to networks and tensors: architecture JSON with safetensors, ONNX, npy, pictures.
//!
//! Nothing here knows about bounds. Every error names the file, layer or tensor and what would be right.

mod architecture;
mod error;
mod fields;
mod image;
mod layer;
mod npy;
mod onnx;
mod weights;

pub use architecture::{Architecture, affine_layer};
pub use error::FileError;
pub use image::{ImageOptions, load_image, read_image};
pub use npy::{load_npy, read_npy};
pub use onnx::{OnnxModel, OnnxOptions, load_onnx, read_onnx};
pub use weights::{Memory, Safetensors, TensorSource};

use std::path::Path;

use lipbound_lipschitz::Network;

/// A network from its architecture and a safetensors file.
///
/// # Errors
/// If the file cannot be read or does not hold what the architecture names.
pub fn load(architecture: &Architecture, weights: &Path) -> Result<Network, FileError> {
    let source = Safetensors::open(weights)?;
    architecture.build(&source).map_err(|error| FileError::Model(error.at(&weights.display().to_string())))
}
