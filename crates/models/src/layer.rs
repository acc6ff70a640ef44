//! One layer of an architecture, from its fields and tensors.

use lipbound_lipschitz::{
    AvgPool2d, BatchNorm2d, Conv2dOptions, ConvTranspose2dOptions, ErrorKind, Layer, MaxPool2dOptions, ModelError,
    Parts, Tensor, Unit, abs, add, avg_pool2d, batch_norm2d, concat, conv_transpose2d, conv2d, flatten,
    global_avg_pool2d, global_max_pool2d, linear, max_pool2d, maximum, minimum, normalize, pad2d, permute, prelu,
    reshape, sparse, unit, upsample2d,
};

use crate::{TensorSource, fields::Fields};

const LAYER_TYPES: [&str; 25] = [
    "normalize",
    "conv2d",
    "conv_transpose2d",
    "linear",
    "sparse",
    "batch_norm2d",
    "relu",
    "leaky_relu",
    "prelu",
    "abs",
    "clip",
    "max_pool2d",
    "global_max_pool2d",
    "avg_pool2d",
    "global_avg_pool2d",
    "upsample2d",
    "pad2d",
    "flatten",
    "reshape",
    "permute",
    "dropout",
    "add",
    "concat",
    "maximum",
    "minimum",
];

/// What a layer reads: a name and a shape.
pub(crate) type Input<'a> = (&'a str, &'a [usize]);

/// Reads the layer that `fields` describe: its nodes, and how many trained numbers they have.
///
/// # Errors
/// If the type or a field is unknown, or the layer does not fit its inputs. The message does not name the layer.
pub(crate) fn read_layer(
    kind: &str,
    fields: Fields,
    inputs: &[Input<'_>],
    source: &dyn TensorSource,
) -> Result<(Parts, usize), ModelError> {
    let shapes = match inputs {
        [(_, shape)] => vec![("input".into(), shape.to_vec())],
        _ => inputs.iter().map(|(name, shape)| (format!("'{name}'"), shape.to_vec())).collect(),
    };
    let mut reader = Reader { fields, source, parameters: 0, shapes };
    let built = reader.layer(kind, inputs);
    let Reader { fields, parameters, shapes, .. } = reader;
    let parts = built
        .map_err(|error| with_shapes(error, &shapes, inputs.len() > 1))
        .and_then(|built| fields.finish().map(|()| built))?;
    Ok((parts, parameters))
}

/// An error about shapes with those it does not tell, or with all of them where it does not tell whose they are.
fn with_shapes(error: ModelError, shapes: &[(String, Vec<usize>)], all: bool) -> ModelError {
    if error.kind() != ErrorKind::Shape {
        return error;
    }
    let message = error.to_string();
    let shapes = shapes.iter().map(|(what, shape)| (what, format!("{shape:?}")));
    let untold: Vec<_> = shapes
        .filter(|(_, shape)| all || !message.contains(shape))
        .map(|(what, shape)| format!("{what} {shape}"))
        .collect();
    if untold.is_empty() { error } else { ModelError::shape(format!("{message} ({})", untold.join(", "))) }
}

struct Reader<'a> {
    fields: Fields,
    source: &'a dyn TensorSource,
    parameters: usize,
    /// The inputs and the tensors so far.
    shapes: Vec<(String, Vec<usize>)>,
}

impl Reader<'_> {
    /// The tensor whose name is in `field`.
    fn optional(&mut self, field: &'static str) -> Result<Option<Tensor>, ModelError> {
        let Some(name) = self.fields.string(field)? else { return Ok(None) };
        let tensor = self.source.tensor(&name)?;
        self.parameters += tensor.len();
        self.shapes.push((field.into(), tensor.shape().to_vec()));
        Ok(Some(tensor))
    }

    fn required(&mut self, field: &'static str) -> Result<Tensor, ModelError> {
        self.optional(field)?.ok_or_else(|| self.fields.missing(field, "the name of a tensor"))
    }

    fn integers(&mut self, field: &'static str) -> Result<Vec<usize>, ModelError> {
        let name = self.fields.required_string(field)?;
        self.source.integers(&name)
    }

    fn layer(&mut self, kind: &str, inputs: &[Input<'_>]) -> Result<Parts, ModelError> {
        if !LAYER_TYPES.contains(&kind) {
            return Err(ModelError::model(format!(
                "unknown layer type '{kind}'; known are {}",
                LAYER_TYPES.map(|t| format!("'{t}'")).join(", ")
            )));
        }
        let brings_together = matches!(kind, "add" | "concat" | "maximum" | "minimum");
        let counts = if brings_together { (2, usize::MAX) } else { (1, 1) };
        if inputs.len() < counts.0 || inputs.len() > counts.1 {
            let names: Vec<_> = inputs.iter().map(|(name, _)| format!("'{name}'")).collect();
            return Err(ModelError::model(format!(
                "reads {}, but has {}: {}",
                if brings_together { "two or more layers" } else { "one layer" },
                inputs.len(),
                names.join(", ")
            )));
        }
        let shapes: Vec<&[usize]> = inputs.iter().map(|(_, shape)| *shape).collect();
        match kind {
            "add" => add(&shapes),
            "concat" => concat(&shapes, self.fields.whole("axis")?.unwrap_or(0)),
            "maximum" => maximum(&shapes),
            "minimum" => minimum(&shapes),
            _ => Ok(vec![self.single(kind, shapes[0])?]),
        }
    }

    fn single(&mut self, kind: &str, input: &[usize]) -> Result<(Layer, Vec<usize>), ModelError> {
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
            "conv_transpose2d" => {
                let (weight, bias) = (self.required("weight")?, self.optional("bias")?);
                let options = ConvTranspose2dOptions {
                    stride: self.fields.pair("stride", [1; 2])?,
                    padding: self.fields.padding("padding")?,
                    output_padding: self.fields.pair("output_padding", [0; 2])?,
                    dilation: self.fields.pair("dilation", [1; 2])?,
                    groups: self.fields.whole("groups")?.unwrap_or(1),
                };
                conv_transpose2d(input, &weight, bias.as_ref(), &options)
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
            "prelu" => prelu(input, &self.required("weight")?),
            "abs" => abs(input),
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
            "global_max_pool2d" => global_max_pool2d(input),
            "upsample2d" => upsample2d(input, self.fields.required_pair("scale")?),
            "pad2d" => {
                let (padding, value) = (self.fields.required_padding("padding")?, self.fields.number("value", 0.0)?);
                pad2d(input, padding, value)
            }
            "flatten" => Ok(flatten(input)),
            "reshape" => reshape(input, &self.fields.required_wholes("shape", "[1, 28, 28]")?),
            "permute" => permute(input, &self.fields.required_wholes("axes", "[1, 2, 0]")?),
            "dropout" => {
                let p = self.fields.number("p", 0.5)?;
                if !(0.0..=1.0).contains(&p) {
                    return Err(ModelError::model(format!("p must be from 0 to 1, got {p}")));
                }
                Ok((Layer::Identity, input.to_vec()))
            }
            unread => unreachable!("'{unread}' is among the known types"),
        }
    }
}
