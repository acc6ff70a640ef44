//! A network and what is asked of it.

use std::sync::{Arc, Mutex, PoisonError};

use lipbound_jobs::LaneId;
use lipbound_lipschitz::{
    self as lipschitz, Attempts, BoundOptions, Cost, Document, GlobalOptions, MethodRequest, Network, PredictedMemory,
    RadiusOptions,
};
use lipbound_models::{Architecture, OnnxModel, OnnxOptions};
use lipbound_spectral as spectral;
use napi::{
    Env,
    bindgen_prelude::{Float64Array, Function, Object},
};
use napi_derive::napi;

use crate::{
    cancel::CancelToken,
    convert::{self, NativeTensor, NormOptions},
    error::Failure,
    jobs,
    progress::{self, Progress, Reporter},
    results,
};

/// What a network is.
#[napi(object)]
pub struct NetworkSummary {
    pub name: Option<String>,
    pub input_shape: Vec<f64>,
    pub output_shape: Vec<f64>,
    pub parameters: f64,
    pub units: f64,
    pub classes: Option<Vec<String>>,
    pub notes: Vec<String>,
    pub onnx: Option<OnnxSource>,
    pub cost: PredictedCost,
    pub memory: NativeMemory,
    pub layers: Vec<LayerSummary>,
}

/// Multiply-adds: counted for the forward pass, predicted for the bounds.
#[napi(object)]
pub struct PredictedCost {
    pub forward: f64,
    pub layerwise: f64,
    pub certificate: f64,
}

/// Bytes, at most: what stays with the network, and what one computation takes beside it.
#[napi(object)]
pub struct NativeMemory {
    pub network: f64,
    pub layerwise: f64,
    pub certificate: f64,
    pub radius: f64,
}

impl From<PredictedMemory> for NativeMemory {
    fn from(PredictedMemory { network, layerwise, certificate, radius }: PredictedMemory) -> Self {
        let [network, layerwise, certificate, radius] =
            [network, layerwise, certificate, radius].map(|bytes| bytes as f64);
        Self { network, layerwise, certificate, radius }
    }
}

/// What a layer is.
#[napi(object)]
pub struct LayerSummary {
    pub index: u32,
    pub name: String,
    #[napi(js_name = "type")]
    pub kind: String,
    pub inputs: Vec<String>,
    pub input_shape: Vec<f64>,
    pub output_shape: Vec<f64>,
    pub parameters: f64,
    pub units: f64,
}

/// What local and global bounds are asked alike.
#[napi(object)]
pub struct NativeBoundOptions {
    #[napi(ts_type = "'auto' | 'layerwise' | 'certificate'")]
    pub method: String,
    pub norm: NormOptions,
    pub functionals: Option<Vec<Float64Array>>,
    pub certificate: bool,
    pub restarts: Option<f64>,
    pub witness: Option<bool>,
}

/// The same, read.
struct Request {
    method: MethodRequest,
    norm: spectral::NormOptions,
    functionals: Option<Vec<Vec<f64>>>,
    certificate: bool,
    attempts: Attempts,
}

impl NativeBoundOptions {
    fn read(self) -> Result<Request, Failure> {
        Ok(Request {
            method: convert::method_in(&self.method)?,
            norm: self.norm.read()?,
            functionals: convert::functionals_in(self.functionals.as_deref()),
            certificate: self.certificate,
            attempts: Attempts {
                restarts: self.restarts.map(|restarts| convert::whole("restarts", restarts)).transpose()?,
                witness: self.witness.unwrap_or(false),
            },
        })
    }
}

impl Request {
    fn functionals(&self) -> &[Vec<f64>] {
        self.functionals.as_deref().unwrap_or_default()
    }

    /// What is asked of the balls around an input.
    fn around(&self, ball: NativeBall) -> Result<BoundOptions, Failure> {
        let Self { method, norm, attempts, .. } = *self;
        Ok(BoundOptions { epsilons: ball.epsilons, kind: convert::kind_in(&ball.kind)?, method, norm, attempts })
    }
}

/// What a radius is asked.
#[napi(object)]
pub struct NativeRadiusOptions {
    pub label: Option<f64>,
    pub lower: Option<NativeTensor>,
    pub upper: Option<NativeTensor>,
    pub maximum: Option<f64>,
    pub tolerance: f64,
    #[napi(ts_type = "'auto' | 'layerwise' | 'certificate'")]
    pub method: String,
    pub norm: NormOptions,
    pub attack_steps: Option<f64>,
    pub witness: bool,
}

impl NativeRadiusOptions {
    fn read(self) -> Result<RadiusOptions, Failure> {
        let whole = |option: &str, value: Option<f64>| value.map(|value| convert::whole(option, value)).transpose();
        Ok(RadiusOptions {
            label: whole("label", self.label)?,
            input_box: match (&self.lower, &self.upper) {
                (Some(lower), Some(upper)) => {
                    Some((convert::tensor_in(lower, "inputBox.lower")?, convert::tensor_in(upper, "inputBox.upper")?))
                }
                _ => None,
            },
            maximum: self.maximum,
            tolerance: self.tolerance,
            method: convert::method_in(&self.method)?,
            norm: self.norm.read()?,
            attack_steps: whole("attackSteps", self.attack_steps)?,
        })
    }
}

/// A ball around an input, for each of several radii.
#[napi(object)]
pub struct NativeBall {
    pub epsilons: Vec<f64>,
    #[napi(ts_type = "'centred' | 'uniform'")]
    pub kind: String,
}

/// What an ONNX file says of itself, and what reading it saved.
#[napi(object)]
#[derive(Clone)]
pub struct OnnxSource {
    pub producer: Option<String>,
    pub opset: f64,
    pub input: String,
    pub output: String,
    pub folded: f64,
    pub unused: f64,
}

struct Loaded {
    network: Network,
    origin: Origin,
}

/// What a model says of itself besides the network.
#[derive(Default)]
struct Origin {
    name: Option<String>,
    classes: Option<Vec<String>>,
    notes: Vec<String>,
    onnx: Option<OnnxSource>,
}

impl From<Architecture> for Origin {
    fn from(architecture: Architecture) -> Self {
        Self { name: architecture.name, classes: architecture.classes, ..Self::default() }
    }
}

impl From<OnnxModel> for Loaded {
    fn from(model: OnnxModel) -> Self {
        let OnnxModel { network, name, producer, opset, input, output, folded, unused, notes } = model;
        let (folded, unused) = (folded as f64, unused as f64);
        let onnx = Some(OnnxSource { producer, opset: opset as f64, input, output, folded, unused });
        Self { network, origin: Origin { name, classes: None, notes, onnx } }
    }
}

/// A network in native memory.
#[napi]
pub struct NativeNetwork {
    /// Empty once disposed; running work holds its own reference.
    loaded: Mutex<Option<Arc<Loaded>>>,
    /// Of all that is asked of it.
    lane: LaneId,
}

impl NativeNetwork {
    fn new(network: Network, origin: impl Into<Origin>) -> Self {
        Self::of(Loaded { network, origin: origin.into() })
    }

    fn of(loaded: Loaded) -> Self {
        Self { loaded: Mutex::new(Some(Arc::new(loaded))), lane: LaneId::unique() }
    }

    fn loaded(&self) -> Result<Arc<Loaded>, Failure> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(Failure::disposed)
    }
}

#[napi]
impl NativeNetwork {
    /// A network from its architecture and tensors, which are copied.
    #[napi(factory, catch_unwind)]
    pub fn from_architecture(
        architecture: String,
        names: Vec<String>,
        tensors: Vec<NativeTensor>,
    ) -> Result<Self, napi::Error<String>> {
        let build = || {
            let architecture = Architecture::parse(&architecture)?;
            let network = architecture.build(&convert::memory_in(names, &tensors)?)?;
            Ok::<_, Failure>(Self::new(network, architecture))
        };
        Ok(build()?)
    }

    /// A network from its architecture and a safetensors file.
    #[napi(ts_return_type = "Promise<NativeNetwork | Failure>")]
    pub fn load(env: &Env, architecture: String, weights_path: String) -> napi::Result<Object<'_>> {
        jobs::run(env, LaneId::COMMON, None, move || {
            let architecture = Architecture::parse(&architecture)?;
            let network = lipbound_models::load(&architecture, weights_path.as_ref())?;
            Ok(Self::new(network, architecture))
        })
    }

    /// A network from an ONNX file.
    #[napi(ts_return_type = "Promise<NativeNetwork | Failure>")]
    pub fn load_onnx(
        env: &Env,
        path: String,
        input_shape: Option<Vec<u32>>,
        output: Option<String>,
    ) -> napi::Result<Object<'_>> {
        let input_shape = input_shape.map(|shape| shape.into_iter().map(|d| d as usize).collect());
        jobs::run(env, LaneId::COMMON, None, move || {
            let model = lipbound_models::load_onnx(path.as_ref(), &OnnxOptions { input_shape, output })?;
            Ok(Self::of(model.into()))
        })
    }

    /// Shapes, layers and counts.
    #[napi(catch_unwind)]
    pub fn summary(&self) -> Result<NetworkSummary, napi::Error<String>> {
        let loaded = self.loaded()?;
        let Loaded { network, origin } = &*loaded;
        let views = network.layers();
        let source = |i: usize| match i.checked_sub(1) {
            None => ("input", network.input_shape()),
            Some(layer) => (views[layer].node.name.as_str(), &views[layer].node.shape[..]),
        };
        let layers: Vec<LayerSummary> = views
            .iter()
            .enumerate()
            .map(|(index, view)| LayerSummary {
                index: index as u32,
                name: view.node.name.clone(),
                kind: view.node.kind.clone(),
                inputs: view.inputs.iter().map(|&i| source(i).0.into()).collect(),
                input_shape: convert::numbers(source(view.inputs[0]).1),
                output_shape: convert::numbers(&view.node.shape),
                parameters: view.parameters as f64,
                units: view.units as f64,
            })
            .collect();
        let Cost { forward, layerwise, certificate } = network.predicted_cost();
        Ok(NetworkSummary {
            name: origin.name.clone(),
            input_shape: convert::numbers(network.input_shape()),
            output_shape: convert::numbers(network.output_shape()),
            parameters: layers.iter().map(|l| l.parameters).sum(),
            units: layers.iter().map(|l| l.units).sum(),
            classes: origin.classes.clone(),
            notes: origin.notes.clone(),
            onnx: origin.onnx.clone(),
            cost: PredictedCost { forward, layerwise, certificate },
            memory: network.predicted_memory(jobs::threads()).into(),
            layers,
        })
    }

    /// The output for an input.
    #[napi(ts_return_type = "Promise<NativeTensor | Failure>")]
    pub fn evaluate<'env>(&self, env: &'env Env, input: NativeTensor) -> napi::Result<Object<'env>> {
        let (loaded, input) = (self.loaded(), convert::tensor_in(&input, "input"));
        jobs::run(env, self.lane, None, move || Ok(convert::tensor_out(&loaded?.network.evaluate(&input?)?)))
    }

    /// Upper bounds around an input, one an epsilon.
    #[napi(ts_return_type = "Promise<NativeBoundResult[] | Failure>")]
    pub fn bound<'env>(
        &self,
        env: &'env Env,
        input: NativeTensor,
        ball: NativeBall,
        options: NativeBoundOptions,
        token: &CancelToken,
        on_progress: Option<Function<'_, Progress, ()>>,
    ) -> napi::Result<Object<'env>> {
        let (loaded, input) = (self.loaded(), convert::tensor_in(&input, "input"));
        let request = options.read();
        let reporter = (token.clone(), progress::callback(on_progress)?);
        jobs::run(env, self.lane, Some(token.clone()), move || {
            let request = request?;
            let options = request.around(ball)?;
            let reporter = Reporter::new(reporter.0, reporter.1);
            let (loaded, input, ws) = (loaded?, input?, &mut jobs::workspace()?);
            let (network, functionals) = (&loaded.network, request.functionals());
            let asked = request.functionals.is_some();
            if request.certificate {
                let results =
                    lipschitz::bound_with_certificates(network, &input, &options, functionals, &reporter, ws)?;
                Ok(results.into_iter().map(|result| results::certified_out(result, asked)).collect())
            } else {
                let results = lipschitz::bound_functionals(network, &input, &options, functionals, &reporter, ws)?;
                Ok(results.iter().map(|result| results::bound_out(result, asked)).collect::<Vec<_>>())
            }
        })
    }

    /// An upper bound of the global constant.
    #[napi(ts_return_type = "Promise<NativeBoundResult | Failure>")]
    pub fn global_bound<'env>(
        &self,
        env: &'env Env,
        options: NativeBoundOptions,
        token: &CancelToken,
        on_progress: Option<Function<'_, Progress, ()>>,
    ) -> napi::Result<Object<'env>> {
        let (loaded, request) = (self.loaded(), options.read());
        let reporter = (token.clone(), progress::callback(on_progress)?);
        jobs::run(env, self.lane, Some(token.clone()), move || {
            let reporter = Reporter::new(reporter.0, reporter.1);
            let (request, loaded, ws) = (request?, loaded?, &mut jobs::workspace()?);
            let options = GlobalOptions { method: request.method, norm: request.norm, attempts: request.attempts };
            let (network, functionals) = (&loaded.network, request.functionals());
            let asked = request.functionals.is_some();
            if request.certificate {
                let result = lipschitz::global_bound_with_certificate(network, &options, functionals, &reporter, ws)?;
                Ok(results::certified_out(result, asked))
            } else {
                let result = lipschitz::global_bound_functionals(network, &options, functionals, &reporter, ws)?;
                Ok(results::bound_out(&result, asked))
            }
        })
    }

    /// Bounds for every epsilon of a range, method beside method.
    #[napi(ts_return_type = "Promise<NativeSweepPoint[] | Failure>")]
    pub fn sweep<'env>(
        &self,
        env: &'env Env,
        input: NativeTensor,
        ball: NativeBall,
        options: NativeBoundOptions,
        token: &CancelToken,
        on_progress: Option<Function<'_, Progress, ()>>,
    ) -> napi::Result<Object<'env>> {
        let (loaded, input) = (self.loaded(), convert::tensor_in(&input, "input"));
        let request = options.read();
        let reporter = (token.clone(), progress::callback(on_progress)?);
        jobs::run(env, self.lane, Some(token.clone()), move || {
            let options = request?.around(ball)?;
            let reporter = Reporter::new(reporter.0, reporter.1);
            let (loaded, input, ws) = (loaded?, input?, &mut jobs::workspace()?);
            let points = lipschitz::sweep(&loaded.network, &input, &options, &reporter, ws)?;
            Ok(points.iter().map(results::sweep_out).collect::<Vec<_>>())
        })
    }

    /// The largest radius that can be certified around an input.
    #[napi(ts_return_type = "Promise<NativeRadius | Failure>")]
    pub fn certified_radius<'env>(
        &self,
        env: &'env Env,
        input: NativeTensor,
        options: NativeRadiusOptions,
        token: &CancelToken,
        on_progress: Option<Function<'_, Progress, ()>>,
    ) -> napi::Result<Object<'env>> {
        let (loaded, input) = (self.loaded(), convert::tensor_in(&input, "input"));
        let witness = options.witness;
        let options = options.read();
        let reporter = (token.clone(), progress::callback(on_progress)?);
        jobs::run(env, self.lane, Some(token.clone()), move || {
            let reporter = Reporter::new(reporter.0, reporter.1);
            let (loaded, input, options, ws) = (loaded?, input?, options?, &mut jobs::workspace()?);
            let radius = lipschitz::certified_radius(&loaded.network, &input, &options, &reporter, ws)?;
            Ok(results::radius_out(radius, loaded.network.input_shape(), witness))
        })
    }

    /// SHA-256 of what the network computes, in hexadecimal.
    #[napi(catch_unwind)]
    pub fn digest(&self) -> Result<String, napi::Error<String>> {
        Ok(self.loaded()?.network.digest().to_string())
    }

    /// Checks a certificate, given as JSON.
    #[napi(ts_return_type = "Promise<NativeCheckReport | Failure>")]
    pub fn check<'env>(
        &self,
        env: &'env Env,
        certificate: String,
        options: NormOptions,
        token: &CancelToken,
        on_progress: Option<Function<'_, Progress, ()>>,
    ) -> napi::Result<Object<'env>> {
        let loaded = self.loaded();
        let reporter = (token.clone(), progress::callback(on_progress)?);
        jobs::run(env, self.lane, Some(token.clone()), move || {
            let reporter = Reporter::new(reporter.0, reporter.1);
            let loaded = loaded?;
            let max_steps = Some(options.max_steps.unwrap_or(lipschitz::CHECK_STEPS as f64));
            let options = NormOptions { max_steps, ..options }.read()?;
            let document = Document::parse(&certificate)?;
            Ok(results::check_out(document.check(&loaded.network, &options, &reporter, &mut *jobs::workspace()?)?))
        })
    }

    /// Frees the network once no work uses it.
    #[napi]
    pub fn dispose(&self) {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether `dispose` was called.
    #[napi(getter)]
    pub fn disposed(&self) -> bool {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}
