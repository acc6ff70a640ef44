//! How much memory and work a file may ask for.
//!
//! The promise: while a model is read, what is allocated stays within four times the size of the file, external data
//! included, plus 64 MiB. The file itself is in memory once, so three times its size are left, and what external files
//! have, four times. From these is taken, before it is allocated: what decoding messages costs (`wire`), every constant
//! array while it lives, a widened copy of each constant that becomes a weight (`import`), and what rules reserve. Some
//! room is kept for what nobody counts: names in maps, the list of nodes, messages of errors.
//!
//! Work is bounded likewise, since one array of a file may be read by many operators: every element that is read or
//! written by an operator on constants, and every product of one, is a step.

use std::mem::size_of;

use lipbound_lipschitz::ModelError;

use super::array::{Array, Numbers};

/// What a model may ask for whatever the size of its file.
const ALLOWANCE: usize = 64 << 20;
/// The part of it that is not counted.
const ROOM: usize = 4 << 20;
/// Steps a model may ask for whatever the size of its file: a few seconds.
const STEPS: usize = 1 << 31;

/// What is left of a model's allowance.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: usize,
    steps: usize,
}

impl Budget {
    /// The allowance of a file of this many bytes, all of which are in memory.
    pub fn of_file(bytes: usize) -> Self {
        Self {
            bytes: bytes.saturating_mul(3).saturating_add(ALLOWANCE - ROOM),
            steps: bytes.saturating_mul(16).saturating_add(STEPS),
        }
    }

    /// More for a file with external data.
    pub fn extend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes.saturating_mul(4));
        self.steps = self.steps.saturating_add(bytes.saturating_mul(16));
    }

    #[cfg(test)]
    pub fn left(&self) -> usize {
        self.bytes
    }

    /// Takes bytes, before they are allocated.
    pub fn take(&mut self, bytes: usize) -> Result<(), ModelError> {
        match self.bytes.checked_sub(bytes) {
            Some(rest) => {
                self.bytes = rest;
                Ok(())
            }
            None => {
                Err(ModelError::model(format!("needs {bytes} bytes, more memory than a file of this size may ask for")))
            }
        }
    }

    /// Takes the bytes of `count` elements.
    pub fn take_elements(&mut self, count: usize, size: usize) -> Result<(), ModelError> {
        match count.checked_mul(size).filter(|&bytes| bytes <= self.bytes) {
            Some(bytes) => self.take(bytes),
            None => Err(ModelError::model(format!(
                "needs a table of {count} elements, more memory than a file of this size may ask for"
            ))),
        }
    }

    /// Gives back what has been freed.
    pub fn give(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Drops an array, and gives back its bytes if nothing else holds them.
    pub fn release(&mut self, array: Array) {
        if array.holders() == 1 {
            self.give(array.bytes());
        }
    }

    /// Takes steps, before they are made.
    pub fn work(&mut self, steps: usize) -> Result<(), ModelError> {
        match self.steps.checked_sub(steps) {
            Some(rest) => {
                self.steps = rest;
                Ok(())
            }
            None => Err(ModelError::model(
                "the operators on constants ask for more arithmetic than a file of this size may ask for",
            )),
        }
    }
}

impl Array {
    /// Bytes of its numbers.
    pub fn bytes(&self) -> usize {
        self.len() * self.numbers.size()
    }

    /// How many arrays share the numbers.
    pub fn holders(&self) -> usize {
        use std::sync::Arc;
        match &self.numbers {
            Numbers::F32(v) => Arc::strong_count(v),
            Numbers::F64(v) => Arc::strong_count(v),
            Numbers::I64(v) => Arc::strong_count(v),
        }
    }
}

impl Numbers {
    /// Bytes of one number.
    pub fn size(&self) -> usize {
        match self {
            Self::F32(_) => size_of::<f32>(),
            Self::F64(_) => size_of::<f64>(),
            Self::I64(_) => size_of::<i64>(),
        }
    }
}
