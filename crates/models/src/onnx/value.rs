//! What a name in an ONNX graph stands for while the graph is read.

use super::Array;

/// A tensor that depends on the network's input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Flow {
    /// Its source in the network under construction: 0 the input, `i + 1` node `i`.
    pub source: usize,
    /// Its full ONNX shape, with the batch dimension (which is one).
    pub shape: Vec<usize>,
}

impl Flow {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A tensor of an ONNX graph.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Known before any input is.
    Constant(Array),
    /// Depends on the input.
    Flow(Flow),
}
