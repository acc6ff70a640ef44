//! A validated graph of layers.

use std::sync::OnceLock;

use crate::{Affine, Digest, Layer, ModelError, digest, plan::Plan};

/// A layer in its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Unique name.
    pub name: String,
    /// What it is called in its model, for people: `conv2d`, `relu`, ...
    pub kind: String,
    /// Its function.
    pub layer: Layer,
    /// Where its inputs come from: 0 is the network's input, `i + 1` node `i`, always an earlier one.
    pub inputs: Vec<usize>,
    /// Output shape, without batch dimension.
    pub shape: Vec<usize>,
    /// Trained numbers.
    pub parameters: usize,
}

/// A network: one input, nodes in topological order, the last of which is the output.
#[derive(Debug)]
pub struct Network {
    input_shape: Vec<usize>,
    nodes: Vec<Node>,
    plan: Plan,
    digest: OnceLock<Digest>,
}

/// Builds a [`Network`], node after node.
#[derive(Debug)]
pub struct NetworkBuilder {
    input_shape: Vec<usize>,
    nodes: Vec<Node>,
}

impl NetworkBuilder {
    /// A network for inputs of this shape (one example, no batch dimension).
    ///
    /// # Errors
    /// If the shape is empty, has a zero, or 2^31 elements or more.
    pub fn new(input_shape: Vec<usize>) -> Result<Self, ModelError> {
        let elements = input_shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if input_shape.is_empty() || !elements.is_some_and(|n| n > 0 && n < 1 << 31) {
            return Err(ModelError::shape(format!(
                "the input shape must have at least one axis, no zero and fewer than 2^31 elements, got {input_shape:?}"
            )));
        }
        Ok(Self { input_shape, nodes: Vec::new() })
    }

    /// The shape of source `source` (0 the input, `i + 1` node `i`).
    ///
    /// # Panics
    /// If there is no such source yet.
    #[must_use]
    pub fn shape(&self, source: usize) -> &[usize] {
        if source == 0 { &self.input_shape } else { &self.nodes[source - 1].shape }
    }

    /// The source that the next node of a chain reads.
    #[must_use]
    pub fn last(&self) -> usize {
        self.nodes.len()
    }

    /// Adds a node and returns its source number.
    ///
    /// # Errors
    /// If the name is taken, an input does not exist, or the layer does not fit its inputs.
    pub fn push(&mut self, node: Node) -> Result<usize, ModelError> {
        let place = format!("layer {} '{}' ({})", self.nodes.len(), node.name, node.kind);
        if let Some(i) = self.nodes.iter().position(|n| n.name == node.name) {
            return Err(ModelError::model(format!("{place}: the name is already that of layer {i}")));
        }
        if let Some(input) = node.inputs.iter().find(|&&i| i > self.nodes.len()) {
            return Err(ModelError::model(format!("{place}: input {input} does not exist yet")));
        }
        let expected = if matches!(node.layer, Layer::Add | Layer::Concat) { node.inputs.len().max(2) } else { 1 };
        if node.inputs.len() != expected {
            return Err(ModelError::model(format!("{place}: needs {expected} inputs, got {}", node.inputs.len())));
        }
        let lengths: Vec<usize> = node.inputs.iter().map(|&i| self.shape(i).iter().product()).collect();
        let out: usize = node.shape.iter().product();
        let fits = match &node.layer {
            Layer::Affine(Affine { operator, bias }) => {
                operator.cols() == lengths[0]
                    && operator.rows() == out
                    && bias
                        .as_ref()
                        .is_none_or(|b| b.values.len() == out && b.errors.as_ref().is_none_or(|e| e.len() == out))
            }
            Layer::Unit(units) => lengths[0] == out && units.fit(out),
            Layer::Identity => lengths[0] == out,
            Layer::MaxPool(pool) => pool.inputs() == lengths[0] && pool.outputs() == out,
            Layer::Add => node.inputs.iter().all(|&i| self.shape(i) == node.shape),
            Layer::Concat => lengths.iter().sum::<usize>() == out,
        };
        if !fits {
            return Err(ModelError::shape(format!(
                "{place}: does not take inputs of {lengths:?} elements to an output of shape {:?}",
                node.shape
            )));
        }
        self.nodes.push(node);
        Ok(self.nodes.len())
    }

    /// The network whose output is the last node.
    ///
    /// # Errors
    /// If there is no node, or one that the output does not depend on.
    pub fn build(self) -> Result<Network, ModelError> {
        if self.nodes.is_empty() {
            return Err(ModelError::model("a network needs at least one layer, got none"));
        }
        let mut used = vec![false; self.nodes.len() + 1];
        used[self.nodes.len()] = true;
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if !used[i + 1] {
                return Err(ModelError::model(format!(
                    "layer {i} '{}' ({}): nothing reads its output",
                    node.name, node.kind
                )));
            }
            node.inputs.iter().for_each(|&input| used[input] = true);
        }
        let plan = Plan::new(&self.input_shape, &self.nodes);
        Ok(Network { input_shape: self.input_shape, nodes: self.nodes, plan, digest: OnceLock::new() })
    }
}

impl Network {
    /// Shape of the input, without batch dimension.
    #[must_use]
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// Shape of the output.
    #[must_use]
    pub fn output_shape(&self) -> &[usize] {
        &self.nodes[self.nodes.len() - 1].shape
    }

    /// The nodes, in topological order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Multiply-adds of a forward pass.
    #[must_use]
    pub fn multiply_adds(&self) -> usize {
        self.nodes
            .iter()
            .map(|node| match &node.layer {
                Layer::Affine(affine) => affine.operator.multiply_adds(),
                _ => 0,
            })
            .sum()
    }

    /// SHA-256 of what the network computes: its graph, its shapes and every coefficient, bit for bit. Names do not
    /// count, nor does whether weights came in single or double precision. The first call reads all weights.
    #[must_use]
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| digest::of_network(&self.input_shape, &self.nodes))
    }

    /// The fused stages.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Checks an input and widens it. A leading batch dimension of one is accepted.
    ///
    /// # Errors
    /// If its shape is not the network's.
    pub fn read_input(&self, input: &crate::Tensor) -> Result<Vec<f64>, ModelError> {
        let single = input.shape().strip_prefix(&[1]).is_some_and(|rest| rest == self.input_shape);
        if input.shape() != self.input_shape && !single {
            return Err(ModelError::shape(format!(
                "the input has shape {:?}, but the network takes {:?}",
                input.shape(),
                self.input_shape
            )));
        }
        let values = input.to_f64();
        if let Some(i) = values.iter().position(|v| v.abs() > 1e45) {
            return Err(ModelError::value(format!(
                "element {i} of the input is {:e}; inputs must not exceed 1e45 in magnitude",
                values[i]
            )));
        }
        Ok(values)
    }

    /// The output for an input, in f64.
    ///
    /// # Errors
    /// If the input's shape is not the network's.
    pub fn evaluate(&self, input: &crate::Tensor) -> Result<crate::Tensor, ModelError> {
        let x = self.read_input(input)?;
        let mut ws = lipbound_operators::Workspace::new();
        let values = self.plan.forward(&x, &crate::Quiet, &mut ws).expect("nobody cancels");
        let output = values.into_iter().next_back().expect("a plan has at least its input");
        crate::Tensor::f64(self.output_shape().to_vec(), output)
            .map_err(|error| error.at("the output of the network overflows"))
    }
}
