//! The graph of an ONNX file, decoded and checked: names resolve, operators are in topological order.

use std::collections::BTreeMap;

use lipbound_lipschitz::ModelError;

use super::Array;

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
        ModelError::model(format!("attribute '{name}' must be {expected}, got {got:?}"))
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
