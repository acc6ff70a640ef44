//! Bounds of a network, and certificates of them.

use std::time::Instant;

use lipbound_operators::Workspace;
use lipbound_spectral::{Guarantee, NormOptions};

use crate::{
    BoundError, BoundMonitor, BoundOptions, BoundResult, Certificate, Kind, Method, MethodRequest, ModelError, Network,
    StageClaims, Tensor, attained,
    functionals::Functionals,
    layerwise::Ball,
    ledger::Ledger,
    nominal::Nominal,
    walk::{Memory, Request},
};

/// Upper bounds for an input and every epsilon asked for, in order.
///
/// # Errors
/// If an option or the input is invalid, or the monitor stops the work.
pub fn bound(
    network: &Network,
    input: &Tensor,
    options: &BoundOptions,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Vec<BoundResult>, BoundError> {
    bound_functionals(network, input, options, &[], monitor, ws)
}

/// The same, with a bound for every functional `c^T f` of the output in each result.
///
/// # Errors
/// As [`bound`], and if a functional has another length than the output or an entry out of range.
pub fn bound_functionals(
    network: &Network,
    input: &Tensor,
    options: &BoundOptions,
    functionals: &[Vec<f64>],
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Vec<BoundResult>, BoundError> {
    let found = bounds(network, input, options, functionals, false, monitor, ws)?;
    Ok(found.into_iter().map(|(result, _)| result).collect())
}

/// The same, each bound of the whole output with a certificate. A certificate claims every number with a little room,
/// so these bounds are larger by about a millionth a stage.
///
/// # Errors
/// As [`bound_functionals`].
pub fn bound_with_certificates(
    network: &Network,
    input: &Tensor,
    options: &BoundOptions,
    functionals: &[Vec<f64>],
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Vec<(BoundResult, Certificate)>, BoundError> {
    // Zero has a sign in memory, but none in a file.
    let centre: Vec<f64> = network.read_input(input)?.into_iter().map(|x| x + 0.0).collect();
    let found = bounds(network, input, options, functionals, true, monitor, ws)?;
    Ok(found
        .into_iter()
        .map(|(result, written)| {
            let certificate = written.certificate(network, &result, centre.clone());
            (result, certificate)
        })
        .collect())
}

/// What a run leaves beside its result.
#[derive(Default)]
struct Written {
    stages: Vec<StageClaims>,
    paths: bool,
}

impl Written {
    fn certificate(self, network: &Network, result: &BoundResult, centre: Vec<f64>) -> Certificate {
        Certificate {
            network: network.digest(),
            kind: result.kind,
            epsilon: result.epsilon,
            centre,
            paths: self.paths,
            upper: result.upper,
            stages: self.stages,
        }
    }
}

fn bounds(
    network: &Network,
    input: &Tensor,
    options: &BoundOptions,
    functionals: &[Vec<f64>],
    write: bool,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Vec<(BoundResult, Written)>, BoundError> {
    options.norm.validate()?;
    if let Some(&epsilon) = options.epsilons.iter().find(|e| !e.is_finite() || **e < 0.0) {
        return Err(BoundError::Epsilon(epsilon));
    }
    if options.kind == Kind::Global {
        return Err(ModelError::model("a global constant has no ball: ask for a global bound").into());
    }
    let x = network.read_input(input)?;
    let functionals = Functionals::new(network, functionals)?;
    let start = Instant::now();
    let nominal = nominal_at(network, &x, monitor, ws)?;
    let shared = start.elapsed().as_secs_f64() / options.epsilons.len().max(1) as f64;
    let mut memory = Memory::new(network);
    let mut results = Vec::with_capacity(options.epsilons.len());
    for (k, &epsilon) in options.epsilons.iter().enumerate() {
        let request = Request {
            network,
            ball: Ball { nominal: Some(&nominal), kind: options.kind, epsilon, refine: false },
            method: options.method,
            norm: options.norm,
            functionals,
            place: (k, options.epsilons.len()),
        };
        let (mut result, written) = run(&request, write, monitor, &mut memory, ws)?;
        result.seconds += shared;
        results.push((result, written));
    }
    Ok(results)
}

/// The network at an input.
pub(crate) fn nominal_at(
    network: &Network,
    x: &[f64],
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Nominal, BoundError> {
    let nominal = Nominal::new(network.plan(), x, monitor, ws)?;
    if let Some(stage) = nominal.overflow() {
        let name = &network.plan().stages[stage].name;
        return Err(ModelError::value(format!("the values of '{name}' overflow at this input")).into());
    }
    Ok(nominal)
}

/// An upper bound of the global Lipschitz constant: every unit may take any of its slopes.
///
/// # Errors
/// If an option is invalid, or the monitor stops the work.
pub fn global_bound(
    network: &Network,
    norm: &NormOptions,
    method: MethodRequest,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<BoundResult, BoundError> {
    global_bound_functionals(network, norm, method, &[], monitor, ws)
}

/// The same, with a bound for every functional `c^T f` of the output.
///
/// # Errors
/// As [`global_bound`], and if a functional has another length than the output or an entry out of range.
pub fn global_bound_functionals(
    network: &Network,
    norm: &NormOptions,
    method: MethodRequest,
    functionals: &[Vec<f64>],
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<BoundResult, BoundError> {
    Ok(global(network, norm, method, functionals, false, monitor, ws)?.0)
}

/// The same with a certificate; see [`bound_with_certificates`].
///
/// # Errors
/// As [`global_bound_functionals`].
pub fn global_bound_with_certificate(
    network: &Network,
    norm: &NormOptions,
    method: MethodRequest,
    functionals: &[Vec<f64>],
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<(BoundResult, Certificate), BoundError> {
    let (result, written) = global(network, norm, method, functionals, true, monitor, ws)?;
    let certificate = written.certificate(network, &result, Vec::new());
    Ok((result, certificate))
}

fn global(
    network: &Network,
    norm: &NormOptions,
    method: MethodRequest,
    functionals: &[Vec<f64>],
    write: bool,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<(BoundResult, Written), BoundError> {
    norm.validate()?;
    let request = Request {
        network,
        ball: Ball { nominal: None, kind: Kind::Global, epsilon: f64::INFINITY, refine: false },
        method,
        norm: *norm,
        functionals: Functionals::new(network, functionals)?,
        place: (0, 1),
    };
    run(&request, write, monitor, &mut Memory::new(network), ws)
}

fn run(
    request: &Request<'_>,
    write: bool,
    monitor: &dyn BoundMonitor,
    memory: &mut Memory,
    ws: &mut Workspace,
) -> Result<(BoundResult, Written), BoundError> {
    let started = Instant::now();
    let Request { network, ball, norm, .. } = request;
    let mut ledger = if write { Ledger::Writing(Vec::new()) } else { Ledger::Closed };
    let walk = request.walk(&mut ledger, monitor, memory, ws)?;
    let last = walk.output();
    let question = attained::Question {
        plan: network.plan(),
        nominal: ball.nominal,
        inputs: network.input_shape().iter().product(),
        epsilon: ball.epsilon,
        upper: last.gain,
        seed: norm.seed,
        // At a point where every slope is certain the Jacobian is exact, and the gains bound its rounding.
        smooth_gains: last.smooth.then(|| walk.layers.iter().map(|l| l.norm.upper).collect()),
        functional: None,
    };
    let lower = attained::lower_bound(&question, &mut memory.direction, monitor, ws)?;
    // A ratio above the upper bound would prove it wrong: an unlucky start vector, or an error of ours.
    debug_assert!(lower <= last.gain, "attained {lower}, upper bound {}", last.gain);
    let (upper, product, failure_probability) = (last.gain.max(lower), last.product, walk.failure_probability);
    let (layers, functionals) = request.functionals(walk, question, monitor, memory, ws)?;
    let result = BoundResult {
        upper,
        lower,
        product,
        epsilon: ball.epsilon,
        kind: ball.kind,
        method: layers.last().map_or(Method::Layerwise, |l| l.gain_method),
        guarantee: guarantee(failure_probability),
        failure_probability,
        seed: norm.seed,
        seconds: started.elapsed().as_secs_f64(),
        layers,
        functionals,
    };
    let stages = match ledger {
        Ledger::Writing(stages) => stages,
        _ => Vec::new(),
    };
    Ok((result, Written { stages, paths: request.takes_paths() }))
}

/// What a failure probability says.
pub(crate) fn guarantee(failure_probability: f64) -> Guarantee {
    if failure_probability == 0.0 { Guarantee::Deterministic } else { Guarantee::Probabilistic }
}
