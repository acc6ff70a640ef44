//! The flag that stops a job.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use napi::Env;
use napi_derive::napi;

/// A flag, polled once a step by the work it was given to.
#[napi]
#[derive(Clone)]
pub struct CancelToken {
    flag: Arc<AtomicBool>,
    closing: Arc<AtomicBool>,
}

#[napi]
impl CancelToken {
    /// A flag that is not set.
    #[napi(constructor)]
    pub fn new(env: Env) -> napi::Result<Self> {
        Ok(Self { flag: Arc::default(), closing: closing(env)? })
    }

    /// Sets the flag.
    #[napi]
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is set.
    #[napi(getter)]
    pub fn cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed) || self.closing.load(Ordering::Relaxed)
    }
}

thread_local! {
    /// Of the environment (the main one, or a worker's) that runs JavaScript on this thread.
    static CLOSING: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// The flag that is set when the environment is torn down: a worker that is gone must not keep a job thread busy.
fn closing(env: Env) -> napi::Result<Arc<AtomicBool>> {
    if let Some(flag) = CLOSING.with_borrow(Clone::clone) {
        return Ok(flag);
    }
    let flag = Arc::new(AtomicBool::new(false));
    env.add_env_cleanup_hook(flag.clone(), |flag| {
        flag.store(true, Ordering::Relaxed);
        CLOSING.take();
    })?;
    CLOSING.set(Some(flag.clone()));
    Ok(flag)
}
