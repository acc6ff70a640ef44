//! A small pool of threads of our own.
//!
//! The global pool of rayon never joins its threads, which crashes a process that unloads the library (a Node worker
//! thread that ends); this one joins when its last [`Threads`] handle goes. It is also made for what the kernels do: one
//! short parallel loop after the other. The calling thread works along from the first microsecond; helpers stay awake
//! for a moment after each loop, so the next one finds them; and a loop is over when its items are done, whether a
//! helper woke up in time or not. A loop allocates nothing. While a loop runs, another one (from another thread, or from
//! inside a task) does all its work on its own calling thread.
//!
//! Items are handed out one at a time by an atomic counter, so a core that another process slows down takes fewer. No
//! result may depend on who computes what: callers split their work by shape alone, write disjoint outputs, and reduce
//! partial sums in item order.

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The environment variable that sets the default number of threads.
pub const THREADS_VARIABLE: &str = "LIPBOUND_THREADS";
/// More threads than this are a typing error.
const MAX_THREADS: usize = 1024;

/// How often a thread looks for work, or for the end of a loop, before it sleeps: some 30 microseconds.
const SPINS: usize = 1000;

/// A handle on a pool; clones share it.
#[derive(Clone)]
pub struct Threads {
    pool: Option<Arc<Pool>>,
    count: usize,
}

/// A loop that helpers may join: the closure behind `data`, called with a slot.
#[derive(Clone, Copy)]
struct Job {
    call: unsafe fn(*const (), usize),
    data: *const (),
}

// SAFETY: the closure is `Sync`, and its owner waits for all who run it.
unsafe impl Send for Job {}

#[derive(Default)]
struct State {
    /// The loop that helpers may still join, how many of them, and the slot of the next one.
    job: Option<Job>,
    wanted: usize,
    next_slot: usize,
    /// Someone's loop is not over yet.
    busy: bool,
    /// Helpers inside a loop, and asleep.
    running: usize,
    asleep: usize,
    stop: bool,
    /// What a helper's task panicked with.
    panic: Option<Box<dyn Any + Send>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Helpers wait here for a loop; its owner, for helpers to leave it.
    work: Condvar,
    left: Condvar,
    /// Copies that can be watched without the lock: how many loops there have been, and [`State::running`].
    epoch: AtomicUsize,
    running: AtomicUsize,
    /// Threads that said they are at work, see [`Threads::occupy`].
    occupied: AtomicUsize,
}

struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; the state is always whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a helper.
    fn help(&self) {
        let mut seen = 0;
        loop {
            for _ in 0..SPINS {
                if self.epoch.load(Ordering::Relaxed) != seen {
                    break;
                }
                std::hint::spin_loop();
            }
            let mut state = self.lock();
            let (job, slot) = loop {
                if state.stop {
                    return;
                }
                let epoch = self.epoch.load(Ordering::Relaxed);
                if epoch != seen {
                    seen = epoch;
                    if let Some(job) = state.job.filter(|_| state.wanted > 0) {
                        state.wanted -= 1;
                        state.next_slot += 1;
                        break (job, state.next_slot - 1);
                    }
                }
                state.asleep += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.asleep -= 1;
            };
            state.running += 1;
            self.running.store(state.running, Ordering::Relaxed);
            drop(state);
            // SAFETY: the job was there under the lock, where `running` was raised; its owner takes it away under the
            // lock and then waits until `running` is 0, so the closure outlives this call.
            let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { (job.call)(job.data, slot) }));
            let mut state = self.lock();
            state.running -= 1;
            if let Err(payload) = outcome {
                state.panic = Some(payload);
            }
            self.running.store(state.running, Ordering::Release);
            if state.running == 0 {
                self.left.notify_one();
            }
        }
    }

    /// Calls `drain(0)` on the calling thread and `drain(1)`, `drain(2)`, ... on the helpers that come in time, at most
    /// `helpers` of them. Falls back on the calling thread alone while another loop runs.
    fn share<F: Fn(usize) + Sync>(&self, helpers: usize, drain: &F) {
        unsafe fn call<F: Fn(usize)>(data: *const (), slot: usize) {
            // SAFETY: `data` is the `&F` below, which outlives the job.
            unsafe { (*data.cast::<F>())(slot) }
        }
        {
            let mut state = self.lock();
            if state.busy {
                drop(state);
                return drain(0);
            }
            state.busy = true;
            state.wanted = helpers;
            state.next_slot = 1;
            state.job = Some(Job { call: call::<F>, data: (&raw const *drain).cast() });
            self.epoch.fetch_add(1, Ordering::Relaxed);
            for _ in 0..helpers.min(state.asleep) {
                self.work.notify_one();
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| drain(0)));
        self.lock().job = None;
        for _ in 0..SPINS {
            if self.running.load(Ordering::Acquire) == 0 {
                break;
            }
            std::hint::spin_loop();
        }
        let mut state = self.lock();
        while state.running > 0 {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.busy = false;
        let helped = state.panic.take();
        drop(state);
        if let Some(payload) = own.err().or(helped) {
            resume_unwind(payload);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.epoch.fetch_add(1, Ordering::Relaxed);
        self.shared.work.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper catches the panics of its tasks.
            let _ = helper.join();
        }
    }
}

/// A pool could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadsError(String);

impl fmt::Display for ThreadsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ThreadsError {}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("count", &self.count).finish_non_exhaustive()
    }
}

// A panic in a task unwinds through the pool, which stays usable.
impl std::panic::UnwindSafe for Threads {}
impl std::panic::RefUnwindSafe for Threads {}

impl Threads {
    /// No pool: all work stays on the calling thread.
    #[must_use]
    pub const fn serial() -> Self {
        Self { pool: None, count: 1 }
    }

    /// A pool of `count` threads, the calling one included; 1 is [`Self::serial`].
    ///
    /// # Errors
    /// If `count` is 0 or above 1024, or the system refuses a thread.
    pub fn new(count: usize) -> Result<Self, ThreadsError> {
        if count == 0 || count > MAX_THREADS {
            return Err(ThreadsError(format!("threads must be between 1 and {MAX_THREADS}, got {count}")));
        }
        if count == 1 {
            return Ok(Self::serial());
        }
        let mut pool = Pool { shared: Arc::default(), helpers: Vec::new() };
        for slot in 1..count {
            let shared = Arc::clone(&pool.shared);
            let helper = std::thread::Builder::new()
                .name(format!("lipbound-{slot}"))
                .spawn(move || shared.help())
                .map_err(|error| ThreadsError(format!("could not start {count} threads: {error}")))?;
            pool.helpers.push(helper);
        }
        Ok(Self { pool: Some(Arc::new(pool)), count })
    }

    /// A pool of `LIPBOUND_THREADS` threads, or of as many as the process may run at once.
    ///
    /// # Errors
    /// If the variable is no number between 1 and 1024, or the system refuses a thread.
    pub fn from_environment() -> Result<Self, ThreadsError> {
        Self::new(Self::default_count(std::env::var_os(THREADS_VARIABLE).as_deref())?)
    }

    fn default_count(value: Option<&std::ffi::OsStr>) -> Result<usize, ThreadsError> {
        match value {
            Some(text) if !text.is_empty() => {
                let text = text.to_string_lossy();
                match text.trim().parse() {
                    Ok(count) if (1..=MAX_THREADS).contains(&count) => Ok(count),
                    _ => Err(ThreadsError(format!(
                        "{THREADS_VARIABLE} must be a number between 1 and {MAX_THREADS}, got '{text}'"
                    ))),
                }
            }
            _ => Ok(std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MAX_THREADS)),
        }
    }

    /// The number of threads, the calling one included.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Says that the calling thread is at work until the guard goes. Where as many are as the pool has threads, each does its
    /// loops by itself: a helper would take the place of another caller, and its owner wait for it.
    #[must_use]
    pub fn occupy(&self) -> Occupied {
        if let Some(pool) = &self.pool {
            pool.shared.occupied.fetch_add(1, Ordering::Relaxed);
        }
        Occupied(self.pool.clone())
    }

    /// Calls `work(slot, item)` once for every item below `items`, on all threads, and returns when all are done. No
    /// two concurrent calls get the same slot, and slots are below [`Self::count`] and below `items`. A panic in `work`
    /// is passed on.
    pub fn run(&self, items: usize, work: impl Fn(usize, usize) + Sync) {
        match &self.pool {
            Some(pool) if items > 1 && pool.shared.occupied.load(Ordering::Relaxed) < self.count => {
                let next = AtomicUsize::new(0);
                pool.shared.share(self.count.min(items) - 1, &|slot| {
                    loop {
                        let item = next.fetch_add(1, Ordering::Relaxed);
                        if item >= items {
                            break;
                        }
                        work(slot, item);
                    }
                });
            }
            _ => (0..items).for_each(|item| work(0, item)),
        }
    }
}

/// A thread that is at work; see [`Threads::occupy`].
pub struct Occupied(Option<Arc<Pool>>);

impl Drop for Occupied {
    fn drop(&mut self) {
        if let Some(pool) = &self.0 {
            pool.shared.occupied.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Occupied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Occupied")
    }
}

/// A pointer that tasks on several threads may write through, to places they do not share.
pub(crate) struct Disjoint<T>(*mut T);

impl<T> Clone for Disjoint<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Disjoint<T> {}

// SAFETY: the pointer itself may travel; each dereference argues for itself that its place is not shared.
unsafe impl<T: Send> Send for Disjoint<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Disjoint<T> {}

impl<T> Disjoint<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// The pointer. A method, so that closures capture the wrapper and not the bare pointer.
    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn callers_that_occupy_all_threads_work_alone() {
        let threads = Threads::new(2).unwrap();
        let (first, second) = (threads.occupy(), threads.occupy());
        let caller = std::thread::current().id();
        threads.run(100, |slot, _| assert_eq!((slot, std::thread::current().id()), (0, caller)));
        drop((first, second));
        assert_eq!(threads.pool.as_ref().unwrap().shared.occupied.load(Ordering::Relaxed), 0);
        let _one = threads.occupy();
        let done = AtomicUsize::new(0);
        threads.run(100, |_, _| _ = done.fetch_add(1, Ordering::Relaxed));
        assert_eq!(done.into_inner(), 100);
    }

    #[test]
    fn every_item_runs_once_and_slots_are_not_shared() {
        for count in [1, 2, 5] {
            let threads = Threads::new(count).unwrap();
            for items in [0, 1, 2, 100] {
                let seen: Vec<_> = (0..items).map(|_| AtomicUsize::new(0)).collect();
                let busy: Vec<_> = (0..count).map(|_| AtomicBool::new(false)).collect();
                threads.run(items, |slot, item| {
                    assert!(slot < items);
                    assert!(!busy[slot].swap(true, Ordering::SeqCst));
                    seen[item].fetch_add(1, Ordering::SeqCst);
                    busy[slot].store(false, Ordering::SeqCst);
                });
                assert!(seen.iter().all(|n| n.load(Ordering::SeqCst) == 1));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_pool_usable() {
        let threads = Threads::new(2).unwrap();
        let panicked = catch_unwind(|| threads.run(8, |_, item| assert_ne!(item, 5)));
        assert!(panicked.is_err());
        let sum = AtomicUsize::new(0);
        threads.run(10, |_, item| {
            sum.fetch_add(item, Ordering::SeqCst);
        });
        assert_eq!(sum.load(Ordering::SeqCst), 45);
    }

    #[test]
    fn loops_do_not_disturb_each_other() {
        let threads = Threads::new(3).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..2000 {
                        let sum = AtomicUsize::new(0);
                        let items = round % 7;
                        threads.run(items, |_, item| {
                            // A loop inside a loop works too.
                            threads.run(2, |_, inner| {
                                sum.fetch_add(item + inner, Ordering::Relaxed);
                            });
                            if round % 64 == 0 {
                                std::thread::sleep(std::time::Duration::from_micros(200));
                            }
                        });
                        assert_eq!(sum.load(Ordering::Relaxed), items * items);
                    }
                });
            }
        });
    }

    #[test]
    fn helpers_work_and_are_joined() {
        let threads = Threads::new(2).unwrap();
        let shared = Arc::downgrade(&threads.pool.as_ref().unwrap().shared);
        let helped = AtomicBool::new(false);
        // Items wait (for a while) until a helper has taken one.
        threads.run(2, |slot, _| {
            if slot == 1 {
                helped.store(true, Ordering::SeqCst);
            }
            for _ in 0..10_000 {
                if helped.load(Ordering::SeqCst) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        assert!(helped.load(Ordering::SeqCst));
        let clone = threads.clone();
        drop(threads);
        assert!(shared.upgrade().is_some());
        drop(clone);
        assert!(shared.upgrade().is_none(), "the last handle joins the helpers");
    }

    #[test]
    fn counts_are_validated() {
        assert!(Threads::new(0).is_err());
        assert_eq!(Threads::new(1).unwrap().count(), 1);
        assert_eq!(Threads::default_count(Some(OsStr::new("3"))), Ok(3));
        assert!(Threads::default_count(None).unwrap() >= 1);
        for bad in ["0", "-1", "two", "100000"] {
            let error = Threads::default_count(Some(OsStr::new(bad))).unwrap_err().to_string();
            assert!(error.contains("LIPBOUND_THREADS") && error.contains(bad), "{error}");
        }
    }
}
