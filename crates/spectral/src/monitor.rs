//! How long work reports and is stopped.

use std::{fmt, time::Instant};

use lipbound_kernels::pool::Threads;

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

/// Why work ended before it had a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The monitor said so.
    Cancelled,
    /// The time is over.
    TimeLimit,
}

/// What a direct method works with: threads, and whom to ask whether to go on.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Threads to share large loops with.
    pub threads: &'a Threads,
    /// May cancel.
    pub monitor: &'a dyn Monitor,
    /// Point in time after which the work is given up.
    pub deadline: Option<Instant>,
}

impl<'a> Context<'a> {
    /// One thread, no end.
    #[must_use]
    pub fn quiet(threads: &'a Threads) -> Self {
        Self { threads, monitor: &Silent, deadline: None }
    }

    /// To be called every few hundredths of a second, by the thread that began the work.
    ///
    /// # Errors
    /// A [`Stop`] when the work shall end.
    pub fn check(&self) -> Result<(), Stop> {
        if self.monitor.cancelled() {
            return Err(Stop::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Stop::TimeLimit);
        }
        Ok(())
    }
}
