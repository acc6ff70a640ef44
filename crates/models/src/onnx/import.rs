//! From a checked graph to a network: the driver, and what rules of operators use to add nodes.

use std::{collections::HashMap, sync::Arc};

use lipbound_lipschitz::{Affine, Bias, Layer, ModelError, Network, NetworkBuilder, Node};
use lipbound_operators::LinearOperator;

use super::{
    Flow, Op, Value,
    array::{self, Array, Numbers},
    attributes,
    budget::Budget,
    constants::{self, FOLDS},
    external::ExternalFiles,
    graph::{self, Graph, place},
    rules::RULES,
    schema::NodeProto,
    tensor,
};

/// The network under construction.
pub(super) struct Importer {
    /// Checks nodes as they come.
    builder: NetworkBuilder,
    /// The same nodes, of which some may turn out to lead nowhere.
    nodes: Vec<Node>,
    /// Names taken so far, with the last number that was added to each.
    names: HashMap<String, usize>,
    /// What may still be spent on what the file does not hold: spread biases, indices, pooling windows.
    budget: Budget,
    notes: Vec<String>,
}

impl Importer {
    /// Says something of the network that people should know of every bound of it.
    pub fn note(&mut self, note: String) {
        if self.notes.len() < MOST_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Takes `count` elements of `size` bytes from the budget, before they are allocated.
    pub fn reserve(&mut self, count: usize, size: usize) -> Result<(), ModelError> {
        self.budget.take_elements(count, size)
    }

    /// A network for inputs of this ONNX shape.
    pub fn new(input_shape: &[usize], budget: Budget) -> Result<Self, ModelError> {
        let builder = NetworkBuilder::new(without_batch(input_shape).to_vec())?;
        Ok(Self { builder, nodes: Vec::new(), names: HashMap::new(), budget, notes: Vec::new() })
    }

    /// The network whose output is `output`, without the nodes that do not lead to it: those of which only the shape
    /// was read, for example.
    pub fn finish(self, output: &Flow) -> Result<Network, ModelError> {
        let mut used = vec![false; self.nodes.len() + 1];
        used[output.source] = true;
        for (i, node) in self.nodes.iter().enumerate().rev().filter(|(i, _)| *i < output.source) {
            if used[i + 1] {
                node.inputs.iter().for_each(|&input| used[input] = true);
            }
        }
        let mut builder = NetworkBuilder::new(self.builder.shape(0).to_vec())?;
        drop(self.builder);
        let mut places = vec![0; used.len()];
        for (i, mut node) in self.nodes.into_iter().enumerate().filter(|(i, _)| used[i + 1]) {
            node.inputs.iter_mut().for_each(|input| *input = places[*input]);
            places[i + 1] = builder.push(node)?;
        }
        builder.build()
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
        array::elements(&shape)?;
        if self.nodes.len() >= MOST_NODES {
            return Err(ModelError::model(format!("the network would have more than {MOST_NODES} layers")));
        }
        let mut name = op.name.clone();
        while self.names.contains_key(&name) {
            let count = self.names.get_mut(&op.name).expect("it was taken first");
            *count += 1;
            name = format!("{}#{count}", op.name);
        }
        self.names.insert(name.clone(), 1);
        // Names are kept in three places, and a node in two.
        self.budget.take(3 * name.len() + 2 * op.kind.len() + NODE)?;
        let node = Node {
            name,
            kind: op.kind.clone(),
            layer,
            inputs: inputs.iter().map(|flow| flow.source).collect(),
            shape: without_batch(&shape).to_vec(),
            parameters,
        };
        self.nodes.push(node.clone());
        let source = self.builder.push(node)?;
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

/// Most notes of a network.
const MOST_NOTES: usize = 20;
/// Most nodes of a network: each new name is compared with all others.
const MOST_NODES: usize = 1 << 16;
/// What a node takes, roundly, beside its names and tables.
const NODE: usize = 1024;

/// Reads a graph into a network; also tells how many operators on constants were computed. `notes` get what rules say.
pub(super) fn network(
    graph: Graph,
    files: &mut ExternalFiles,
    budget: Budget,
    notes: &mut Vec<String>,
) -> Result<(Network, usize), ModelError> {
    let importer =
        Importer::new(&graph.input_shape, budget).map_err(|error| error.at(&format!("input '{}'", graph.input)))?;
    let Graph { opset, input, input_shape, output, nodes, cut, initializers, readers, .. } = graph;
    let mut values = HashMap::new();
    values.insert(input, Value::Flow(Flow { source: 0, shape: input_shape }));
    let mut driver = Driver { importer, files, opset, output: &output, cut, initializers, readers, values, folded: 0 };
    for node in nodes {
        let place = place(&node);
        driver.node(node).map_err(|error| error.at(&place))?;
    }
    let Driver { mut importer, mut values, folded, .. } = driver;
    notes.append(&mut importer.notes);
    let network = match values.remove(&output) {
        Some(Value::Flow(flow)) if flow.source > 0 => importer.finish(&flow),
        // A network needs a node, even where it is the identity.
        Some(Value::Flow(flow)) => {
            let (name, kind, attributes) = (output.clone(), "Identity".into(), graph::Attributes::default());
            let identity = Op { name, kind, opset, inputs: Vec::new(), outputs: vec![output], attributes };
            let output = importer.reshaped(&identity, &flow, flow.shape.clone())?;
            importer.finish(&output)
        }
        _ => Err(ModelError::model(format!(
            "the output '{output}' does not depend on the input: there is no network to bound"
        ))),
    };
    Ok((network?, folded))
}

/// Goes through the nodes in order.
struct Driver<'a> {
    importer: Importer,
    files: &'a mut ExternalFiles,
    opset: i64,
    output: &'a str,
    cut: Option<String>,
    initializers: HashMap<String, bytes::Bytes>,
    /// How many inputs of nodes are still to read each name: at zero, its value goes.
    readers: HashMap<String, usize>,
    values: HashMap<String, Value>,
    /// Operators that were computed.
    folded: usize,
}

impl Driver<'_> {
    fn node(&mut self, node: NodeProto) -> Result<(), ModelError> {
        let name = graph::name(&node).to_string();
        let NodeProto { input: inputs, output: mut outputs, op_type: kind, attribute, .. } = node;
        // What nobody reads is left out, such as the mask of a dropout; but a batch normalisation's outputs say what it is.
        for name in outputs.iter_mut().skip(1).filter(|_| kind != "BatchNormalization") {
            if !self.readers.contains_key(name) && name != self.output {
                name.clear();
            }
        }
        let budget = &mut self.importer.budget;
        let mut decoded = attributes::read(&attribute, self.files, budget)?;
        let attributes = std::mem::take(&mut decoded.attributes);
        let mut op = Op { name, kind, opset: self.opset, inputs, outputs, attributes };
        let values =
            op.inputs.iter().map(|name| self.value(name)).collect::<Result<Vec<Option<Value>>, ModelError>>()?;
        let results = self.results(&mut op, &values)?;
        let rest = std::mem::take(&mut op.attributes);
        if self.cut.as_ref() != op.outputs.first() {
            rest.finish()?;
        }
        if op.outputs.len() > results.len() && op.outputs[results.len()..].iter().any(|name| !name.is_empty()) {
            return Err(ModelError::model(format!(
                "has {} outputs, but only {} of such an operator are known",
                op.outputs.len(),
                results.len()
            )));
        }
        drop(values);
        for (name, value) in op.outputs.iter().zip(results) {
            if let Value::Constant(array) = &value {
                debug_assert_eq!(array::elements(&array.shape).ok(), Some(array.len()));
            }
            if self.readers.contains_key(name) || name == self.output {
                self.values.insert(name.clone(), value);
            } else if let Value::Constant(array) = value {
                self.importer.budget.release(array);
            }
        }
        decoded.release(&mut self.importer.budget);
        for name in &op.inputs {
            self.read(name);
        }
        Ok(())
    }

    /// The value of a name; initialisers are decoded when they are first read.
    fn value(&mut self, name: &str) -> Result<Option<Value>, ModelError> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(value) = self.values.get(name) {
            return Ok(Some(value.clone()));
        }
        let bytes = self.initializers.remove(name).expect("the order has each name made before it is read");
        let value = Value::Constant(tensor::read(&bytes, self.files, &mut self.importer.budget)?);
        self.values.insert(name.into(), value.clone());
        Ok(Some(value))
    }

    /// One reader less.
    fn read(&mut self, name: &str) {
        let Some(count) = self.readers.get_mut(name) else { return };
        *count -= 1;
        if *count == 0
            && name != self.output
            && let Some(Value::Constant(array)) = self.values.remove(name)
        {
            self.importer.budget.release(array);
        }
    }

    fn results(&mut self, op: &mut Op, values: &[Option<Value>]) -> Result<Vec<Value>, ModelError> {
        if self.cut.as_ref() == op.outputs.first() {
            return Ok(values.iter().flatten().take(1).cloned().collect());
        }
        if let ("Shape" | "Size", [Some(Value::Flow(flow))]) = (op.kind.as_str(), values) {
            self.folded += 1;
            return Ok(vec![Value::Constant(constants::of_shape(&mut self.importer.budget, op, &flow.shape)?)]);
        }
        let constants: Option<Vec<Option<Array>>> = values
            .iter()
            .map(|value| match value {
                None => Some(None),
                Some(Value::Constant(array)) => Some(Some(array.clone())),
                Some(Value::Flow(_)) => None,
            })
            .collect();
        if let Some(constants) = constants {
            let Some((_, fold)) = FOLDS.iter().find(|(kind, _)| *kind == op.kind) else {
                return Err(unsupported(op, "on constants", FOLDS.iter().map(|(kind, _)| *kind).collect()));
            };
            self.folded += usize::from(op.kind != "Constant");
            let arrays = fold(&mut self.importer.budget, op, &constants)?;
            return Ok(arrays.into_iter().map(Value::Constant).collect());
        }
        let Some((_, rule)) = RULES.iter().find(|(kind, _)| *kind == op.kind) else {
            let mut known: Vec<&str> = RULES.iter().map(|(kind, _)| *kind).chain(["Shape", "Size"]).collect();
            known.extend(FOLDS.iter().map(|(kind, _)| *kind).filter(|kind| *kind == "Constant"));
            return Err(unsupported(op, "on a tensor that depends on the input", known));
        };
        // A rule may widen each constant once, for a layer that keeps its weights in double precision. If the layer took
        // the numbers themselves instead, they are shared now, and nothing was widened.
        let floats = || {
            values.iter().flatten().filter_map(|value| match value {
                Value::Constant(array) if !matches!(array.numbers, Numbers::I64(_)) => Some(array),
                _ => None,
            })
        };
        let before: Vec<usize> = floats().map(Array::holders).collect();
        for array in floats() {
            self.importer.budget.take_elements(array.len(), size_of::<f64>())?;
        }
        let results = rule(&mut self.importer, op, values)?;
        for (array, before) in floats().zip(before) {
            if array.holders() > before {
                self.importer.budget.give(array.len() * size_of::<f64>());
            }
        }
        Ok(results)
    }
}

fn unsupported(op: &Op, place: &str, mut known: Vec<&str>) -> ModelError {
    known.sort_unstable();
    known.dedup();
    let why = if CURVED.contains(&op.kind.as_str()) { ", since it is not piecewise linear" } else { "" };
    let instead = match op.inputs.first() {
        Some(input) if !input.is_empty() && !why.is_empty() => {
            format!(" (to bound the network up to what it reads, choose '{input}' as option 'output')")
        }
        _ => String::new(),
    };
    ModelError::model(format!(
        "the operator '{}' is not supported {place}{why}{instead}; supported are {}",
        op.kind,
        known.join(", ")
    ))
}

/// Operators that people meet most, of those that no piecewise linear rule can be exact for.
const CURVED: [&str; 24] = [
    "Celu",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "GroupNormalization",
    "HardSwish",
    "InstanceNormalization",
    "LayerNormalization",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "Mish",
    "Pow",
    "RMSNormalization",
    "ReduceL2",
    "Selu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Swish",
    "Tanh",
];

/// The shape of one example: a leading one is the batch where it is not the only axis.
pub(super) fn without_batch(shape: &[usize]) -> &[usize] {
    match shape {
        [] => &[1],
        [1, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    }
}
