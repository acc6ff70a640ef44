//! From a checked graph to a network: the driver, and what rules of operators use to add nodes.

use std::{collections::HashSet, sync::Arc};

use lipbound_lipschitz::{Affine, Bias, Layer, ModelError, Network, NetworkBuilder, Node};
use lipbound_operators::LinearOperator;

use super::{Flow, Op};

/// The network under construction.
pub(super) struct Importer {
    builder: NetworkBuilder,
    /// Names taken so far.
    names: HashSet<String>,
    /// Bytes that may still be spent on tables the file does not hold: spread biases, indices, pooling windows.
    budget: usize,
}

impl Importer {
    /// Takes `count` elements of `size` bytes from the budget, before they are allocated.
    pub fn reserve(&mut self, count: usize, size: usize) -> Result<(), ModelError> {
        let bytes = count.checked_mul(size);
        match bytes.and_then(|bytes| self.budget.checked_sub(bytes)) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => Err(ModelError::model(format!(
                "needs a table of {count} elements, more memory than a file of this size may ask for"
            ))),
        }
    }

    /// Adds a node that reads `inputs` and makes a tensor of this ONNX shape. `parameters` is the count of its trained
    /// numbers. Several nodes may come from one operator.
    pub fn push(
        &mut self,
        op: &Op,
        layer: Layer,
        inputs: &[&Flow],
        shape: Vec<usize>,
        parameters: usize,
    ) -> Result<Flow, ModelError> {
        let mut name = op.name.clone();
        let mut count = 1;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{}#{count}", op.name);
        }
        let source = self.builder.push(Node {
            name,
            kind: op.kind.clone(),
            layer,
            inputs: inputs.iter().map(|flow| flow.source).collect(),
            shape: without_batch(&shape).to_vec(),
            parameters,
        })?;
        Ok(Flow { source, shape })
    }

    /// Adds an affine node.
    pub fn affine(
        &mut self,
        op: &Op,
        operator: Arc<dyn LinearOperator>,
        bias: Option<Bias>,
        input: &Flow,
        shape: Vec<usize>,
        parameters: usize,
    ) -> Result<Flow, ModelError> {
        self.push(op, Layer::Affine(Affine { operator, bias }), &[input], shape, parameters)
    }

    /// The same elements in another shape.
    pub fn reshaped(&mut self, op: &Op, input: &Flow, shape: Vec<usize>) -> Result<Flow, ModelError> {
        self.push(op, Layer::Identity, &[input], shape, 0)
    }
}

/// The shape of one example: a leading one is the batch where it is not the only axis.
pub(super) fn without_batch(shape: &[usize]) -> &[usize] {
    match shape {
        [] => &[1],
        [1, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    }
}
