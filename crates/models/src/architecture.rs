//! The architecture JSON format (docs/architecture-format.md): a graph of layers by type, tensors by name.

use std::collections::HashMap;

use lipbound_lipschitz::{Affine, Layer, ModelError, Network, NetworkBuilder};
use serde_json::Value;

use crate::{TensorSource, fields::Fields, layer::read_layer};

/// The name in the `format` field of an architecture.
const FORMAT: &str = "lipbound-architecture";

/// The name of the network's input among those that layers read.
const INPUT: &str = "input";

/// A parsed architecture: its layers are still JSON, since their meaning depends on shapes and tensors.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// Name of the network, for people.
    pub name: Option<String>,
    /// Shape of one input.
    pub input: Vec<usize>,
    /// File name of the weights, beside the architecture.
    pub weights: Option<String>,
    /// Names of the outputs.
    pub classes: Option<Vec<String>>,
    /// Name of the layer whose output is that of the network; the last if absent.
    output: Option<String>,
    layers: Vec<Value>,
}

impl Architecture {
    /// Parses the text of an architecture.
    ///
    /// # Errors
    /// If it is no JSON, of another format or version, or has an unknown field.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| ModelError::model(format!("the architecture is not JSON: {error}")))?;
        let mut fields = Fields::new(value, "the architecture")?;
        let format = fields.required_string("format")?;
        if format != FORMAT {
            return Err(ModelError::model(format!("format must be \"{FORMAT}\", got \"{format}\"")));
        }
        match fields.whole("version")? {
            Some(1) => {}
            other => {
                let got = other.map_or("nothing".into(), |v| v.to_string());
                return Err(ModelError::model(format!("version must be 1, got {got}")));
            }
        }
        let name = fields.string("name")?;
        let input = fields.required_wholes("input", "[1, 28, 28]")?;
        let weights = fields.string("weights")?;
        let classes = fields
            .array("classes")?
            .map(|classes| {
                classes
                    .into_iter()
                    .map(|class| match class {
                        Value::String(name) => Ok(name),
                        other => Err(ModelError::model(format!("classes must be strings, got {other}"))),
                    })
                    .collect::<Result<Vec<_>, _>>()
            })
            .transpose()?;
        let output = fields.string("output")?;
        let layers = fields
            .array("layers")?
            .ok_or_else(|| ModelError::model("'layers' is missing; it must be an array of layers"))?;
        fields.finish()?;
        Ok(Self { name, input, weights, classes, output, layers })
    }

    /// The network, with tensors from `source`.
    ///
    /// # Errors
    /// If a layer is unknown or does not fit its input; the message names the layer and its index.
    pub fn build(&self, source: &dyn TensorSource) -> Result<Network, ModelError> {
        let mut builder = NetworkBuilder::new(self.input.clone())?;
        let entries = Entry::all(&self.layers)?;
        let needed = needed(&entries, self.output.as_deref())?;
        let names: Vec<String> =
            std::iter::once(INPUT.into()).chain(entries.iter().map(|entry| entry.name.clone())).collect();
        // The builder's number for the input and each layer so far; of those that are left out nobody asks.
        let mut sources = vec![0];
        for (entry, needed) in entries.into_iter().zip(needed) {
            if !needed {
                sources.push(usize::MAX);
                continue;
            }
            let (place, inputs) = (entry.place(), entry.inputs);
            let read: Vec<_> = inputs.iter().map(|&i| (names[i].as_str(), builder.shape(sources[i]))).collect();
            let (parts, parameters) =
                read_layer(&entry.kind, entry.fields, &read, source).map_err(|error| error.at(&place))?;
            let inputs = inputs.into_iter().map(|i| sources[i]).collect();
            sources.push(builder.push_parts(&entry.name, &entry.kind, inputs, parts, parameters)?);
        }
        let network = builder.build()?;
        if let Some(classes) = &self.classes {
            let outputs: usize = network.output_shape().iter().product();
            if classes.len() != outputs {
                return Err(ModelError::shape(format!(
                    "classes has {} names, but the network has {outputs} outputs",
                    classes.len()
                )));
            }
        }
        Ok(network)
    }
}

/// A layer of the list, of which only the place in the graph has been read.
struct Entry {
    index: usize,
    kind: String,
    name: String,
    /// What it reads: 0 the network's input, `i + 1` layer `i`.
    inputs: Vec<usize>,
    fields: Fields,
}

impl Entry {
    fn new(index: usize, value: &Value, counts: &mut HashMap<String, usize>) -> Result<Self, ModelError> {
        let mut fields = Fields::new(value.clone(), &format!("layer {index}"))?;
        let kind = fields.required_string("type").map_err(|e| e.at(&format!("layer {index}")))?;
        let name = fields.string("name").map_err(|e| e.at(&format!("layer {index} ({kind})")))?;
        let count = counts.entry(kind.clone()).or_default();
        *count += 1;
        let name = name.unwrap_or_else(|| format!("{kind}{count}"));
        Ok(Self { index, kind, name, inputs: Vec::new(), fields })
    }

    fn all(layers: &[Value]) -> Result<Vec<Self>, ModelError> {
        let mut counts = HashMap::new();
        let mut entries: Vec<Self> = Vec::with_capacity(layers.len());
        let mut places: HashMap<String, usize> = HashMap::new();
        for (index, value) in layers.iter().enumerate() {
            let entry = Self::new(index, value, &mut counts)?;
            if entry.name == INPUT {
                let message = format!("the name '{INPUT}' is that of the network's input; a layer needs another one");
                return Err(ModelError::model(message).at(&entry.place()));
            }
            if let Some(other) = places.insert(entry.name.clone(), index) {
                let message = format!("the name is already that of layer {other}");
                return Err(ModelError::model(message).at(&entry.place()));
            }
            entries.push(entry);
        }
        for index in 0..entries.len() {
            let place = entries[index].place();
            let named = entries[index].fields.strings("inputs").map_err(|error| error.at(&place))?;
            entries[index].inputs = match named {
                // The one before it.
                None => vec![index],
                Some(names) => names
                    .iter()
                    .map(|name| source(name, index, &places, &entries))
                    .collect::<Result<_, _>>()
                    .map_err(|error| error.at(&place))?,
            };
        }
        Ok(entries)
    }

    fn place(&self) -> String {
        format!("layer {} '{}' ({})", self.index, self.name, self.kind)
    }
}

/// The source that layer `index` calls `name`.
fn source(name: &str, index: usize, places: &HashMap<String, usize>, entries: &[Entry]) -> Result<usize, ModelError> {
    if name == INPUT {
        return Ok(0);
    }
    match places.get(name) {
        Some(&place) if place < index => Ok(place + 1),
        Some(&place) => Err(ModelError::model(format!(
            "'inputs' names '{name}', which is {}; a layer reads earlier layers only, or '{INPUT}'",
            if place == index { "the layer itself".into() } else { format!("the later layer {place}") }
        ))),
        None => Err(ModelError::model(format!(
            "'inputs' names '{name}', but there is no such layer; before it there are {}",
            listed(std::iter::once(INPUT).chain(entries[..index].iter().map(|entry| entry.name.as_str())))
        ))),
    }
}

/// Names as messages show them.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("'{name}'")).collect();
    let shown = names.len().min(20);
    let more = if shown < names.len() { format!(" and {} more", names.len() - shown) } else { String::new() };
    format!("{}{more}", names[..shown].join(", "))
}

/// Which layers the output depends on. The others may be left out only where an output was named and something reads them
/// or they follow it: then somebody wanted a part of the network.
fn needed(entries: &[Entry], output: Option<&str>) -> Result<Vec<bool>, ModelError> {
    let mut needed = vec![false; entries.len() + 1];
    let last = match output {
        None => entries.len(),
        Some(name) => entries.iter().position(|entry| entry.name == name).map(|place| place + 1).ok_or_else(|| {
            let names = listed(entries.iter().map(|entry| entry.name.as_str()));
            ModelError::model(format!("'output' names '{name}', but there is no such layer; there are {names}"))
        })?,
    };
    needed[last] = true;
    let mut read = vec![false; entries.len() + 1];
    for entry in entries.iter().rev() {
        let wanted = needed[entry.index + 1];
        for &input in &entry.inputs {
            read[input] = true;
            needed[input] |= wanted;
        }
    }
    if let Some(entry) = entries[..last.saturating_sub(1)].iter().rfind(|entry| !read[entry.index + 1]) {
        return Err(ModelError::model("nothing reads its output").at(&entry.place()));
    }
    needed.remove(0);
    Ok(needed)
}

/// One affine layer of the format, for an input of this shape.
///
/// # Errors
/// If it is not affine or does not fit.
pub fn affine_layer(text: &str, input: &[usize], source: &dyn TensorSource) -> Result<Affine, ModelError> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| ModelError::model(format!("the layer is not JSON: {error}")))?;
    // The builder checks the input shape as it does for networks.
    let builder = NetworkBuilder::new(input.to_vec())?;
    let entry = Entry::new(0, &value, &mut HashMap::new())?;
    let place = entry.place();
    let (parts, _) = read_layer(&entry.kind, entry.fields, &[(INPUT, builder.shape(0))], source)
        .map_err(|error| error.at(&place))?;
    match parts.into_iter().next() {
        Some((Layer::Affine(affine), _)) => Ok(affine),
        _ => {
            Err(ModelError::model(format!("'{}' is not an affine layer, so it is no operator with a norm", entry.kind)))
        }
    }
}
