//! Bounds of a network, and certificates of them.

use std::time::Instant;

use lipbound_operators::Workspace;
use lipbound_spectral::Guarantee;

use crate::{
    Attempts, BoundError, BoundMonitor, BoundOptions, BoundResult, Certificate, GlobalOptions, Kind, Method,
    MethodRequest, ModelError, Network, StageClaims, Tensor, attained,
    functionals::Functionals,
    layerwise::Ball,
    ledger::Ledger,
    nominal::Nominal,
    phases::Phase,
    walk::{Memory, Request, takes_certificates},
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

/// Bounds of one epsilon by both methods.
#[derive(Clone, Debug)]
pub struct SweepPoint {
    /// The product of the layers' constants.
    pub layerwise: BoundResult,
    /// The certificate, or the product where that is smaller; absent where no certificates are made.
    pub certificate: Option<BoundResult>,
}

/// Bounds for an input and every epsilon asked for, by the product of layers and, unless that is the method asked for, by
/// certificates. Both share what the network is at the input and the search for a lower end.
///
/// # Errors
/// As [`bound`].
pub fn sweep(
    network: &Network,
    input: &Tensor,
    options: &BoundOptions,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Vec<SweepPoint>, BoundError> {
    let nominal = nominal_at(network, &centre(network, input, options)?, monitor, ws)?;
    let certificates = takes_certificates(network, options.method);
    // About the parts of the work that the two are.
    let split = if certificates { 0.1 } else { 1.0 };
    let phase = |from, to| Phase { inner: monitor, place: 0, places: 1, from, to };
    let mut run = |method, attempts, phase: &Phase<'_>| {
        let around = Around { network, nominal: &nominal, options, method, attempts };
        let results = around.bounds(Functionals::default(), false, phase, &mut Memory::new(network), ws)?;
        Ok::<_, BoundError>(results.into_iter().map(|(result, _)| result).collect::<Vec<_>>())
    };
    // A ratio that is attained is looked for once.
    let attempts = Some(&options.attempts);
    let of_layers = if certificates { None } else { attempts };
    let layerwise = run(MethodRequest::Layerwise, of_layers, &phase(0.0, split))?;
    let certified = if certificates {
        run(MethodRequest::Certificate, attempts, &phase(split, 1.0))?.into_iter().map(Some).collect()
    } else {
        vec![None; layerwise.len()]
    };
    Ok(layerwise
        .into_iter()
        .zip(certified)
        .map(|(mut layerwise, certificate)| {
            if let Some(BoundResult { lower, witness, .. }) = &certificate {
                layerwise.lower = *lower;
                layerwise.witness.clone_from(witness);
            }
            SweepPoint { layerwise, certificate }
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
    let (x, started) = (centre(network, input, options)?, Instant::now());
    let functionals = Functionals::new(network, functionals)?;
    let nominal = nominal_at(network, &x, monitor, ws)?;
    let shared = started.elapsed().as_secs_f64() / options.epsilons.len().max(1) as f64;
    let around =
        Around { network, nominal: &nominal, options, method: options.method, attempts: Some(&options.attempts) };
    let mut results = around.bounds(functionals, write, monitor, &mut Memory::new(network), ws)?;
    results.iter_mut().for_each(|(result, _)| result.seconds += shared);
    Ok(results)
}

/// Checks what is asked, and reads the centre of the ball.
fn centre(network: &Network, input: &Tensor, options: &BoundOptions) -> Result<Vec<f64>, BoundError> {
    options.norm.validate()?;
    if let Some(&epsilon) = options.epsilons.iter().find(|e| !e.is_finite() || **e < 0.0) {
        return Err(BoundError::Epsilon(epsilon));
    }
    if options.kind == Kind::Global {
        return Err(ModelError::model("a global constant has no ball: ask for a global bound").into());
    }
    Ok(network.read_input(input)?)
}

/// What the bounds around an input share.
struct Around<'a> {
    network: &'a Network,
    nominal: &'a Nominal,
    options: &'a BoundOptions,
    method: MethodRequest,
    /// How to look for lower ends, if that is wanted.
    attempts: Option<&'a Attempts>,
}

impl Around<'_> {
    /// The bounds of every epsilon, in order.
    fn bounds(
        &self,
        functionals: Functionals<'_>,
        write: bool,
        monitor: &dyn BoundMonitor,
        memory: &mut Memory,
        ws: &mut Workspace,
    ) -> Result<Vec<(BoundResult, Written)>, BoundError> {
        let Self { network, nominal, options, method, attempts } = *self;
        let epsilons = &options.epsilons;
        let mut results: Vec<(BoundResult, Written)> = epsilons
            .iter()
            .enumerate()
            .map(|(k, &epsilon)| {
                let ball = Ball { nominal: Some(nominal), extents: None, kind: options.kind, epsilon, refine: false };
                let place = (k, epsilons.len());
                let request = Request { network, ball, method, norm: options.norm, functionals, whole: true, place };
                run(&request, attempts, write, monitor, memory, ws)
            })
            .collect::<Result<_, _>>()?;
        share_attained(&mut results);
        Ok(results)
    }
}

/// What is attained in a ball is attained in every larger one.
fn share_attained(results: &mut [(BoundResult, Written)]) {
    let mut order: Vec<usize> = (0..results.len()).collect();
    order.sort_by(|&a, &b| results[a].0.epsilon.total_cmp(&results[b].0.epsilon));
    for pair in order.windows(2) {
        let BoundResult { lower, ref witness, .. } = results[pair[0]].0;
        let witness = witness.clone();
        let larger = &mut results[pair[1]].0;
        if lower > larger.lower {
            debug_assert!(lower <= larger.upper, "attained {lower}, upper bound {}", larger.upper);
            (larger.lower, larger.witness, larger.upper) = (lower, witness, larger.upper.max(lower));
        }
    }
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
    options: &GlobalOptions,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<BoundResult, BoundError> {
    global_bound_functionals(network, options, &[], monitor, ws)
}

/// The same, with a bound for every functional `c^T f` of the output.
///
/// # Errors
/// As [`global_bound`], and if a functional has another length than the output or an entry out of range.
pub fn global_bound_functionals(
    network: &Network,
    options: &GlobalOptions,
    functionals: &[Vec<f64>],
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<BoundResult, BoundError> {
    Ok(global(network, options, functionals, false, monitor, ws)?.0)
}

/// The same with a certificate; see [`bound_with_certificates`].
///
/// # Errors
/// As [`global_bound_functionals`].
pub fn global_bound_with_certificate(
    network: &Network,
    options: &GlobalOptions,
    functionals: &[Vec<f64>],
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<(BoundResult, Certificate), BoundError> {
    let (result, written) = global(network, options, functionals, true, monitor, ws)?;
    let certificate = written.certificate(network, &result, Vec::new());
    Ok((result, certificate))
}

fn global(
    network: &Network,
    options: &GlobalOptions,
    functionals: &[Vec<f64>],
    write: bool,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<(BoundResult, Written), BoundError> {
    options.norm.validate()?;
    let request = Request {
        network,
        ball: Ball { nominal: None, extents: None, kind: Kind::Global, epsilon: f64::INFINITY, refine: false },
        method: options.method,
        norm: options.norm,
        functionals: Functionals::new(network, functionals)?,
        whole: true,
        place: (0, 1),
    };
    run(&request, Some(&options.attempts), write, monitor, &mut Memory::new(network), ws)
}

fn run(
    request: &Request<'_>,
    attempts: Option<&Attempts>,
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
        kind: ball.kind,
        epsilon: ball.epsilon,
        upper: last.gain,
        seed: norm.seed,
        restarts: attempts.and_then(|attempts| attempts.restarts).unwrap_or(if network.multiply_adds() <= SMALL {
            RESTARTS
        } else {
            0
        }),
        insist: attempts.is_some_and(|attempts| attempts.restarts.is_some()),
        witness: attempts.is_some_and(|attempts| attempts.witness),
        // At a point where every slope is certain the Jacobian is exact, and the gains bound its rounding.
        smooth_gains: last.smooth.then(|| walk.layers.iter().map(|l| l.norm.upper).collect()),
        functional: None,
    };
    let (lower, witness) = match attempts {
        None => (0.0, None),
        Some(attempts) => {
            let attained = attained::attained(&question, &mut memory.direction, monitor, ws)?;
            match (attempts.witness, attained.witness) {
                (false, _) => (attained.ratio, None),
                (true, Some(witness)) => (witness.ratio, Some(witness)),
                (true, None) => (0.0, None),
            }
        }
    };
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
        witness,
    };
    let stages = match ledger {
        Ledger::Writing(stages) => stages,
        _ => Vec::new(),
    };
    Ok((result, Written { stages, paths: request.takes_paths() }))
}

/// Random directions to look for a lower end in, where nothing else is asked, for a network of up to [`SMALL`]
/// multiply-adds.
const RESTARTS: usize = 2;
const SMALL: usize = 5_000_000;

/// What a failure probability says.
pub(crate) fn guarantee(failure_probability: f64) -> Guarantee {
    if failure_probability == 0.0 { Guarantee::Deterministic } else { Guarantee::Probabilistic }
}
