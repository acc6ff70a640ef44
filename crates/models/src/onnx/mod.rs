//! ONNX models: bytes, then a checked graph, then constants folded and operators turned into layers.
//!
//! What has no exact rule is refused by name. The network that is bounded is the one of real arithmetic whose weights are
//! the numbers in the file; constant expressions are computed in the model's own precision, as a runtime would that folds
//! them.

mod array;
mod attributes;
mod budget;
mod constants;
mod external;
mod graph;
mod import;
mod inputs;
mod rules;
mod schema;
mod tensor;
mod topology;
mod value;
mod wire;

use std::{fs, path::Path};

use bytes::Bytes;
use lipbound_lipschitz::{ModelError, Network};

use crate::FileError;
use array::Array;
use budget::Budget;
use external::ExternalFiles;
use graph::{Graph, Op};
use import::Importer;
use schema::ModelProto;
use value::{Flow, Value};

/// How to read an ONNX model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnnxOptions {
    /// Shape of the input where the file leaves sizes open: that of one example without the batch dimension, or all of it.
    pub input_shape: Option<Vec<usize>>,
    /// The tensor to bound; the graph's only output if there is none.
    pub output: Option<String>,
}

/// A network from an ONNX file.
#[derive(Debug)]
pub struct OnnxModel {
    /// The network.
    pub network: Network,
    /// Name of the graph.
    pub name: Option<String>,
    /// What wrote the file, and its version.
    pub producer: Option<String>,
    /// Version of the operator set.
    pub opset: i64,
    /// Name of the input.
    pub input: String,
    /// Name of the output.
    pub output: String,
    /// Operators on constants that were computed.
    pub folded: usize,
    /// Nodes that the output does not need, which were left out.
    pub unused: usize,
    /// What makes the network another than the file's, for people: a final softmax that was cut, an unread input.
    pub notes: Vec<String>,
}

/// Reads a network from an ONNX file; external data are looked for beside it.
///
/// While it is read, at most four times the size of the file (with external data) and 64 MiB are allocated.
///
/// # Errors
/// If the file cannot be read, is no ONNX model, or holds what has no exact rule; the message names the node.
pub fn load_onnx(path: &Path, options: &OnnxOptions) -> Result<OnnxModel, FileError> {
    let at = |problem: String| FileError::file(path, problem);
    // A pipe or a device would be read for ever.
    if !fs::metadata(path).map_err(|error| at(error.to_string()))?.is_file() {
        return Err(at("is not a regular file".into()));
    }
    let bytes = fs::read(path).map_err(|error| at(error.to_string()))?;
    // A bare file name has the empty parent, which is the current folder.
    let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    read_onnx(bytes, folder, options).map_err(|error| match error {
        FileError::File(problem) => at(problem),
        FileError::Model(error) => FileError::Model(error.at(&path.display().to_string())),
    })
}

/// The same for bytes in memory. Without a folder, there are no external data.
///
/// # Errors
/// As [`load_onnx`].
pub fn read_onnx(bytes: Vec<u8>, folder: Option<&Path>, options: &OnnxOptions) -> Result<OnnxModel, FileError> {
    let invalid = |problem: String| FileError::File(format!("not a valid ONNX file: {problem}"));
    if bytes.is_empty() {
        return Err(invalid("it is empty".into()));
    }
    let bytes = Bytes::from(bytes);
    let mut budget = Budget::of_file(bytes.len());
    let (model, _) = wire::decode::<ModelProto>(&bytes, &mut budget).map_err(invalid)?;
    drop(bytes);
    network(model, folder, options, budget).map_err(FileError::Model)
}

fn network(
    model: ModelProto,
    folder: Option<&Path>,
    options: &OnnxOptions,
    mut budget: Budget,
) -> Result<OnnxModel, ModelError> {
    let mut graph = Graph::new(model, options, &mut budget)?;
    let mut files = ExternalFiles::beside(folder);
    let (unused, mut notes) = (graph.unused, std::mem::take(&mut graph.notes));
    let (name, producer, opset) = (graph.name.take(), graph.producer.take(), graph.opset);
    let (input, output) = (graph.input.clone(), graph.output.clone());
    let (network, folded) = import::network(graph, &mut files, budget, &mut notes)?;
    Ok(OnnxModel { network, name, producer, opset, input, output, folded, unused, notes })
}
