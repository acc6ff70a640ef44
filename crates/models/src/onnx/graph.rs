//! The graph of an ONNX file, decoded and checked: names resolve, operators are in topological order.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use lipbound_lipschitz::ModelError;

use super::{
    Array, OnnxOptions,
    budget::Budget,
    inputs,
    schema::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto},
    topology, wire,
};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Attribute {
    Int(i64),
    Float(f32),
    String(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Tensor(Array),
    /// A kind that no supported operator takes: a graph, a sparse tensor, a list of strings.
    Other(&'static str),
}

/// The attributes of an operator. Rules take those they know; what is left is an error, since it could mean anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    rest: BTreeMap<String, Attribute>,
}

impl Attributes {
    pub fn new(rest: BTreeMap<String, Attribute>) -> Self {
        Self { rest }
    }

    pub fn take(&mut self, name: &str) -> Option<Attribute> {
        self.rest.remove(name)
    }

    fn wrong(name: &str, expected: &str, got: &Attribute) -> ModelError {
        // Not what it holds, which may be of any length.
        let got = match got {
            Attribute::Int(value) => format!("the whole number {value}"),
            Attribute::Float(value) => format!("the number {value}"),
            Attribute::String(_) => "a string".into(),
            Attribute::Ints(values) => format!("a list of {} whole numbers", values.len()),
            Attribute::Floats(values) => format!("a list of {} numbers", values.len()),
            Attribute::Tensor(array) => format!("a tensor of shape {:?}", array.shape),
            Attribute::Other(what) => (*what).into(),
        };
        ModelError::model(format!("attribute '{name}' must be {expected}, got {got}"))
    }

    pub fn optional_int(&mut self, name: &str) -> Result<Option<i64>, ModelError> {
        match self.take(name) {
            None => Ok(None),
            Some(Attribute::Int(value)) => Ok(Some(value)),
            Some(other) => Err(Self::wrong(name, "a whole number", &other)),
        }
    }

    pub fn int(&mut self, name: &str, default: i64) -> Result<i64, ModelError> {
        Ok(self.optional_int(name)?.unwrap_or(default))
    }

    pub fn ints(&mut self, name: &str) -> Result<Option<Vec<i64>>, ModelError> {
        match self.take(name) {
            None => Ok(None),
            Some(Attribute::Ints(value)) => Ok(Some(value)),
            Some(other) => Err(Self::wrong(name, "a list of whole numbers", &other)),
        }
    }

    pub fn optional_float(&mut self, name: &str) -> Result<Option<f32>, ModelError> {
        match self.take(name) {
            None => Ok(None),
            Some(Attribute::Float(value)) => Ok(Some(value)),
            Some(other) => Err(Self::wrong(name, "a number", &other)),
        }
    }

    pub fn float(&mut self, name: &str, default: f32) -> Result<f32, ModelError> {
        Ok(self.optional_float(name)?.unwrap_or(default))
    }

    pub fn floats(&mut self, name: &str) -> Result<Option<Vec<f32>>, ModelError> {
        match self.take(name) {
            None => Ok(None),
            Some(Attribute::Floats(value)) => Ok(Some(value)),
            Some(other) => Err(Self::wrong(name, "a list of numbers", &other)),
        }
    }

    pub fn string(&mut self, name: &str, default: &str) -> Result<String, ModelError> {
        match self.take(name) {
            None => Ok(default.into()),
            Some(Attribute::String(value)) => Ok(value),
            Some(other) => Err(Self::wrong(name, "a string", &other)),
        }
    }

    /// All attributes must have been taken.
    pub fn finish(self) -> Result<(), ModelError> {
        match self.rest.keys().next() {
            None => Ok(()),
            Some(name) => Err(ModelError::model(format!("attribute '{name}' is not known for this operator"))),
        }
    }
}

/// One operator.
#[derive(Clone, Debug)]
pub(super) struct Op {
    /// Its own name, or that of its first output where it has none.
    pub name: String,
    /// Its type: `Conv`, `Relu`, ...
    pub kind: String,
    /// Version of the operator set it belongs to.
    pub opset: i64,
    /// Names of its inputs; empty for one that is left out.
    pub inputs: Vec<String>,
    /// Names of its outputs; empty for one that nobody wants.
    pub outputs: Vec<String>,
    pub attributes: Attributes,
}

/// The versions of the default operator set whose operators are known.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=26;
/// What maps and lists of names take for each name, beside its text, roundly.
const ENTRY: usize = 256;
/// Most names that an error tells.
const MOST_NAMED: usize = 20;

/// A graph: the part of it that leads to the output.
#[derive(Debug)]
pub(super) struct Graph {
    pub name: Option<String>,
    /// What wrote the file.
    pub producer: Option<String>,
    /// Version of the default operator set.
    pub opset: i64,
    pub input: String,
    /// Full shape of the input, with its batch dimension.
    pub input_shape: Vec<usize>,
    pub output: String,
    /// The nodes, each after those it reads.
    pub nodes: Vec<NodeProto>,
    /// How many nodes the output does not need.
    pub unused: usize,
    /// The output of the softmax that is cut, if there is one.
    pub cut: Option<String>,
    /// Constants of the file by name, not yet decoded.
    pub initializers: HashMap<String, Bytes>,
    /// How many inputs of nodes read each name.
    pub readers: HashMap<String, usize>,
    /// What makes the network another than the file's, for people.
    pub notes: Vec<String>,
}

/// A node in messages.
pub(super) fn place(node: &NodeProto) -> String {
    format!("node '{}' ({})", name(node), node.op_type)
}

/// The name of a node, or that of its first output where it has none.
pub(super) fn name(node: &NodeProto) -> &str {
    if node.name.is_empty() {
        node.output.iter().find(|o| !o.is_empty()).map_or("", String::as_str)
    } else {
        &node.name
    }
}

/// Names in messages.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    let more = names.len().saturating_sub(MOST_NAMED);
    names.truncate(MOST_NAMED);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.join(", ") + &tail
}

impl Graph {
    /// Checks a model and takes out of it what its output needs.
    pub fn new(model: ModelProto, options: &OnnxOptions, budget: &mut Budget) -> Result<Self, ModelError> {
        let opset = opset(&model)?;
        let functions = functions(&model, budget)?;
        let producer = [model.producer_name, model.producer_version];
        let producer = Some(producer.join(" ").trim().to_string()).filter(|text| !text.is_empty());
        let graph = model.graph.ok_or_else(|| ModelError::model("the model has no graph"))?;
        let GraphProto { node, name: title, initializer, input, output, sparse_initializer } = graph;
        if !sparse_initializer.is_empty() {
            return Err(ModelError::model("the graph has sparse initialisers, which are not supported"));
        }
        let mut nodes = Vec::with_capacity(node.len());
        for (i, bytes) in node.iter().enumerate() {
            let (node, _) = wire::decode::<NodeProto>(bytes, budget)
                .map_err(|problem| ModelError::model(format!("node {i}: {problem}")))?;
            budget.take_elements(node.input.len() + node.output.len() + 1, ENTRY)?;
            nodes.push(node);
        }
        let initializers = initializers(initializer, budget)?;
        budget.take_elements(input.len() + output.len(), ENTRY)?;

        // Each name is made once.
        let mut names: HashSet<&str> = initializers.keys().map(String::as_str).collect();
        let inputs: Vec<&ValueInfoProto> = input.iter().filter(|i| !initializers.contains_key(&i.name)).collect();
        for input in &inputs {
            if !names.insert(&input.name) {
                return Err(ModelError::model(format!("the graph has two inputs '{}'", input.name)));
            }
        }
        let mut makers: HashMap<&str, usize> = HashMap::new();
        for (i, node) in nodes.iter().enumerate() {
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                if let Some(&first) = makers.get(output.as_str()) {
                    return Err(ModelError::model(format!(
                        "{}: makes '{output}', which {} makes too",
                        place(node),
                        place(&nodes[first])
                    )));
                }
                if !names.insert(output) {
                    return Err(ModelError::model(format!(
                        "{}: makes '{output}', which is an input or initialiser of the graph",
                        place(node)
                    )));
                }
                makers.insert(output, i);
            }
        }

        let chosen = chosen(&output, options, |name| names.contains(name))?;
        let given = |name: &str| names.contains(name) && !makers.contains_key(name);
        let order = topology::order(&nodes, &makers, given, &chosen)?;
        for &i in &order {
            supported_domain(&nodes[i], &functions)?;
        }
        let mut notes = Vec::new();
        let cut = last_softmax(&nodes, &makers, &chosen).map(|node| {
            notes.push(format!(
                "the final {} '{}' is cut: bounds are those of the logits, which it reads",
                node.op_type,
                name(node)
            ));
            node.output[0].clone()
        });
        let mut readers: HashMap<String, usize> = HashMap::new();
        for input in order.iter().flat_map(|&i| &nodes[i].input).filter(|name| !name.is_empty()) {
            *readers.entry(input.clone()).or_default() += 1;
        }
        let input = the_input(&inputs, &readers, &mut notes)?;
        let input_shape = inputs::shape(input, options.input_shape.as_deref())?;
        if let [batch, _, ..] = input_shape[..]
            && batch > 1
        {
            notes.push(format!(
                "the first axis of the input, of {batch}, is taken as part of one input: export with a batch of one if it is a batch"
            ));
        }
        let input = input.name.clone();
        if !makers.contains_key(chosen.as_str()) {
            let what = if chosen == input { "the input itself" } else { "a constant" };
            return Err(ModelError::model(format!("the output '{chosen}' is {what}: there is no network to bound")));
        }
        let unused = nodes.len() - order.len();
        drop((names, makers, inputs));
        let mut slots: Vec<Option<NodeProto>> = nodes.into_iter().map(Some).collect();
        let nodes = order.iter().map(|&i| slots[i].take().expect("an order has each node once")).collect();
        let name = Some(title).filter(|title| !title.is_empty());
        Ok(Self {
            name,
            producer,
            opset,
            input,
            input_shape,
            output: chosen,
            nodes,
            unused,
            cut,
            initializers,
            readers,
            notes,
        })
    }
}

/// Whether a domain is that of ONNX's own operators.
fn is_default(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// A domain by one name.
fn plain(domain: &str) -> String {
    if is_default(domain) { String::new() } else { domain.into() }
}

/// The version of the default operator set.
fn opset(model: &ModelProto) -> Result<i64, ModelError> {
    let mut versions =
        model.opset_import.iter().filter(|import| is_default(&import.domain)).map(|import| import.version);
    let known = format!("versions {} to {} are known", OPSETS.start(), OPSETS.end());
    let Some(version) = versions.next() else {
        return Err(ModelError::model(format!(
            "the model does not say which version of the operator set it uses; {known}"
        )));
    };
    if versions.any(|other| other != version) {
        return Err(ModelError::model("the model asks for two versions of the operator set"));
    }
    if !OPSETS.contains(&version) {
        return Err(ModelError::model(format!(
            "the model uses version {version} of the operator set, but {known}; export it for one of these"
        )));
    }
    Ok(version)
}

/// Domains and names of the model's own functions.
fn functions(model: &ModelProto, budget: &mut Budget) -> Result<HashSet<(String, String)>, ModelError> {
    let mut functions = HashSet::new();
    for (i, bytes) in model.functions.iter().enumerate() {
        let (function, _) = wire::decode::<FunctionProto>(bytes, budget)
            .map_err(|problem| ModelError::model(format!("function {i}: {problem}")))?;
        budget.take(ENTRY)?;
        functions.insert((plain(&function.domain), function.name));
    }
    Ok(functions)
}

/// The initialisers by name.
fn initializers(list: Vec<Bytes>, budget: &mut Budget) -> Result<HashMap<String, Bytes>, ModelError> {
    let mut initializers = HashMap::new();
    for (i, bytes) in list.into_iter().enumerate() {
        let (tensor, cost) = wire::decode::<TensorProto>(&bytes, budget)
            .map_err(|problem| ModelError::model(format!("initialiser {i}: {problem}")))?;
        let name = tensor.name.clone();
        drop(tensor);
        budget.give(cost);
        budget.take(ENTRY + 2 * name.len())?;
        if name.is_empty() {
            return Err(ModelError::model(format!("initialiser {i} has no name")));
        }
        if initializers.insert(name.clone(), bytes).is_some() {
            return Err(ModelError::model(format!("the graph has two initialisers '{name}'")));
        }
    }
    Ok(initializers)
}

/// The output to bound: the one that was asked for, or the only one.
fn chosen(
    outputs: &[ValueInfoProto],
    options: &OnnxOptions,
    exists: impl Fn(&str) -> bool,
) -> Result<String, ModelError> {
    let names = || listed(outputs.iter().map(|output| output.name.as_str()));
    match (&options.output, outputs) {
        (Some(name), _) if exists(name) => Ok(name.clone()),
        (Some(name), _) => {
            Err(ModelError::model(format!("there is no tensor '{name}' in the graph; its outputs are {}", names())))
        }
        (None, [output]) if exists(&output.name) => Ok(output.name.clone()),
        (None, [output]) => Err(ModelError::model(format!("nothing in the graph makes its output '{}'", output.name))),
        (None, []) => Err(ModelError::model("the graph has no output")),
        (None, _) => Err(ModelError::model(format!(
            "the graph has {} outputs, {}; choose one as option 'output'",
            outputs.len(),
            names()
        ))),
    }
}

/// The one input of the graph that the output may depend on.
fn the_input<'a>(
    inputs: &[&'a ValueInfoProto],
    readers: &HashMap<String, usize>,
    notes: &mut Vec<String>,
) -> Result<&'a ValueInfoProto, ModelError> {
    let read: Vec<&ValueInfoProto> = inputs.iter().copied().filter(|input| readers.contains_key(&input.name)).collect();
    match (inputs, &read[..]) {
        ([], _) => Err(ModelError::model("the graph has no input beside its initialisers")),
        ([only], _) => Ok(only),
        (_, [one]) => {
            let unread = inputs.iter().map(|input| input.name.as_str()).filter(|name| *name != one.name);
            notes.push(format!("inputs that the output does not need are left out: {}", listed(unread)));
            Ok(one)
        }
        _ => Err(ModelError::model(format!(
            "the graph has {} inputs, {}, but a network has one",
            inputs.len(),
            listed(inputs.iter().map(|input| input.name.as_str()))
        ))),
    }
}

/// Operators of other domains and functions of the model may mean anything.
fn supported_domain(node: &NodeProto, functions: &HashSet<(String, String)>) -> Result<(), ModelError> {
    if functions.contains(&(plain(&node.domain), node.op_type.clone())) {
        return Err(ModelError::model(format!(
            "{}: is a function of the model, which is not supported; inline the functions of the model",
            place(node)
        )));
    }
    if !is_default(&node.domain) {
        return Err(ModelError::model(format!(
            "{}: operators of domain '{}' are not supported, only those of ONNX itself",
            place(node),
            node.domain
        )));
    }
    Ok(())
}

/// The softmax that makes the output, if there is one: behind it only operators that change no value.
fn last_softmax<'a>(nodes: &'a [NodeProto], makers: &HashMap<&str, usize>, output: &str) -> Option<&'a NodeProto> {
    let mut name = output;
    loop {
        let node = &nodes[*makers.get(name)?];
        // Only the first output is the tensor: the second of a dropout is its mask.
        if node.output.first().map(String::as_str) != Some(name) {
            return None;
        }
        match node.op_type.as_str() {
            "Softmax" | "LogSoftmax" => return (node.input.len() == 1).then_some(node),
            "Identity" | "Dropout" | "Cast" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
                name = node.input.first()?;
            }
            _ => return None,
        }
    }
}
