//! The walk from the input to the output: stage by stage, and certified as a whole where that is tighter.

use std::{collections::BTreeMap, time::Instant};

use lipbound_operators::{Workspace, rounding};
use lipbound_spectral::NormOptions;

use crate::{
    BoundError, BoundMonitor, FunctionalBound, LayerReport, Method, MethodRequest, Network, attained,
    certificate::{self, certify, verify},
    flow::Flow,
    functionals::{Functionals, Prefix, STREAMS},
    increments::{Increments, Step as IncrementStep},
    layerwise::{Ball, Remembered},
    ledger::Ledger,
    nominal::poll,
    plan::{Action, Stage},
    weights::{Effort, Search},
};

/// What one epsilon leaves for the next.
pub(crate) struct Memory {
    norms: Vec<Remembered>,
    searches: Vec<Option<Search>>,
    /// The top singular vector of the Jacobian at x0, once it was looked for.
    pub direction: Option<Vec<f64>>,
    /// Of the last functional.
    functional: Option<Search>,
    /// Of margins over other classes, by their number.
    rivals: BTreeMap<usize, Search>,
}

impl Memory {
    pub fn new(network: &Network) -> Self {
        let stages = network.plan().stages.len();
        let (norms, searches) = (vec![None; stages], vec![None; stages]);
        Self { norms, searches, direction: None, functional: None, rivals: BTreeMap::new() }
    }

    /// Where to begin the search for a rival's margin: where its last one ended, or else that of any other.
    pub fn search_of_rival(&self, rival: usize) -> Option<Search> {
        self.rivals.get(&rival).or(self.functional.as_ref()).cloned()
    }

    /// Keeps the search for a rival's margin.
    pub fn remember_rival(&mut self, rival: usize, search: Option<Search>) {
        self.functional.clone_from(&search);
        if let Some(search) = search
            && (self.rivals.len() < MOST_RIVALS || self.rivals.contains_key(&rival))
        {
            self.rivals.insert(rival, search);
        }
    }
}

/// Most rivals whose searches are kept: each is as large as several layers.
pub(crate) const MOST_RIVALS: usize = 32;

/// Work (multiply-adds of a forward pass) up to which the certificate is taken without being asked for.
const AUTOMATIC_CERTIFICATE: usize = 40_000_000;

/// How hard to try for a prefix, and for the whole.
const PREFIX: certificate::Plan =
    certificate::Plan { effort: Effort { rank: 4, steps: 200, tolerance: 1e-5 }, tries: 3, tolerance: 2e-3 };
pub(crate) const FINAL: certificate::Plan =
    certificate::Plan { effort: Effort { rank: 6, steps: 200, tolerance: 1e-6 }, tries: 3, tolerance: 1e-3 };

/// For a prefix of a network beyond [`SMALL`], whose steps are dear: the last digits of the value are below the slack.
const PREFIX_OF_LARGE: certificate::Plan =
    certificate::Plan { effort: Effort { tolerance: 1e-4, ..PREFIX.effort }, ..PREFIX };

/// Work (multiply-adds of a forward pass) up to which a search is cheap.
const SMALL: usize = 5_000_000;

/// For a prefix that sets no ranges: the report and functionals see it.
const REPORTED: certificate::Plan =
    certificate::Plan { effort: Effort { rank: 4, steps: 60, tolerance: 1e-4 }, tries: 2, tolerance: 5e-3 };

/// What is asked of a network.
pub(crate) struct Request<'a> {
    pub network: &'a Network,
    /// Whether deviations are refined is for the walk to say.
    pub ball: Ball<'a>,
    pub method: MethodRequest,
    pub norm: NormOptions,
    pub functionals: Functionals<'a>,
    /// Whether the whole output is asked about; if not, only its functionals are.
    pub whole: bool,
    /// Which epsilon of how many.
    pub place: (usize, usize),
}

fn has_units(stage: &Stage) -> bool {
    match &stage.action {
        Action::Affine { unit, .. } => unit.is_some(),
        Action::Pool(_) => true,
        Action::Add | Action::Concat => false,
    }
}

/// How hard to try for the network up to a stage.
pub(crate) fn plan_at(network: &Network, index: usize) -> &'static certificate::Plan {
    let stages = &network.plan().stages;
    let sets_ranges = |stage: &Stage| has_units(stage) && stage.inputs.contains(&(index + 1));
    if index + 1 == stages.len() {
        &FINAL
    } else if stages.iter().any(sets_ranges) {
        if network.multiply_adds() <= SMALL { &PREFIX } else { &PREFIX_OF_LARGE }
    } else {
        &REPORTED
    }
}

/// For every stage, whether the constant of the network up to it is worth a certificate: where it is the output, and in a
/// local bound what the output's stage reads (functionals go on from there), or where it sets the range of units to come.
/// The first stage's own constant cannot be beaten.
pub(crate) fn worth_certifying(network: &Network, local: bool) -> Vec<bool> {
    let stages = &network.plan().stages;
    let mut wanted = vec![false; stages.len()];
    if stages.len() < 2 {
        return wanted;
    }
    for (index, stage) in stages.iter().enumerate() {
        let is_output = index + 1 == stages.len();
        if (has_units(stage) || is_output) && local {
            for before in stage.inputs.iter().filter_map(|i| i.checked_sub(1)) {
                wanted[before] = before > 0;
            }
        }
    }
    wanted[stages.len() - 1] = true;
    wanted
}

/// Whether certificates are made at all.
pub(crate) fn takes_certificates(network: &Network, method: MethodRequest) -> bool {
    match method {
        MethodRequest::Layerwise => false,
        MethodRequest::Certificate => true,
        MethodRequest::Auto => network.multiply_adds() <= AUTOMATIC_CERTIFICATE,
    }
}

impl Request<'_> {
    fn certifies(&self) -> bool {
        takes_certificates(self.network, self.method)
    }

    /// For every stage, whether the network up to it is certified.
    fn certified_stages(&self) -> Vec<bool> {
        if self.certifies() {
            let mut stages = worth_certifying(self.network, self.ball.epsilon.is_finite());
            if !self.whole && self.functionals.take_in_the_end(self.network.plan()) {
                stages.last_mut().into_iter().for_each(|last| *last = false);
            }
            stages
        } else {
            vec![false; self.network.plan().stages.len()]
        }
    }

    fn certifies_functionals(&self) -> bool {
        self.certifies() && self.functionals.need_certificates(self.network.plan())
    }

    /// Whether the network is taken as a whole anywhere: then deviations are refined path by path, too.
    pub fn takes_paths(&self) -> bool {
        self.certified_stages().contains(&true) || self.certifies_functionals()
    }

    /// Walks through all stages, claiming what `ledger` says.
    ///
    /// # Errors
    /// If the monitor stops the work, or a claim does not hold.
    pub fn walk(
        &self,
        ledger: &mut Ledger<'_>,
        monitor: &dyn BoundMonitor,
        memory: &mut Memory,
        ws: &mut Workspace,
    ) -> Result<Walk, BoundError> {
        let stages = &self.network.plan().stages;
        let inputs: usize = self.network.input_shape().iter().product();
        let epsilon = self.ball.epsilon;
        let (certified_stages, paths) = match ledger {
            Ledger::Reading(reader) => (reader.certified_stages(), reader.takes_paths()),
            _ => (self.certified_stages(), self.takes_paths()),
        };
        let ball = Ball { refine: paths, ..self.ball };

        // The union bound over all norms of a result.
        let norms = stages.iter().filter(|s| matches!(s.action, Action::Affine { operator: Some(_), .. })).count();
        let certificates = certified_stages.iter().filter(|&&c| c).count();
        let ends = if self.certifies_functionals() { self.functionals.len() } else { 0 };
        let share = self.norm.failure_probability / (norms + certificates + ends).max(1) as f64;
        let (k, epsilons) = self.place;
        let places = self.places();

        let input = Flow::input(inputs, epsilon, ball.extents);
        let mut increments = Increments::of(&input);
        let mut flows = vec![input];
        let mut layers: Vec<LayerReport> = Vec::with_capacity(stages.len());
        for (index, stage) in stages.iter().enumerate() {
            poll(monitor)?;
            monitor.stage(&stage.name, k * places + index, epsilons * places, epsilon);
            let began = Instant::now();
            // Streams of random starts: a few for the stage's norm, a few for its certificate.
            let stream = STREAMS * (k * places + index) as u64;
            let options = NormOptions { failure_probability: share, stream, ..self.norm };
            ledger.begin(index, stage)?;
            let step =
                ball.stage(index, stage, &flows, &increments, &options, &mut memory.norms[index], ledger, monitor, ws)?;
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
            if paths || certificates > 0 {
                increments.units.extend(step.uncertain);
                let outputs = stage.shape.iter().product();
                increments
                    .push(IncrementStep { inputs: stage.inputs.clone(), outputs, change: step.change }, step.levels);
            }
            if certified_stages[index] {
                let options = NormOptions { stream: stream + 8, ..options };
                let certified = match &*ledger {
                    Ledger::Reading(reader) => {
                        let claim = reader.whole().expect("a certified stage has a claim");
                        verify(&increments, claim, &options, monitor, ws)
                            .or_else(|error| reader.about("the network up to here as a whole", error))?
                    }
                    _ => {
                        let (plan, search) = (plan_at(self.network, index), &mut memory.searches[index]);
                        certify(&increments, plan, ledger.norm_room(), &options, search, monitor, ws)?
                    }
                };
                failure_probability = rounding::add_up(failure_probability, certified.failure_probability);
                if certified.upper < output.gain {
                    gain_method = Method::Certificate;
                    output.tighten(certified.upper, epsilon);
                    if let Some(claim) = certified.claim {
                        ledger.found_whole(claim);
                    }
                }
            }
            ledger.end(&mut output)?;
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
        let failure_probability = layers.iter().map(|l| l.failure_probability).fold(0.0, rounding::add_up);
        Ok(Walk { layers, flows, increments, share, failure_probability })
    }

    /// Stages to report progress of: functionals count as one more.
    fn places(&self) -> usize {
        self.network.plan().stages.len() + usize::from(!self.functionals.is_empty())
    }

    /// The bounds of the functionals after a walk, and the reports of its layers.
    ///
    /// # Errors
    /// If the monitor stops the work.
    pub fn functionals(
        &self,
        walk: Walk,
        question: attained::Question<'_>,
        monitor: &dyn BoundMonitor,
        memory: &mut Memory,
        ws: &mut Workspace,
    ) -> Result<(Vec<LayerReport>, Vec<FunctionalBound>), BoundError> {
        if self.functionals.is_empty() {
            return Ok((walk.layers, Vec::new()));
        }
        let ((k, epsilons), places) = (self.place, self.places());
        monitor.stage("functionals", (k + 1) * places - 1, epsilons * places, self.ball.epsilon);
        let options = self.options_of_functionals(&walk);
        let (plan, memory) = (self.network.plan(), &mut memory.functional);
        let (layers, prefix) = self.prefix(walk);
        let bounds = self.functionals.bound(plan, prefix, question, &options, memory, monitor, ws)?;
        Ok((layers, bounds))
    }

    /// What a walk leaves for functionals, and the reports of its layers.
    pub fn prefix(&self, walk: Walk) -> (Vec<LayerReport>, Prefix) {
        let Walk { layers, flows, increments, failure_probability, .. } = walk;
        let prefix = Prefix {
            gain_methods: layers.iter().map(|l| l.gain_method).collect(),
            increments: self.certifies_functionals().then_some(increments),
            upper: flows[flows.len() - 1].gain,
            flows,
            failure_probability,
        };
        (layers, prefix)
    }

    /// The options of the norm of the first functional: a stream beyond those of all stages.
    pub fn options_of_functionals(&self, walk: &Walk) -> NormOptions {
        let (k, epsilons) = self.place;
        let stream = STREAMS * (epsilons * self.places() + k * self.functionals.len()) as u64;
        NormOptions { failure_probability: walk.share, stream, ..self.norm }
    }
}

/// What a walk found.
pub(crate) struct Walk {
    pub layers: Vec<LayerReport>,
    /// What is known of every source: the input, then the output of each stage.
    flows: Vec<Flow>,
    /// Of all stages, if anything was certified.
    increments: Increments,
    /// The failure probability that each norm was given.
    share: f64,
    pub failure_probability: f64,
}

impl Walk {
    /// What is known of the network's output.
    pub fn output(&self) -> &Flow {
        &self.flows[self.flows.len() - 1]
    }
}
