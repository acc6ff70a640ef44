//! A validated graph of layers.

use std::sync::OnceLock;

use crate::{Affine, Digest, Layer, ModelError, Parts, digest, plan::Plan};

/// A layer in its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name of its layer; layers have different names.
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

impl Node {
    /// Units and windows.
    fn units(&self) -> usize {
        match self.layer {
            Layer::Unit(_) | Layer::MaxPool(_) => self.shape.iter().product(),
            _ => 0,
        }
    }
}

/// A network: one input, nodes in topological order, the last of which is the output.
#[derive(Debug)]
pub struct Network {
    input_shape: Vec<usize>,
    nodes: Vec<Node>,
    /// Where the nodes of each layer end.
    ends: Vec<usize>,
    plan: Plan,
    digest: OnceLock<Digest>,
}

/// Builds a [`Network`], node after node.
#[derive(Debug)]
pub struct NetworkBuilder {
    input_shape: Vec<usize>,
    nodes: Vec<Node>,
    ends: Vec<usize>,
}

/// A layer as its model has it: one node, or a few behind each other that share its name.
#[derive(Clone, Debug)]
pub struct LayerView<'a> {
    /// The last node.
    pub node: &'a Node,
    /// Where its inputs come from: 0 is the network's input, `i + 1` layer `i`.
    pub inputs: Vec<usize>,
    /// Trained numbers.
    pub parameters: usize,
    /// Units and windows.
    pub units: usize,
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
        Ok(Self { input_shape, nodes: Vec::new(), ends: Vec::new() })
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

    /// Adds a layer of one node and returns its source number.
    ///
    /// # Errors
    /// If the name is taken, an input does not exist, or the layer does not fit its inputs.
    pub fn push(&mut self, node: Node) -> Result<usize, ModelError> {
        let Node { name, kind, layer, inputs, shape, parameters } = node;
        self.push_parts(&name, &kind, inputs, vec![(layer, shape)], parameters)
    }

    /// Adds a layer of some nodes: the first reads `inputs`, each of the others the one before it. Returns the source
    /// number of the last.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_parts(
        &mut self,
        name: &str,
        kind: &str,
        mut inputs: Vec<usize>,
        parts: Parts,
        parameters: usize,
    ) -> Result<usize, ModelError> {
        let place = format!("layer {} '{name}' ({kind})", self.ends.len());
        if let Some(i) = self.ends.iter().position(|&end| self.nodes[end - 1].name == name) {
            return Err(ModelError::model(format!("{place}: the name is already that of layer {i}")));
        }
        if parts.is_empty() {
            return Err(ModelError::model(format!("{place}: has no node")));
        }
        let last = parts.len() - 1;
        for (k, (layer, shape)) in parts.into_iter().enumerate() {
            let parameters = if k == last { parameters } else { 0 };
            let node = Node { name: name.into(), kind: kind.into(), layer, inputs, shape, parameters };
            inputs = vec![self.push_node(node).map_err(|error| error.at(&place))?];
        }
        self.ends.push(self.nodes.len());
        Ok(self.nodes.len())
    }

    fn push_node(&mut self, node: Node) -> Result<usize, ModelError> {
        if let Some(input) = node.inputs.iter().find(|&&i| i > self.nodes.len()) {
            return Err(ModelError::model(format!("input {input} does not exist yet")));
        }
        let expected = if matches!(node.layer, Layer::Add | Layer::Concat) { node.inputs.len().max(2) } else { 1 };
        if node.inputs.len() != expected {
            return Err(ModelError::model(format!("needs {expected} inputs, got {}", node.inputs.len())));
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
                "does not take inputs of {lengths:?} elements to an output of shape {:?}",
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
                let layer = self.ends.partition_point(|&end| end <= i);
                return Err(ModelError::model(format!(
                    "layer {layer} '{}' ({}): nothing reads its output",
                    node.name, node.kind
                )));
            }
            node.inputs.iter().for_each(|&input| used[input] = true);
        }
        let plan = Plan::new(&self.input_shape, &self.nodes);
        Ok(Network { input_shape: self.input_shape, nodes: self.nodes, ends: self.ends, plan, digest: OnceLock::new() })
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

    /// The layers as their model has them, in topological order.
    #[must_use]
    pub fn layers(&self) -> Vec<LayerView<'_>> {
        let layer_of = |source: usize| {
            // Other layers read the last node of one.
            if source == 0 { 0 } else { self.ends.partition_point(|&end| end < source) + 1 }
        };
        let mut start = 0;
        self.ends
            .iter()
            .map(|&end| {
                let nodes = &self.nodes[start..end];
                start = end;
                LayerView {
                    node: &nodes[nodes.len() - 1],
                    inputs: nodes[0].inputs.iter().map(|&input| layer_of(input)).collect(),
                    parameters: nodes.iter().map(|node| node.parameters).sum(),
                    units: nodes.iter().map(Node::units).sum(),
                }
            })
            .collect()
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
        let trace = crate::trace::Trace::new(&self.plan, &x, &crate::Quiet, &mut ws).expect("nobody cancels");
        let output = trace.output().to_vec();
        crate::Tensor::f64(self.output_shape().to_vec(), output)
            .map_err(|error| error.at("the output of the network overflows"))
    }
}
