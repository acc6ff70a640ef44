//! Reading the fields of a JSON object, each by name, with errors that say what would be right.

use lipbound_lipschitz::ModelError;
use serde_json::{Map, Value};

/// The fields of an object that have not been read yet, and the names of those that have.
pub(crate) struct Fields {
    rest: Map<String, Value>,
    known: Vec<&'static str>,
}

const PADDING: &str = "a whole number, [vertical, horizontal] or [top, left, bottom, right]";

fn wrong(name: &str, expected: &str, value: &Value) -> ModelError {
    let mut got = value.to_string();
    if got.len() > 60 {
        got = format!("{}…", got.chars().take(60).collect::<String>());
    }
    ModelError::model(format!("{name} must be {expected}, got {got}"))
}

impl Fields {
    pub fn new(value: Value, what: &str) -> Result<Self, ModelError> {
        match value {
            Value::Object(rest) => Ok(Self { rest, known: Vec::new() }),
            other => Err(wrong(what, "an object", &other)),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.rest.remove(name).filter(|v| !v.is_null())
    }

    /// The error of a field that has to be there. A field nobody asked for may be the one, misspelt.
    pub fn missing(&self, name: &str, expected: &str) -> ModelError {
        let rest: Vec<_> = self.rest.keys().map(|name| format!("'{name}'")).collect();
        let there = if rest.is_empty() { String::new() } else { format!(" (there is {})", rest.join(", ")) };
        ModelError::model(format!("'{name}' is missing; it must be {expected}{there}"))
    }

    /// All fields must have been read.
    pub fn finish(self) -> Result<(), ModelError> {
        match self.rest.keys().next() {
            None => Ok(()),
            Some(unknown) => Err(ModelError::model(format!(
                "unknown field '{unknown}'; known are {}",
                self.known.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    pub fn string(&mut self, name: &'static str) -> Result<Option<String>, ModelError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, "a string", &other)),
        }
    }

    pub fn required_string(&mut self, name: &'static str) -> Result<String, ModelError> {
        self.string(name)?.ok_or_else(|| self.missing(name, "a string"))
    }

    pub fn array(&mut self, name: &'static str) -> Result<Option<Vec<Value>>, ModelError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(wrong(name, "an array", &other)),
        }
    }

    /// One string or several.
    pub fn strings(&mut self, name: &'static str) -> Result<Option<Vec<String>>, ModelError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let strings: Option<Vec<String>> = match &value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(values) => values.iter().map(|v| v.as_str().map(String::from)).collect(),
            _ => None,
        };
        strings.map(Some).ok_or_else(|| wrong(name, "a string or an array of strings", &value))
    }

    pub fn boolean(&mut self, name: &'static str, default: bool) -> Result<bool, ModelError> {
        match self.take(name) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(wrong(name, "true or false", &other)),
        }
    }

    pub fn number(&mut self, name: &'static str, default: f64) -> Result<f64, ModelError> {
        Ok(self.optional_number(name)?.unwrap_or(default))
    }

    pub fn optional_number(&mut self, name: &'static str) -> Result<Option<f64>, ModelError> {
        self.take(name).map(|value| value.as_f64().ok_or_else(|| wrong(name, "a number", &value))).transpose()
    }

    /// One number or several.
    pub fn numbers(&mut self, name: &'static str) -> Result<Vec<f64>, ModelError> {
        let expected = "a number or an array of numbers";
        match self.take(name) {
            None => Err(self.missing(name, expected)),
            Some(Value::Array(values)) => {
                values.iter().map(|v| v.as_f64().ok_or_else(|| wrong(name, expected, v))).collect()
            }
            Some(value) => Ok(vec![value.as_f64().ok_or_else(|| wrong(name, expected, &value))?]),
        }
    }

    pub fn whole(&mut self, name: &'static str) -> Result<Option<usize>, ModelError> {
        self.take(name).map(|value| whole(&value).ok_or_else(|| wrong(name, "a whole number", &value))).transpose()
    }

    /// `n` or `[vertical, horizontal]`.
    pub fn pair(&mut self, name: &'static str, default: [usize; 2]) -> Result<[usize; 2], ModelError> {
        self.optional_pair(name).map(|pair| pair.unwrap_or(default))
    }

    pub fn optional_pair(&mut self, name: &'static str) -> Result<Option<[usize; 2]>, ModelError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match wholes(&value).as_deref() {
            Some(&[n]) => Ok(Some([n, n])),
            Some(&[vertical, horizontal]) => Ok(Some([vertical, horizontal])),
            _ => Err(wrong(name, "a whole number or [vertical, horizontal]", &value)),
        }
    }

    pub fn required_pair(&mut self, name: &'static str) -> Result<[usize; 2], ModelError> {
        self.optional_pair(name)?.ok_or_else(|| self.missing(name, "a whole number or [vertical, horizontal]"))
    }

    /// `n`, `[vertical, horizontal]` or `[top, left, bottom, right]`.
    pub fn padding(&mut self, name: &'static str) -> Result<[usize; 4], ModelError> {
        Ok(self.optional_padding(name)?.unwrap_or([0; 4]))
    }

    pub fn required_padding(&mut self, name: &'static str) -> Result<[usize; 4], ModelError> {
        self.optional_padding(name)?.ok_or_else(|| self.missing(name, PADDING))
    }

    fn optional_padding(&mut self, name: &'static str) -> Result<Option<[usize; 4]>, ModelError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match wholes(&value).as_deref() {
            Some(&[n]) => Ok(Some([n; 4])),
            Some(&[vertical, horizontal]) => Ok(Some([vertical, horizontal, vertical, horizontal])),
            Some(&[top, left, bottom, right]) => Ok(Some([top, left, bottom, right])),
            _ => Err(wrong(name, PADDING, &value)),
        }
    }

    /// An array of whole numbers, like the example.
    pub fn required_wholes(&mut self, name: &'static str, example: &str) -> Result<Vec<usize>, ModelError> {
        let expected = format!("an array of whole numbers such as {example}");
        let value = self.take(name).ok_or_else(|| self.missing(name, &expected))?;
        value.as_array().and_then(|_| wholes(&value)).ok_or_else(|| wrong(name, &expected, &value))
    }
}

fn whole(value: &Value) -> Option<usize> {
    // JSON from JavaScript writes 3, JSON from elsewhere may write 3.0.
    let number = value.as_f64()?;
    (number.fract() == 0.0 && (0.0..=2f64.powi(53)).contains(&number)).then_some(number as usize)
}

fn wholes(value: &Value) -> Option<Vec<usize>> {
    match value {
        Value::Array(values) => values.iter().map(whole).collect(),
        single => whole(single).map(|n| vec![n]),
    }
}
