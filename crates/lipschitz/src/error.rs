//! What can be wrong with a model or a request.

use std::fmt;

use lipbound_operators::{ShapeError, SparseError};
use lipbound_spectral::{Cancelled, OptionsError};

/// The class of an error, which callers may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Shapes that do not meet.
    Shape,
    /// Numbers that are not finite or outside the range that can be bounded soundly.
    Value,
    /// A layer, attribute or graph that means nothing.
    Model,
}

/// Why a network cannot be built. The message names the layer, its index and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelError {
    kind: ErrorKind,
    message: String,
}

impl ModelError {
    /// An error of a kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Shapes that do not meet.
    #[must_use]
    pub fn shape(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Shape, message)
    }

    /// A number that cannot be.
    #[must_use]
    pub fn value(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Value, message)
    }

    /// A layer or attribute that means nothing.
    #[must_use]
    pub fn model(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Model, message)
    }

    /// The class of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error, said of `place`.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        Self { kind: self.kind, message: format!("{place}: {}", self.message) }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ModelError {}

impl From<ShapeError> for ModelError {
    fn from(error: ShapeError) -> Self {
        Self::shape(error.to_string())
    }
}

impl From<SparseError> for ModelError {
    fn from(error: SparseError) -> Self {
        Self::model(error.to_string())
    }
}

/// Why a bound was not computed.
#[derive(Clone, Debug, PartialEq)]
pub enum BoundError {
    /// The monitor stopped the work.
    Cancelled,
    /// An option outside its range.
    Option(OptionsError),
    /// An epsilon that is negative or not a number.
    Epsilon(f64),
    /// An input that does not fit the network.
    Input(ModelError),
    /// A claim of a certificate that is wrong or could not be verified; [`crate::check`] reports it as a refusal.
    Refused(String),
}

impl fmt::Display for BoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => Cancelled.fmt(f),
            Self::Option(error) => error.fmt(f),
            Self::Epsilon(value) => write!(f, "epsilon must be a finite number that is not negative, got {value}"),
            Self::Input(error) => error.fmt(f),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for BoundError {}

impl From<Cancelled> for BoundError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

impl From<OptionsError> for BoundError {
    fn from(error: OptionsError) -> Self {
        Self::Option(error)
    }
}

impl From<ModelError> for BoundError {
    fn from(error: ModelError) -> Self {
        Self::Input(error)
    }
}
