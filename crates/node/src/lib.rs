//! The Node-API addon of lipbound: conversion, errors, cancellation and progress. No mathematics.
//!
//! Everything long runs on job threads of our own (`jobs`); its promise resolves to the answer or to a
//! `error::Failure`, which js/ turns into an error with a code. The signal that cancels lives in TypeScript and
//! reaches Rust as a `cancel::CancelToken`.

// What #[napi] generates has no documentation of its own.
#![allow(missing_docs)]
// In a test build #[napi] registers no functions, so nothing calls them.
#![cfg_attr(test, allow(dead_code))]

mod cancel;
mod convert;
mod error;
mod jobs;
mod network;
mod norm;
mod progress;
mod results;

use lipbound_jobs::LaneId;
use napi::{Env, bindgen_prelude::Object};
use napi_derive::napi;

/// The version of the addon.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Number of job threads.
#[napi]
pub fn threads() -> u32 {
    jobs::threads() as u32
}

/// Reads a .npy file.
#[napi(ts_return_type = "Promise<NativeTensor | Failure>")]
pub fn load_npy(env: &Env, path: String) -> napi::Result<Object<'_>> {
    jobs::run(env, LaneId::COMMON, None, move || Ok(convert::tensor_out(&lipbound_models::load_npy(path.as_ref())?)))
}

/// Reads a picture.
#[napi(ts_return_type = "Promise<NativeTensor | Failure>")]
pub fn load_image(env: &Env, path: String, options: convert::NativeImageOptions) -> napi::Result<Object<'_>> {
    jobs::run(env, LaneId::COMMON, None, move || {
        Ok(convert::tensor_out(&lipbound_models::load_image(path.as_ref(), &options.read())?))
    })
}

/// Panics on a job thread: the test suite's proof that a panic rejects a promise and harms nothing else.
#[napi(ts_return_type = "Promise<void | Failure>")]
pub fn panic_on_job_thread(env: &Env, message: String) -> napi::Result<Object<'_>> {
    jobs::run::<()>(env, LaneId::COMMON, None, move || panic!("{message}"))
}
