//! Errors of every room below, as codes.

use lipbound_lipschitz::{BoundError, DocumentError, ErrorKind, ModelError};
use lipbound_models::FileError;
use lipbound_spectral::{Cancelled, OptionsError};
use napi_derive::napi;

/// A failure, as a promise resolves to it.
#[napi(object)]
#[derive(Clone, Debug)]
pub struct Failure {
    /// `ERR_LIPBOUND_...`
    pub error_code: String,
    /// What was wrong and what would be right.
    pub error_message: String,
}

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { error_code: format!("ERR_LIPBOUND_{code}"), error_message: message.into() }
    }

    pub fn argument(message: impl Into<String>) -> Self {
        Self::new("ARGUMENT", message)
    }

    pub fn disposed() -> Self {
        Self::new("DISPOSED", "the network has been disposed")
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let code = match error.kind() {
            ErrorKind::Shape => "SHAPE",
            ErrorKind::Value => "VALUE",
            ErrorKind::Model => "MODEL",
        };
        Self::new(code, error.to_string())
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::File(message) => Self::new("FILE", message),
            FileError::Model(error) => error.into(),
        }
    }
}

impl From<Cancelled> for Failure {
    fn from(error: Cancelled) -> Self {
        Self::new("CANCELLED", error.to_string())
    }
}

impl From<OptionsError> for Failure {
    fn from(error: OptionsError) -> Self {
        Self::argument(error.to_string())
    }
}

impl From<BoundError> for Failure {
    fn from(error: BoundError) -> Self {
        match error {
            BoundError::Cancelled => Cancelled.into(),
            BoundError::Option(error) => error.into(),
            BoundError::Epsilon(_) => Self::argument(error.to_string()),
            BoundError::Input(error) => error.into(),
            // Refusals are reports; one that comes as an error is our own mistake.
            BoundError::Refused(reason) => Self::new("INTERNAL", reason),
        }
    }
}

impl From<DocumentError> for Failure {
    fn from(error: DocumentError) -> Self {
        Self::new("CERTIFICATE", format!("what is given is no certificate: {error}"))
    }
}

/// For functions that throw: the code is the status, which becomes the error's `code`.
impl From<Failure> for napi::Error<String> {
    fn from(failure: Failure) -> Self {
        Self::new(failure.error_code, failure.error_message)
    }
}
