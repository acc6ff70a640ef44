//! What work on a network takes of memory, before any is taken: upper bounds, from what the code allocates.
//!
//! Everything that a walk makes is a vector over the elements of a source, the units, or the rows and columns of an
//! operator; this goes through the stages and counts them at their longest: every unit uncertain, every element of a
//! window its possible maximum, masks as unfavourable as they can be. Lists that grow have room for twice what is in
//! them, and while they grow the old one is there too. Work that is done after each other counts once, the larger of it.

use std::{collections::HashSet, sync::Arc};

use lipbound_operators::{Footprint, LinearOperator};
use lipbound_spectral::memory as norms;

use crate::{
    Affine, Bias, Layer, MethodRequest, Network, Unit, Units,
    certificate::FORMED,
    plan::{Action, Stage},
    walk::{FINAL, MOST_RIVALS, takes_certificates, worth_certifying},
};

/// Bytes. Upper bounds for the default options, on a given number of threads: the network's own, and the most that one
/// computation takes beside it at any time. Computations at the same time take as much each.
///
/// Epsilons are worked on one after the other, and functionals of layerwise bounds too, so their number adds only their
/// results. Not counted are inputs and results themselves (with certificates and witnesses, where they are asked for),
/// certificates of functionals, each of which keeps a search of its own, deterministic guarantees, and what reading a model
/// takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PredictedMemory {
    /// What stays with the network: its weights, and what is made of them at first use and kept.
    pub network: usize,
    /// Most that a layerwise bound takes beside that.
    pub layerwise: usize,
    /// Most that a certificate takes, be it local or global, and a sweep.
    pub certificate: usize,
    /// Most that a certified radius takes.
    pub radius: usize,
}

const NUMBER: usize = size_of::<f64>();
/// A list that has grown, in lengths of what is in it; and with what it was before, while it grows.
const GROWN: usize = 2;
const GROWING: usize = 3;
/// Bytes of an uncertain unit, and of a join of a pool.
const UNIT: usize = 24;
const JOIN: usize = 24;
/// Bytes for what does not depend on sizes: names, shapes, reports, headers of lists.
const OF_A_STAGE: usize = 4 << 10;
const OF_A_CALL: usize = 16 << 10;

/// What is counted of a stage.
struct Sizes {
    /// Elements that come in, over all branches, and that go out.
    inputs: usize,
    outputs: usize,
    /// Rows and columns of its operator, in the layout of the kernels too.
    operator: Option<Operator>,
    /// Pairs of a pool's windows.
    pairs: usize,
    /// Whether its units may be uncertain.
    has_units: bool,
    /// Whether it keeps values from before its units.
    affine: bool,
    /// Whether it reads the network's input, all of whose elements move unless a box says otherwise.
    reads_input: bool,
}

#[derive(Clone, Copy)]
struct Operator {
    rows: usize,
    cols: usize,
    /// The same in the layout of the kernels.
    blocked: (usize, usize),
    /// Longest of its vectors.
    longest: usize,
    footprint: Footprint,
    kind: Kind,
    multiply_adds: usize,
}

impl Operator {
    /// Vectors that its norm takes from a workspace at once.
    fn vectors(&self) -> usize {
        self.footprint.vectors
            + match self.kind {
                // Products between masks.
                Kind::Other => norms::VECTORS,
                // Vectors stay in the layout of the kernels, but for bounds by magnitudes and for row norms.
                Kind::Convolution if self.multiply_adds > norms::CHEAP_PASS => 2,
                Kind::Convolution => norms::VECTORS + 1,
                // Perhaps one, between scales.
                Kind::Perhaps => norms::VECTORS + 1,
            }
    }
}

/// Whether a norm goes through the kernels' own layout.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Convolution,
    Perhaps,
    Other,
}

impl Sizes {
    fn of(stage: &Stage, lengths: &[usize]) -> Self {
        let inputs = stage.inputs.iter().map(|&i| lengths[i]).sum();
        let outputs = stage.shape.iter().product();
        let mut sizes = Self {
            inputs,
            outputs,
            operator: None,
            pairs: 0,
            has_units: false,
            affine: false,
            reads_input: stage.inputs == [0],
        };
        match &stage.action {
            Action::Affine { operator, unit, maps } => {
                sizes.affine = true;
                sizes.has_units = unit.is_some();
                sizes.operator = operator.as_ref().map(|operator| {
                    let (rows, cols) = (operator.rows(), operator.cols());
                    let of_maps = maps.iter().map(|map| map.operator.footprint());
                    let footprint = of_maps.fold(operator.footprint(), Footprint::at_most);
                    let longest = footprint.longest.max(rows).max(cols);
                    let (kind, blocked) = match operator.convolution() {
                        Some(conv) => (Kind::Convolution, lipbound_operators::blocked(conv.shape)),
                        None if footprint.scratch > 0 => (Kind::Perhaps, (longest, longest)),
                        None => (Kind::Other, (rows, cols)),
                    };
                    let multiply_adds = operator.multiply_adds();
                    Operator { rows, cols, blocked, longest, footprint, kind, multiply_adds }
                });
            }
            Action::Pool(pool) => {
                sizes.has_units = true;
                sizes.pairs = (0..pool.outputs()).map(|i| pool.window(i).len() - 1).sum();
            }
            Action::Add | Action::Concat => {}
        }
        sizes
    }

    /// Most units that may be uncertain.
    fn units(&self) -> usize {
        match (self.has_units, self.affine) {
            (true, true) => self.outputs,
            (true, false) => self.pairs,
            (false, _) => 0,
        }
    }

    /// Bytes that the stage itself takes while it is bounded, beside what it leaves; `boxed` where elements of the network's
    /// input may be held still.
    fn working(&self, boxed: bool) -> usize {
        let n = self.outputs;
        let uncertain = UNIT + size_of::<u32>();
        let units = uncertain * GROWN * self.units();
        let growing = uncertain * GROWING * self.units();
        match &self.operator {
            Some(Operator { rows, cols, blocked, footprint, .. }) => {
                // Row norms, slopes, reaches, local and still errors, deviations, centres; what moves; the mask of columns.
                let of_rows = (7 * NUMBER + 1) * rows + NUMBER * cols;
                // Scales of the operator between masks: as they are, multiplied with those of the stage, and their magnitudes;
                // then in the layout of the kernels.
                let (tall, wide) = *blocked;
                let masks = 3 * NUMBER * (rows + cols) + NUMBER * (tall + wide);
                let beside = NUMBER * footprint.beside;
                let masked_cols = boxed || !self.reads_input;
                of_rows + growing.max(units + masks + beside + norms::of_norm((*rows, *cols), *blocked, masked_cols))
            }
            None if self.affine => 4 * NUMBER * n + growing,
            None if self.has_units => {
                let windows = (2 * NUMBER + size_of::<u32>()) * self.inputs + NUMBER * GROWN * self.inputs;
                windows + growing + JOIN * GROWING * self.pairs + (3 * NUMBER + 1) * GROWING * n
            }
            None => 2 * NUMBER * (n + self.inputs),
        }
    }

    /// Bytes of its increments, which a certificate keeps.
    fn increments(&self) -> usize {
        let units = UNIT * GROWN * self.units();
        if self.affine {
            NUMBER * self.outputs + size_of::<u32>() * GROWN * self.outputs + units
        } else if self.has_units {
            (NUMBER + size_of::<u32>()) * GROWN * self.outputs + JOIN * GROWN * self.pairs + units
        } else {
            0
        }
    }
}

/// Bytes of a search for weights that is kept.
fn of_search(inputs: usize, units: usize) -> usize {
    let rank = FINAL.effort.rank;
    NUMBER * (rank * inputs + (rank + 1) * units) + 64 * rank
}

/// Bytes of one certificate of a network so far, beside searches that are kept.
fn of_certificate(inputs: usize, outputs: usize, units: usize, sources: usize, longest: usize, work: usize) -> usize {
    let rank = FINAL.effort.rank;
    let (rows, cols) = (outputs + units, inputs + units);
    // Which units take part, with a vector of each source that waits and those of a step.
    let reaching = 2 * units + NUMBER * (sources + 4 * longest);
    let searching =
        NUMBER * (3 * rank * inputs + 3 * rank * units + 2 * units) + rank * (units + inputs) + NUMBER * 400;
    // Weights: sorted ratios, clamped ones, weights with their places, reciprocals, scales, and those of two claims.
    let weights = NUMBER * units * (GROWING + 1 + 2 + 1 + GROWING + GROWING + 2 * GROWING);
    let scaled = of_search(inputs, units) + weights;
    // The operator is formed where that is cheap for its size; it is larger the more units take part.
    let affordable = |units: usize| {
        let (rows, cols) = (outputs + units, inputs + units);
        let (short, long) = (rows.min(cols) as f64, rows.max(cols) as f64);
        norms::is_cheap(rows, cols) || short * (0.5 * short * (long + short) + work as f64) <= FORMED
    };
    let (mut low, mut high) = (0, units);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if affordable(middle) { low = middle } else { high = middle - 1 }
    }
    let formed = if affordable(low) { norms::of_formed(outputs + low, inputs + low) } else { 0 };
    // Magnitudes of the rows, and what counts, come first.
    let norm =
        (NUMBER * cols).max(norms::of_process(rows, cols)).max(formed + 2 * NUMBER * (2 * low + inputs + outputs));
    let bounding = NUMBER * (4 * cols + 3 * rows);
    reaching.max(searching).max(scaled + norm.max(bounding)) + 2 * units
}

/// Most sources that are waited for at once, by whoever reads them.
fn most_waiting(stages: &[Stage]) -> usize {
    let mut last_reader: Vec<usize> = (0..=stages.len()).collect();
    for (index, stage) in stages.iter().enumerate() {
        stage.inputs.iter().for_each(|&input| last_reader[input] = index + 1);
    }
    last_reader[stages.len()] = stages.len() + 1;
    (0..=stages.len())
        .map(|at| (0..=at).filter(|&source| last_reader[source] > at || source == at).count())
        .max()
        .unwrap_or(1)
}

impl Network {
    /// What work on it takes of memory, on `threads` threads.
    #[must_use]
    pub fn predicted_memory(&self, threads: usize) -> PredictedMemory {
        let stages = &self.plan().stages;
        let inputs: usize = self.input_shape().iter().product();
        let mut lengths = vec![inputs];
        let sizes: Vec<Sizes> = stages
            .iter()
            .map(|stage| {
                let sizes = Sizes::of(stage, &lengths);
                lengths.push(sizes.outputs);
                sizes
            })
            .collect();
        let outputs = lengths[stages.len()];
        let sources: usize = lengths.iter().sum();
        let pre: usize = sizes.iter().filter(|s| s.affine).map(|s| s.outputs).sum();
        let operators = || sizes.iter().filter_map(|s| s.operator);
        let longest = operators().map(|o| o.longest).chain(lengths.iter().copied()).max().unwrap_or(0);
        let footprint = operators().map(|o| o.footprint).fold(Footprint::default(), Footprint::at_most);

        // Values and what rounding did to them; what is known of each source; norms and their masks.
        let local: usize = sizes.iter().map(|s| s.outputs).sum();
        let nominal = NUMBER * (sources + pre + local);
        let forward = 5 * NUMBER * longest;
        let flows = (NUMBER + 1) * sources;
        let remembered: usize = operators().map(|o| NUMBER * (o.rows + o.cols)).sum();
        let small = OF_A_CALL + OF_A_STAGE * stages.len() + self.plan_names();
        let common = nominal + flows + remembered + small + footprint.making + footprint.scratch * threads;
        // Points with what the network is there: the best so far, the one on its way there and the next, then their exact
        // evaluation; Jacobians; directions.
        let windows: usize = sizes.iter().filter(|s| !s.affine && s.has_units).map(|s| s.outputs).sum();
        let attained = NUMBER * (10 * sources + 12 * inputs + 24 * outputs + 3 * windows) + forward;
        let working_with = |boxed| sizes.iter().map(|s| s.working(boxed)).max().unwrap_or(0).max(forward);
        let working = working_with(false);
        let vectors = operators().map(|o| o.vectors()).max().unwrap_or(0).max(norms::VECTORS);
        // A functional's row and the last map are a product of their own.
        let vectors = match (stages.last().map(|stage| &stage.action), sizes.last().and_then(|s| s.operator)) {
            (Some(Action::Affine { unit: None, .. }), Some(last)) => vectors.max(last.footprint.vectors + 5),
            _ => vectors,
        };
        let workspace = NUMBER * vectors * longest;
        let layerwise = common + workspace + working.max(attained);

        // Certificates keep increments, searches and, in a workspace, bundles.
        let rank = FINAL.effort.rank;
        let certified = worth_certifying(self, true);
        let (mut units, mut work, mut searches, mut certifying, mut increments) = (0, 0, 0, 0, 0);
        for (index, size) in sizes.iter().enumerate() {
            units += size.units();
            work += size.operator.map_or(0, |o| o.multiply_adds);
            increments += size.increments();
            if certified[index] {
                let so_far = increments + searches + of_search(inputs, units);
                let seen = lengths[..=index + 1].iter().sum();
                let here = of_certificate(inputs, size.outputs, units, seen, longest, work);
                certifying = certifying.max(so_far + here);
                searches += of_search(inputs, units);
            }
        }
        // A functional puts a row behind all units.
        let of_functional = of_search(inputs, units) + of_certificate(inputs, 1, units, sources, longest, work);
        let paths = NUMBER * (2 * units + GROWING * longest + 2 * longest);
        let kept = increments + searches + UNIT * units;
        let longest_scaled = longest.max(units + inputs.max(outputs));
        let bundles = rank * (most_waiting(stages) + 3) + footprint.vectors + norms::VECTORS;
        let share = NUMBER * footprint.vectors * longest + footprint.scratch;
        let in_workspace = NUMBER * bundles * longest_scaled + threads.min(rank).max(1) * share;
        let whole = certifying.max(kept + of_functional).max(kept + paths + working).max(kept + attained);
        let certificate = (common + in_workspace + whole).max(layerwise);

        // Margins: a search for each rival class, a row with the last map, ends of a box; attacks go from point to point.
        let rivals = outputs.max(2) - 1;
        let kept_searches = rivals.min(MOST_RIVALS) + 3;
        let attack = NUMBER * (6 * sources + 24 * inputs + 3 * windows + 8 * outputs) + forward;
        let margins = rivals * 256 + NUMBER * (8 * inputs + 8 * outputs + footprint.beside) + OF_A_CALL;
        let rows = NUMBER * 5 * longest;
        let radius = if takes_certificates(self, MethodRequest::Auto) {
            let searches = kept_searches * of_search(inputs, units);
            certificate
                + searches
                + margins
                + rows
                + attack.max(kept + paths + working_with(true)).saturating_sub(whole)
        } else {
            common + workspace + working_with(true).max(attack) + margins + rows
        };
        PredictedMemory { network: self.held(), layerwise, certificate, radius }
    }

    /// Bytes of names, as reports repeat them.
    fn plan_names(&self) -> usize {
        let of = |stage: &Stage| stage.name.len() + stage.members.iter().map(|name| name.len() + 24).sum::<usize>();
        4 * self.plan().stages.iter().map(of).sum::<usize>()
    }

    /// Bytes that stay with the network, with all that is made at first use.
    fn held(&self) -> usize {
        let mut held = Held::default();
        for node in self.nodes() {
            held.bytes += GROWN * size_of_val(node) + of_text(&node.name) + of_text(&node.kind);
            held.bytes += of_list(node.inputs.len()) + of_list(node.shape.len());
            match &node.layer {
                Layer::Affine(map) => held.map(map),
                Layer::Unit(units) => held.units(units),
                Layer::MaxPool(pool) => held.once(Arc::as_ptr(pool).cast(), pool.bytes()),
                Layer::Identity | Layer::Add | Layer::Concat => {}
            }
        }
        for stage in &self.plan().stages {
            let names =
                stage.members.iter().map(|name| 6 * NUMBER + of_text(name)).sum::<usize>() + of_text(&stage.name);
            let shapes = of_list(stage.inputs.len()) + of_list(stage.input_shape.len()) + of_list(stage.shape.len());
            held.bytes += GROWN * size_of_val(stage) + names + 12 * NUMBER + shapes;
            if let Action::Affine { maps, operator, unit } = &stage.action {
                held.bytes += (GROWN * maps.len() + 4) * size_of::<Affine>();
                maps.iter().for_each(|map| held.map(map));
                unit.iter().for_each(|units| held.units(units));
                if let Some(operator) = operator {
                    held.operator(operator);
                    // Norms of rows without a mask.
                    held.bytes += NUMBER * operator.rows();
                }
            }
        }
        held.bytes
    }
}

/// Bytes of a text and of a list of numbers, with all the room that they may have: it must not matter how they were made.
fn of_text(text: &str) -> usize {
    GROWN * text.len() + NUMBER
}

fn of_list(length: usize) -> usize {
    NUMBER * (GROWN * length + 4)
}

/// What a network holds, each thing once however many hold it.
#[derive(Default)]
struct Held {
    seen: HashSet<*const ()>,
    bytes: usize,
}

impl Held {
    fn once(&mut self, place: *const (), bytes: usize) {
        if self.seen.insert(place) {
            // Counts of references, and what alignment takes.
            self.bytes += bytes + 32;
        }
    }

    fn operator(&mut self, operator: &Arc<dyn LinearOperator>) {
        let place = Arc::as_ptr(operator).cast::<()>();
        if !self.seen.contains(&place) {
            self.once(place, operator.footprint().held + size_of_val(&**operator));
            operator.parts().iter().for_each(|part| self.operator(part));
        }
    }

    fn map(&mut self, Affine { operator, bias }: &Affine) {
        self.operator(operator);
        if let Some(Bias { values, errors }) = bias {
            for numbers in [Some(values), errors.as_ref()].into_iter().flatten() {
                self.once(Arc::as_ptr(numbers).cast(), size_of_val(&numbers[..]));
            }
        }
    }

    fn units(&mut self, units: &Units) {
        if let Units::Each { units, .. } = units {
            self.once(Arc::as_ptr(units).cast(), size_of::<Unit>() * units.len());
        }
    }
}
