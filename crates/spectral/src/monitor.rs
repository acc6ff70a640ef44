//! How long work reports and is stopped.

use std::fmt;

/// Where a norm computation stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormProgress {
    /// Lanczos steps done.
    pub steps: usize,
    /// The bracket so far.
    pub lower: f64,
    /// The bracket so far.
    pub upper: f64,
}

/// Observes a computation and may stop it. Called once a step, so it must be quick.
pub trait Monitor {
    /// Whether the work shall stop.
    fn cancelled(&self) -> bool {
        false
    }

    /// Called whenever the bracket has been evaluated.
    fn norm_progress(&self, _progress: NormProgress) {}
}

/// A monitor that neither listens nor stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {}

/// The work was stopped by its monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the computation was cancelled")
    }
}

impl std::error::Error for Cancelled {}
