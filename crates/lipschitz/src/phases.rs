//! Progress of work that is part of larger work.

use lipbound_spectral::{Monitor, NormProgress};

use crate::BoundMonitor;

/// Passes on what one evaluation of several reports, as a part of the whole.
pub(crate) struct Phase<'a> {
    pub inner: &'a dyn BoundMonitor,
    /// Which evaluation of how many it says it is.
    pub place: usize,
    pub places: usize,
    /// The part of the whole work that it is.
    pub from: f64,
    pub to: f64,
}

/// The whole, in the steps that are reported.
const WHOLE: usize = 1_000_000;

impl Monitor for Phase<'_> {
    fn cancelled(&self) -> bool {
        self.inner.cancelled()
    }

    fn norm_progress(&self, progress: NormProgress) {
        self.inner.norm_progress(progress);
    }
}

impl BoundMonitor for Phase<'_> {
    fn stage(&self, name: &str, done: usize, of: usize, epsilon: f64) {
        let own = done as f64 / of.max(1) as f64 * self.places as f64 - self.place as f64;
        let share = self.from + (self.to - self.from) * own.clamp(0.0, 1.0);
        self.inner.stage(name, (share * WHOLE as f64) as usize, WHOLE, epsilon);
    }
}
