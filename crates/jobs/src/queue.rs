//! Lanes with a clock, a lock, and threads that wait for jobs.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{LaneId, Lanes};

#[derive(Debug)]
struct State<J> {
    lanes: Lanes<J>,
    closed: bool,
}

/// A queue that any thread may add to, and any number of threads work on.
#[derive(Debug)]
pub struct Queue<J> {
    origin: Instant,
    state: Mutex<State<J>>,
    /// A job came, or none will any more.
    changed: Condvar,
}

impl<J> Default for Queue<J> {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            state: Mutex::new(State { lanes: Lanes::new(), closed: false }),
            changed: Condvar::new(),
        }
    }
}

impl<J> Queue<J> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // No job runs while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Adds a job at the end of a lane.
    pub fn push(&self, lane: LaneId, job: J) {
        let mut state = self.lock();
        // The time is taken under the lock, so that it never goes back.
        state.lanes.push(lane, job, self.now());
        self.changed.notify_one();
    }

    /// Whether no job waits or runs, and none is remembered.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.lock().lanes.is_empty()
    }

    /// Ends [`work`](Self::work) on all threads once no job waits.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The life of a thread: runs one job after the other, until the queue is closed.
    pub fn work(&self, mut run: impl FnMut(J)) {
        let mut state = self.lock();
        loop {
            if let Some((ticket, job)) = state.lanes.start(self.now()) {
                drop(state);
                run(job);
                state = self.lock();
                state.lanes.end(ticket, self.now());
            } else if state.closed {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}
