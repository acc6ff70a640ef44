//! Progress from job threads to a JavaScript callback.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use lipbound_lipschitz::BoundMonitor;
use lipbound_spectral::{Monitor, NormProgress};
use napi::{
    Status,
    bindgen_prelude::Function,
    threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode},
};
use napi_derive::napi;

use crate::cancel::CancelToken;

/// Where a computation stands.
#[napi(object)]
#[derive(Clone)]
pub struct Progress {
    /// Name of the stage at work.
    pub stage: String,
    /// Lanczos steps done in it.
    pub step: u32,
    /// Share of the stages done, 0 to 1.
    pub done: f64,
    /// The epsilon at work; absent for norms and global bounds.
    pub epsilon: Option<f64>,
}

/// A callback that does not keep the process alive. js/ makes sure that it does not throw.
pub type Callback = Arc<ThreadsafeFunction<Progress, (), Progress, Status, false, true>>;

/// Makes a function callable from job threads.
pub fn callback(function: Option<Function<'_, Progress, ()>>) -> napi::Result<Option<Callback>> {
    function
        .map(|f| f.build_threadsafe_function().callee_handled::<false>().weak::<true>().build().map(Arc::new))
        .transpose()
}

/// Steps are reported at most this often; stages always.
const INTERVAL: Duration = Duration::from_millis(30);

/// Listens to a computation on behalf of JavaScript.
pub struct Reporter {
    token: CancelToken,
    callback: Option<Callback>,
    last: Cell<Option<Instant>>,
    stage: Cell<Option<Progress>>,
}

impl Reporter {
    pub fn new(token: CancelToken, callback: Option<Callback>) -> Self {
        Self { token, callback, last: Cell::new(None), stage: Cell::new(None) }
    }

    /// Names the stage of a computation that has only one.
    pub fn begin(&self, stage: &str) {
        self.report(Progress { stage: stage.into(), step: 0, done: 0.0, epsilon: None });
    }

    fn report(&self, progress: Progress) {
        if let Some(callback) = &self.callback {
            self.stage.set(Some(progress.clone()));
            self.last.set(Some(Instant::now()));
            callback.call(progress, ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl Monitor for Reporter {
    fn cancelled(&self) -> bool {
        self.token.cancelled()
    }

    fn norm_progress(&self, progress: NormProgress) {
        if self.last.get().is_some_and(|last| last.elapsed() >= INTERVAL)
            && let Some(stage) = self.stage.take()
        {
            self.report(Progress { step: progress.steps.try_into().unwrap_or(u32::MAX), ..stage });
        }
    }
}

impl BoundMonitor for Reporter {
    fn stage(&self, name: &str, done: usize, of: usize, epsilon: f64) {
        self.report(Progress {
            stage: name.into(),
            step: 0,
            done: done as f64 / of as f64,
            epsilon: epsilon.is_finite().then_some(epsilon),
        });
    }
}
