//! ONNX models: bytes, then a checked graph, then constants folded and operators turned into layers.
//!
//! What has no exact rule is refused by name. The network that is bounded is the one of real arithmetic whose weights are
//! the numbers in the file; constant expressions are computed in the model's own precision, as a runtime would that folds
//! them.

mod array;
mod constants;
mod graph;
mod import;
mod rules;
mod value;

use array::Array;
use graph::Op;
use import::Importer;
use value::{Flow, Value};
