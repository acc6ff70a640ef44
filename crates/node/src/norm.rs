//! The norm of one affine layer.

use std::time::Instant;

use lipbound_jobs::LaneId;
use lipbound_models::affine_layer;
use lipbound_operators::masked;
use lipbound_spectral::norm_bracket;
use napi::{
    Env,
    bindgen_prelude::{Function, Object},
};
use napi_derive::napi;

use crate::{
    cancel::CancelToken,
    convert::{self, NativeTensor, NormOptions},
    jobs,
    progress::{self, Progress, Reporter},
    results,
};

/// The bracket of the spectral norm of an affine layer.
#[napi(ts_return_type = "Promise<NormResult | Failure>")]
#[allow(clippy::too_many_arguments, reason = "the boundary is flat; clippy counts only some of them")]
pub fn norm<'env>(
    env: &'env Env,
    layer: String,
    names: Vec<String>,
    tensors: Vec<NativeTensor>,
    input_shape: Vec<f64>,
    options: NormOptions,
    token: &CancelToken,
    on_progress: Option<Function<'_, Progress, ()>>,
) -> napi::Result<Object<'env>> {
    let memory = convert::memory_in(names, &tensors);
    let callback = progress::callback(on_progress)?;
    let token = token.clone();
    jobs::run(env, LaneId::COMMON, Some(token.clone()), move || {
        let shape = convert::shape_in(&input_shape, "input")?;
        let options = options.read()?;
        let started = Instant::now();
        let affine = affine_layer(&layer, &shape, &memory?)?;
        let reporter = Reporter::new(token, callback);
        reporter.begin("norm");
        let operator = masked(affine.operator, None, None);
        let norm = norm_bracket(&*operator, &options, &reporter, &mut *jobs::workspace()?)?;
        Ok(results::norm_out(&norm, options.seed, started.elapsed().as_secs_f64()))
    })
}
