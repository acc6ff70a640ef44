//! What can be wrong with a file.

use std::{fmt, path::Path};

use lipbound_lipschitz::ModelError;

/// Why a file was not read.
#[derive(Debug)]
pub enum FileError {
    /// The file itself: missing, unreadable, truncated, or not what it says it is.
    File(String),
    /// Its content: shapes, numbers, layers.
    Model(ModelError),
}

impl FileError {
    pub(crate) fn file(path: &Path, problem: impl fmt::Display) -> Self {
        Self::File(format!("{}: {problem}", path.display()))
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(message) => f.write_str(message),
            Self::Model(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FileError {}
