//! Bounds of a network: stage by stage, and certified as a whole where that is tighter.

use std::time::Instant;

use lipbound_operators::{Workspace, rounding};
use lipbound_spectral::{Guarantee, NormOptions};

use crate::{
    BoundError, BoundMonitor, BoundOptions, BoundResult, Kind, LayerReport, Method, MethodRequest, ModelError, Network,
    Tensor, attained,
    certificate::{self, certify},
    functionals::{Functionals, Prefix, STREAMS},
    increments::{Increments, Step as IncrementStep},
    layerwise::{Ball, Flow, Remembered},
    nominal::Nominal,
    plan::{Action, Stage},
    weights::{Effort, Search},
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
    let nominal = Nominal::new(network.plan(), &x, monitor, ws)?;
    if let Some(stage) = nominal.overflow() {
        let name = &network.plan().stages[stage].name;
        return Err(ModelError::value(format!("the values of '{name}' overflow at this input")).into());
    }
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
        let mut result = request.run(monitor, &mut memory, ws)?;
        result.seconds += shared;
        results.push(result);
    }
    Ok(results)
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
    norm.validate()?;
    let request = Request {
        network,
        ball: Ball { nominal: None, kind: Kind::Global, epsilon: f64::INFINITY, refine: false },
        method,
        norm: *norm,
        functionals: Functionals::new(network, functionals)?,
        place: (0, 1),
    };
    request.run(monitor, &mut Memory::new(network), ws)
}

/// What one epsilon leaves for the next.
struct Memory {
    norms: Vec<Remembered>,
    searches: Vec<Option<Search>>,
    /// The top singular vector of the Jacobian at x0, once it was looked for.
    direction: Option<Vec<f64>>,
    /// Of the last functional.
    functional: Option<Search>,
}

impl Memory {
    fn new(network: &Network) -> Self {
        let stages = network.plan().stages.len();
        let (norms, searches) = (vec![None; stages], vec![None; stages]);
        Self { norms, searches, direction: None, functional: None }
    }
}

/// Work (multiply-adds of a forward pass) up to which the certificate is taken without being asked for.
const AUTOMATIC_CERTIFICATE: usize = 40_000_000;

/// How hard to try for a prefix, and for the whole.
const PREFIX: certificate::Plan =
    certificate::Plan { effort: Effort { rank: 4, steps: 200, tolerance: 1e-5 }, tries: 3, tolerance: 2e-3 };
pub(crate) const FINAL: certificate::Plan =
    certificate::Plan { effort: Effort { rank: 6, steps: 200, tolerance: 1e-6 }, tries: 3, tolerance: 1e-3 };

/// For a prefix that sets no ranges: the report and functionals see it.
const REPORTED: certificate::Plan =
    certificate::Plan { effort: Effort { rank: 4, steps: 60, tolerance: 1e-4 }, tries: 2, tolerance: 5e-3 };

struct Request<'a> {
    network: &'a Network,
    ball: Ball<'a>,
    method: MethodRequest,
    norm: NormOptions,
    functionals: Functionals<'a>,
    /// Which epsilon of how many.
    place: (usize, usize),
}

fn has_units(stage: &Stage) -> bool {
    match &stage.action {
        Action::Affine { unit, .. } => unit.is_some(),
        Action::Pool(_) => true,
        Action::Add => false,
    }
}

impl Request<'_> {
    fn certifies(&self) -> bool {
        match self.method {
            MethodRequest::Layerwise => false,
            MethodRequest::Certificate => true,
            MethodRequest::Auto => self.network.multiply_adds() <= AUTOMATIC_CERTIFICATE,
        }
    }

    /// How hard to try for the network up to a stage.
    fn plan(&self, index: usize) -> &'static certificate::Plan {
        let stages = &self.network.plan().stages;
        let sets_ranges = |stage: &Stage| has_units(stage) && stage.inputs.contains(&(index + 1));
        if index + 1 == stages.len() {
            &FINAL
        } else if stages.iter().any(sets_ranges) {
            &PREFIX
        } else {
            &REPORTED
        }
    }

    /// For every stage, whether the constant of the network up to it is worth a certificate: where it is the output, what
    /// the output's stage reads (functionals go on from there), or where it sets the range of units to come. The first
    /// stage's own constant cannot be beaten.
    fn certified_stages(&self) -> Vec<bool> {
        let stages = &self.network.plan().stages;
        let mut wanted = vec![false; stages.len()];
        if !self.certifies() || stages.len() < 2 {
            return wanted;
        }
        for (index, stage) in stages.iter().enumerate() {
            let is_output = index + 1 == stages.len();
            if (has_units(stage) || is_output) && self.ball.epsilon.is_finite() {
                for before in stage.inputs.iter().filter_map(|i| i.checked_sub(1)) {
                    wanted[before] = before > 0;
                }
            }
        }
        wanted[stages.len() - 1] = true;
        wanted
    }

    fn run(
        &self,
        monitor: &dyn BoundMonitor,
        memory: &mut Memory,
        ws: &mut Workspace,
    ) -> Result<BoundResult, BoundError> {
        let started = Instant::now();
        let stages = &self.network.plan().stages;
        let inputs: usize = self.network.input_shape().iter().product();
        let epsilon = self.ball.epsilon;
        let certified_stages = self.certified_stages();
        let certifies_functionals = self.certifies() && self.functionals.need_certificates(self.network.plan());
        let certifies = certified_stages.contains(&true) || certifies_functionals;
        let ball = Ball { refine: certifies, ..self.ball };

        // The union bound over all norms of a result.
        let norms = stages.iter().filter(|s| matches!(s.action, Action::Affine { operator: Some(_), .. })).count();
        let certificates = certified_stages.iter().filter(|&&c| c).count();
        let ends = if certifies_functionals { self.functionals.len() } else { 0 };
        let share = self.norm.failure_probability / (norms + certificates + ends).max(1) as f64;
        // Functionals count as one more stage.
        let places = stages.len() + usize::from(!self.functionals.is_empty());

        let mut flows = vec![Flow::input(inputs, epsilon)];
        let mut increments = Increments::new(inputs);
        let mut layers: Vec<LayerReport> = Vec::with_capacity(stages.len());
        for (index, stage) in stages.iter().enumerate() {
            if monitor.cancelled() {
                return Err(BoundError::Cancelled);
            }
            let (k, epsilons) = self.place;
            monitor.stage(&stage.name, k * places + index, epsilons * places, epsilon);
            let began = Instant::now();
            // Streams of random starts: a few for the stage's norm, a few for its certificate.
            let stream = STREAMS * (k * places + index) as u64;
            let options = NormOptions { failure_probability: share, stream, ..self.norm };
            let step =
                ball.stage(index, stage, &flows, &increments, &options, &mut memory.norms[index], monitor, ws)?;
            if k + 1 == epsilons {
                // Nothing will ask again, and masks are as large as layers.
                memory.norms[index] = None;
            }
            let epsilon_in = flows[stage.inputs[0]].radius;
            let mut output = step.output;
            let mut failure_probability = step.norm.failure_probability;
            let mut gain_method = if stage.inputs.iter().all(|&i| i == 0) {
                Method::Layerwise
            } else {
                // A product that rests on a certified prefix is a certificate's doing.
                layers.iter().map(|l| l.gain_method).next_back().unwrap_or(Method::Layerwise)
            };
            if certifies {
                increments.units.extend(step.uncertain);
                let outputs = stage.shape.iter().product();
                increments
                    .push(IncrementStep { inputs: stage.inputs.clone(), outputs, change: step.change }, step.levels);
            }
            if certified_stages[index] {
                let plan = self.plan(index);
                let options = NormOptions { stream: stream + 8, ..options };
                let certified = certify(&increments, plan, &options, &mut memory.searches[index], monitor, ws)?;
                failure_probability = rounding::add_up(failure_probability, certified.failure_probability);
                if certified.upper < output.gain {
                    gain_method = Method::Certificate;
                    output.tighten(certified.upper, epsilon);
                }
            }
            layers.push(LayerReport {
                name: stage.name.clone(),
                kind: stage.kind(),
                members: stage.members.clone(),
                input_shape: stage.input_shape.clone(),
                output_shape: stage.shape.clone(),
                norm: step.norm,
                epsilon_in,
                epsilon_out: output.radius,
                gain: output.gain,
                gain_method,
                failure_probability,
                units: step.units,
                seconds: began.elapsed().as_secs_f64(),
            });
            flows.push(output);
        }
        let last = &flows[flows.len() - 1];
        let question = attained::Question {
            plan: self.network.plan(),
            nominal: ball.nominal,
            inputs,
            epsilon,
            upper: last.gain,
            seed: self.norm.seed,
            // At a point where every slope is certain the Jacobian is exact, and the gains bound its rounding.
            smooth_gains: last.smooth.then(|| layers.iter().map(|l| l.norm.upper).collect()),
            functional: None,
        };
        let lower = attained::lower_bound(&question, &mut memory.direction, monitor, ws)?;
        let failure_probability = layers.iter().map(|l| l.failure_probability).fold(0.0, rounding::add_up);
        // A ratio above the upper bound would prove it wrong: an unlucky start vector, or an error of ours.
        debug_assert!(lower <= last.gain, "attained {lower}, upper bound {}", last.gain);
        let functionals = if self.functionals.is_empty() {
            Vec::new()
        } else {
            let (k, epsilons) = self.place;
            monitor.stage("functionals", k * places + stages.len(), epsilons * places, epsilon);
            let prefix = Prefix {
                flows: &flows,
                gain_methods: layers.iter().map(|l| l.gain_method).collect(),
                increments: certifies_functionals.then_some(increments),
                upper: last.gain,
                failure_probability,
                question,
            };
            // Streams beyond those of all stages.
            let stream = STREAMS * (epsilons * places + k * self.functionals.len()) as u64;
            let options = NormOptions { failure_probability: share, stream, ..self.norm };
            let memory = &mut memory.functional;
            self.functionals.bound(self.network.plan(), prefix, &options, memory, monitor, ws)?
        };
        Ok(BoundResult {
            upper: last.gain.max(lower),
            lower,
            product: last.product,
            epsilon,
            kind: ball.kind,
            method: layers.last().map_or(Method::Layerwise, |l| l.gain_method),
            guarantee: if failure_probability == 0.0 { Guarantee::Deterministic } else { Guarantee::Probabilistic },
            failure_probability,
            seed: self.norm.seed,
            seconds: started.elapsed().as_secs_f64(),
            layers,
            functionals,
        })
    }
}
