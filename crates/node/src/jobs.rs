//! Job threads: where everything long runs.
//!
//! A few threads of our own take jobs, a lane for each network, so that none has more of their time than another
//! ([`lipbound_jobs`]). They are neither libuv's (whose pool file reads and DNS need) nor a global pool's. A job that
//! panics rejects its promise and leaves the thread alive.

use std::{
    any::Any,
    cell::Cell,
    mem,
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
    thread,
};

use lipbound_jobs::{LaneId, Queue};
use lipbound_kernels::{
    isa::Isa,
    pool::{Occupied, Threads},
};
use lipbound_operators::Workspace;
use lipbound_spectral::Cancelled;
use napi::{
    Env,
    bindgen_prelude::{Either, Object, ToNapiValue},
};

use crate::{cancel::CancelToken, error::Failure};

type Job = Box<dyn FnOnce() + Send>;

/// The kernels' threads, one pool for the whole process; or what is wrong with the environment.
fn pool() -> &'static Result<Threads, String> {
    static POOL: OnceLock<Result<Threads, String>> = OnceLock::new();
    POOL.get_or_init(|| {
        Isa::selected().map_err(|error| error.to_string())?;
        Threads::from_environment().map_err(|error| error.to_string())
    })
}

/// Number of job threads, and of threads that share a large kernel: `LIPBOUND_THREADS`, or as many as the machine runs
/// at once.
pub fn threads() -> usize {
    pool().as_ref().map_or(1, Threads::count)
}

/// Bytes of scratch memory that a job thread keeps for its next job: enough for networks whose bounds take milliseconds,
/// which would notice that it is made anew.
const KEPT: usize = 4 << 20;

thread_local! {
    static SCRATCH: Cell<Option<Workspace>> = const { Cell::new(None) };
}

/// Scratch memory of a job, with the kernels' threads; the next job of the thread goes on with it.
pub struct Scratch {
    workspace: Workspace,
    /// With as many jobs as threads, helpers would only take the place of other jobs.
    _at_work: Occupied,
}

/// Scratch memory for a job.
pub fn workspace() -> Result<Scratch, Failure> {
    let threads = pool().as_ref().map_err(|error| Failure::argument(error.clone()))?;
    let workspace = SCRATCH.take().unwrap_or_else(|| Workspace::with_threads(threads.clone()));
    Ok(Scratch { workspace, _at_work: threads.occupy() })
}

impl Deref for Scratch {
    type Target = Workspace;

    fn deref(&self) -> &Workspace {
        &self.workspace
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut Workspace {
        &mut self.workspace
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a panic leaves goes with it.
        if !thread::panicking() {
            self.workspace.trim(KEPT);
            SCRATCH.set(Some(mem::take(&mut self.workspace)));
        }
    }
}

/// The queue, or why nobody works on it.
fn queue() -> Result<&'static Queue<Job>, Failure> {
    static QUEUE: OnceLock<Queue<Job>> = OnceLock::new();
    static THREADS: OnceLock<Option<String>> = OnceLock::new();
    let queue = QUEUE.get_or_init(Queue::new);
    let missing = THREADS.get_or_init(|| {
        let start = |i| {
            let name = format!("lipbound-job-{i}");
            thread::Builder::new().name(name).spawn(|| queue.work(|job: Job| job()))
        };
        // A thread that cannot be had leaves the work to the others, if there are any.
        let started: Vec<_> = (0..threads()).map(start).collect();
        if started.iter().any(Result::is_ok) {
            return None;
        }
        Some(started.into_iter().find_map(Result::err).map_or_else(String::new, |error| error.to_string()))
    });
    match missing {
        None => Ok(queue),
        Some(reason) => Err(Failure::new("INTERNAL", format!("no thread could be started: {reason}"))),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}

/// Runs `work` on a job thread, after what its lane has already; the promise resolves to its answer or its failure, and
/// never rejects. Work whose token is set when its turn comes is dropped undone.
///
/// # Errors
/// If Node-API cannot make a promise.
pub fn run<'env, T>(
    env: &'env Env,
    lane: LaneId,
    token: Option<CancelToken>,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> napi::Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
{
    let (deferred, promise) = env.create_deferred()?;
    let queue = queue();
    let stranded = queue.as_ref().err().cloned();
    let job = move || {
        let outcome = if let Some(failure) = stranded {
            Err(failure)
        } else if token.is_some_and(|token| token.cancelled()) {
            Err(Cancelled.into())
        } else {
            catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|payload| Err(Failure::new("INTERNAL", panic_message(&*payload))))
        };
        deferred.resolve(move |_| {
            Ok(match outcome {
                Ok(answer) => Either::A(answer),
                Err(failure) => Either::B(failure),
            })
        });
    };
    match queue {
        Ok(queue) => queue.push(lane, Box::new(job)),
        Err(_) => job(),
    }
    Ok(promise)
}
