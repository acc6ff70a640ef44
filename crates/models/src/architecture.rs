//! The architecture JSON format (docs/architecture-format.md): layers by type, tensors by name.

use std::collections::HashMap;

use lipbound_lipschitz::{
    Affine, AvgPool2d, BatchNorm2d, Conv2dOptions, ErrorKind, Layer, MaxPool2dOptions, ModelError, Network,
    NetworkBuilder, Node, Tensor, Unit, avg_pool2d, batch_norm2d, conv2d, flatten, global_avg_pool2d, linear,
    max_pool2d, normalize, sparse, unit,
};
use serde_json::Value;

use crate::{
    TensorSource,
    fields::{self, Fields},
};

/// The name in the `format` field of an architecture.
const FORMAT: &str = "lipbound-architecture";

const LAYER_TYPES: [&str; 13] = [
    "normalize",
    "conv2d",
    "linear",
    "sparse",
    "batch_norm2d",
    "relu",
    "leaky_relu",
    "clip",
    "max_pool2d",
    "avg_pool2d",
    "global_avg_pool2d",
    "flatten",
    "dropout",
];

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
        let input = fields::shape("input", fields.array("input")?)?;
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
        let layers = fields
            .array("layers")?
            .ok_or_else(|| ModelError::model("'layers' is missing; it must be an array of layers"))?;
        fields.finish()?;
        Ok(Self { name, input, weights, classes, layers })
    }

    /// The network, with tensors from `source`.
    ///
    /// # Errors
    /// If a layer is unknown or does not fit its input; the message names the layer and its index.
    pub fn build(&self, source: &dyn TensorSource) -> Result<Network, ModelError> {
        let mut builder = NetworkBuilder::new(self.input.clone())?;
        let mut counts: HashMap<String, usize> = HashMap::new();
        for (index, value) in self.layers.iter().enumerate() {
            let input = builder.last();
            let node = read_layer(index, value, builder.shape(input), &mut counts, source)?;
            builder.push(Node { inputs: vec![input], ..node })?;
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

/// One affine layer of the format, for an input of this shape.
///
/// # Errors
/// If it is not affine or does not fit.
pub fn affine_layer(text: &str, input: &[usize], source: &dyn TensorSource) -> Result<Affine, ModelError> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| ModelError::model(format!("the layer is not JSON: {error}")))?;
    // The builder checks the input shape as it does for networks.
    let builder = NetworkBuilder::new(input.to_vec())?;
    let node = read_layer(0, &value, builder.shape(0), &mut HashMap::new(), source)?;
    match node.layer {
        Layer::Affine(affine) => Ok(affine),
        _ => {
            Err(ModelError::model(format!("'{}' is not an affine layer, so it is no operator with a norm", node.kind)))
        }
    }
}

/// Reads a layer; `inputs` of the node stays empty.
fn read_layer(
    index: usize,
    value: &Value,
    input: &[usize],
    counts: &mut HashMap<String, usize>,
    source: &dyn TensorSource,
) -> Result<Node, ModelError> {
    let mut fields = Fields::new(value.clone(), &format!("layer {index}"))?;
    let kind = fields.required_string("type").map_err(|e| e.at(&format!("layer {index}")))?;
    let name = fields.string("name").map_err(|e| e.at(&format!("layer {index} ({kind})")))?;
    let count = counts.entry(kind.clone()).or_default();
    *count += 1;
    let name = name.unwrap_or_else(|| format!("{kind}{count}"));
    let place = format!("layer {index} '{name}' ({kind})");
    let mut reader = Reader { fields, source, parameters: 0, shapes: vec![("input", input.to_vec())] };
    let built = reader.layer(&kind, input);
    let Reader { fields, parameters, shapes, .. } = reader;
    let (layer, shape) = built
        .map_err(|error| with_shapes(error, &shapes))
        .and_then(|built| fields.finish().map(|()| built))
        .map_err(|error| error.at(&place))?;
    Ok(Node { name, kind, layer, inputs: Vec::new(), shape, parameters })
}

/// An error about shapes with those it does not tell.
fn with_shapes(error: ModelError, shapes: &[(&str, Vec<usize>)]) -> ModelError {
    if error.kind() != ErrorKind::Shape {
        return error;
    }
    let message = error.to_string();
    let untold =
        shapes.iter().map(|(what, shape)| (what, format!("{shape:?}"))).filter(|(_, shape)| !message.contains(shape));
    let untold: Vec<_> = untold.map(|(what, shape)| format!("{what} {shape}")).collect();
    if untold.is_empty() { error } else { ModelError::shape(format!("{message} ({})", untold.join(", "))) }
}

struct Reader<'a> {
    fields: Fields,
    source: &'a dyn TensorSource,
    parameters: usize,
    /// The input and the tensors so far.
    shapes: Vec<(&'static str, Vec<usize>)>,
}

impl Reader<'_> {
    /// The tensor whose name is in `field`.
    fn optional(&mut self, field: &'static str) -> Result<Option<Tensor>, ModelError> {
        let Some(name) = self.fields.string(field)? else { return Ok(None) };
        let tensor = self.source.tensor(&name)?;
        self.parameters += tensor.len();
        self.shapes.push((field, tensor.shape().to_vec()));
        Ok(Some(tensor))
    }

    fn required(&mut self, field: &'static str) -> Result<Tensor, ModelError> {
        self.optional(field)?.ok_or_else(|| self.fields.missing(field, "the name of a tensor"))
    }

    fn integers(&mut self, field: &'static str) -> Result<Vec<usize>, ModelError> {
        let name = self.fields.required_string(field)?;
        self.source.integers(&name)
    }

    fn layer(&mut self, kind: &str, input: &[usize]) -> Result<(Layer, Vec<usize>), ModelError> {
        match kind {
            "normalize" => {
                let (mean, std) = (self.fields.numbers("mean")?, self.fields.numbers("std")?);
                normalize(input, &mean, &std)
            }
            "conv2d" => {
                let (weight, bias) = (self.required("weight")?, self.optional("bias")?);
                let options = Conv2dOptions {
                    stride: self.fields.pair("stride", [1; 2])?,
                    padding: self.fields.padding("padding")?,
                    dilation: self.fields.pair("dilation", [1; 2])?,
                    groups: self.fields.whole("groups")?.unwrap_or(1),
                };
                conv2d(input, &weight, bias.as_ref(), &options)
            }
            "linear" => {
                let (weight, bias) = (self.required("weight")?, self.optional("bias")?);
                linear(input, &weight, bias.as_ref())
            }
            "sparse" => {
                let rows = self.fields.whole("rows")?;
                let (indptr, indices) = (self.integers("indptr")?, self.integers("indices")?);
                let (values, bias) = (self.required("values")?, self.optional("bias")?);
                let rows = rows.ok_or_else(|| self.fields.missing("rows", "a whole number"))?;
                if indptr.len() != rows + 1 {
                    return Err(ModelError::shape(format!(
                        "indptr has {} elements, but {rows} rows need {}",
                        indptr.len(),
                        rows + 1
                    )));
                }
                sparse(input, indptr, indices, &values, bias.as_ref())
            }
            "batch_norm2d" => {
                let (weight, bias) = (self.optional("weight")?, self.optional("bias")?);
                let (running_mean, running_var) = (self.required("running_mean")?, self.required("running_var")?);
                let eps = self.fields.number("eps", 1e-5)?;
                batch_norm2d(
                    input,
                    &BatchNorm2d {
                        weight: weight.as_ref(),
                        bias: bias.as_ref(),
                        running_mean: &running_mean,
                        running_var: &running_var,
                        eps,
                    },
                )
            }
            "relu" => unit(input, Unit::Relu),
            "leaky_relu" => {
                let slope = self.fields.number("negative_slope", 0.01)?;
                unit(input, Unit::LeakyRelu { slope })
            }
            "clip" => {
                let (min, max) = (self.fields.optional_number("min")?, self.fields.optional_number("max")?);
                if min.is_none() && max.is_none() {
                    return Err(self.fields.missing("min' or 'max", "a number; at least one of the two is needed"));
                }
                let (low, high) = (min.unwrap_or(f64::NEG_INFINITY), max.unwrap_or(f64::INFINITY));
                unit(input, Unit::Clip { low, high })
            }
            "max_pool2d" => {
                let kernel = self.fields.required_pair("kernel")?;
                let options = MaxPool2dOptions {
                    kernel,
                    stride: self.fields.pair("stride", kernel)?,
                    padding: self.fields.padding("padding")?,
                    dilation: self.fields.pair("dilation", [1; 2])?,
                    ceil_mode: self.fields.boolean("ceil_mode", false)?,
                };
                max_pool2d(input, &options)
            }
            "avg_pool2d" => {
                let kernel = self.fields.required_pair("kernel")?;
                let options = AvgPool2d {
                    kernel,
                    stride: self.fields.pair("stride", kernel)?,
                    padding: self.fields.padding("padding")?,
                    ceil_mode: self.fields.boolean("ceil_mode", false)?,
                    count_include_pad: self.fields.boolean("count_include_pad", true)?,
                };
                avg_pool2d(input, &options)
            }
            "global_avg_pool2d" => global_avg_pool2d(input),
            "flatten" => Ok(flatten(input)),
            "dropout" => {
                let p = self.fields.number("p", 0.5)?;
                if !(0.0..=1.0).contains(&p) {
                    return Err(ModelError::model(format!("p must be from 0 to 1, got {p}")));
                }
                Ok((Layer::Identity, input.to_vec()))
            }
            unknown => Err(ModelError::model(format!(
                "unknown layer type '{unknown}'; known are {}",
                LAYER_TYPES.map(|t| format!("'{t}'")).join(", ")
            ))),
        }
    }
}
