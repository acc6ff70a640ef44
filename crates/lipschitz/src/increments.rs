//! The network's increments as one linear operator.
//!
//! Around the nominal input each unit's output increment is `dz = c dv + e` with `c` the middle of its slope interval and
//! `|e| <= delta |dv|`, `delta` the half-width; a max pool is `max(a, b) = a + relu(b - a)`, pairwise in the order of
//! nominal values, the same unit with `v = b - a`. All else is linear. So `(dx, e) -> (dy, dv)` is a linear operator: a
//! forward pass with centre slopes that reads `dv` and injects `e` at every unstable unit. Its adjoint is a backward pass
//! that reads at the unit outputs and injects at `dv`.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use lipbound_operators::{LinearOperator, Workspace, rounding};

use self::elements::{Windows, at_units};
use crate::{flow::Flow, unit::Slope};

mod elements;

/// A unit that may change its slope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Uncertain {
    /// Half-width of its slope interval, rounded up.
    pub delta: f64,
    /// Bound of `|dv|`; infinite if unknown.
    pub deviation: f64,
    /// Its level: one more than that of the last unstable unit on the longest way to it; at least 1.
    pub level: usize,
}

/// The middle of a slope interval and the half-width that covers it from there.
pub(crate) fn centre(slope: Slope) -> (f64, f64) {
    if slope.is_exact() {
        return (slope.low, 0.0);
    }
    let middle = 0.5 * slope.low + 0.5 * slope.high;
    let half = rounding::add_up(slope.high, -middle).max(rounding::add_up(middle, -slope.low));
    (middle, half)
}

/// One member of a pooling window joining the running maximum: `run += c (member - run) + e`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Join {
    pub member: u32,
    pub centre: f64,
    /// Number of the unit, if its slope is uncertain.
    pub unit: Option<u32>,
}

/// What a step does to increments.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// `dz = c * (A dv) + e` at the listed elements, whose units are numbered from `first`.
    Affine { operator: Option<Arc<dyn LinearOperator>>, centres: Option<Vec<f64>>, unstable: Vec<u32>, first: usize },
    /// Each output begins with its nominal winner and takes in the joins `starts[i]..starts[i + 1]`.
    /// `multiplicity` is the largest number of windows that one element is in.
    Pool { inputs: usize, multiplicity: usize, winners: Vec<u32>, starts: Vec<usize>, joins: Vec<Join> },
    /// Sum of branches.
    Add,
    /// Branches of these lengths behind each other.
    Concat { lengths: Vec<usize> },
}

impl Step {
    /// The part of the output's adjoint that each input gets: for branches behind each other its own, else all of it.
    fn parts(&self, length: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut start = 0;
        self.inputs.iter().enumerate().map(move |(branch, &input)| match &self.change {
            Change::Concat { lengths } => {
                start += lengths[branch];
                (input, start - lengths[branch]..start)
            }
            _ => (input, 0..length),
        })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub inputs: Vec<usize>,
    pub outputs: usize,
    pub change: Change,
}

/// A linearised network: as many steps as the network has stages so far.
#[derive(Clone, Debug)]
pub(crate) struct Increments {
    pub inputs: usize,
    /// Which elements of the input move, if not all of them do.
    pub moves: Option<Vec<bool>>,
    pub steps: Vec<Step>,
    pub units: Vec<Uncertain>,
    /// Level of every source: that of the last unstable unit on the longest way to it.
    pub source_levels: Vec<usize>,
}

/// Which arithmetic a pass uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Signed,
    /// Every coefficient by its magnitude: for bounds of rounding and of paths.
    Absolute,
    /// The same, and every number that a step makes is larger by [`LOST`]: for what underflow can take from a pass.
    Lossy,
}

/// More than underflow can take from one number of a step (a few denormals a term), and large enough that one step with
/// the smallest weight does not lose it: what it becomes later is counted, since every step adds it anew.
pub(crate) const LOST: f64 = 1e-250;

impl Arithmetic {
    /// What a step adds to each number it makes.
    fn lost(self) -> f64 {
        if self == Self::Lossy { LOST } else { 0.0 }
    }
}

/// Several vectors that travel together.
pub(crate) type Bundle = Vec<Vec<f64>>;

impl Increments {
    /// Of a network that has no steps yet.
    pub fn of(input: &Flow) -> Self {
        let moves = (!input.moves.iter().all(|&m| m)).then(|| input.moves.clone());
        Self { inputs: input.moves.len(), moves, steps: Vec::new(), units: Vec::new(), source_levels: vec![0] }
    }

    /// Zero where the input does not move.
    fn hold_still(&self, input: &mut Bundle) {
        let Some(moves) = &self.moves else { return };
        for vector in input {
            vector.iter_mut().zip(moves).filter(|(_, moves)| !**moves).for_each(|(x, _)| *x = 0.0);
        }
    }

    pub fn outputs(&self) -> usize {
        self.steps.last().map_or(self.inputs, |s| s.outputs)
    }

    /// Levels from the input to the output: those of the units, and the output's own.
    pub fn height(&self) -> usize {
        self.source_levels[self.source_levels.len() - 1] + 1
    }

    /// Adds a step whose new units lie at `levels` above what it reads.
    pub fn push(&mut self, step: Step, levels: usize) {
        let below = self.level_below(&step.inputs);
        self.source_levels.push(below + levels);
        self.steps.push(step);
    }

    /// Takes back the last step, which must have no uncertain units.
    pub fn pop(&mut self) {
        self.steps.pop();
        self.source_levels.truncate(self.steps.len() + 1);
    }

    /// The highest level among sources; zero for those that were never added (a layerwise bound needs no levels).
    pub fn level_below(&self, inputs: &[usize]) -> usize {
        inputs.iter().filter_map(|&i| self.source_levels.get(i).copied()).max().unwrap_or(0)
    }

    /// Multiply-adds of a pass.
    pub fn multiply_adds(&self) -> usize {
        self.steps
            .iter()
            .map(|step| match &step.change {
                Change::Affine { operator, .. } => {
                    step.outputs + operator.as_ref().map_or(0, |operator| operator.multiply_adds())
                }
                Change::Pool { joins, .. } => step.outputs + joins.len(),
                Change::Add => step.outputs * step.inputs.len(),
                Change::Concat { .. } => step.outputs,
            })
            .sum()
    }

    /// Roundings that touch one term of a pass, in the sense of [`LinearOperator::rounding_length`].
    pub fn rounding_length(&self) -> usize {
        self.steps
            .iter()
            .map(|step| match &step.change {
                Change::Affine { operator, .. } => {
                    2 + operator.as_ref().map_or(0, |operator| operator.rounding_length())
                }
                // Each join: difference, product, two sums; backwards the same and a sum an overlapping window.
                Change::Pool { starts, multiplicity, .. } => {
                    4 * starts.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) + multiplicity + 1
                }
                // The second for a branch that is there twice.
                Change::Add | Change::Concat { .. } => step.inputs.len(),
            })
            .sum::<usize>()
            // Backwards, a source with several readers sums them up.
            + self.steps.len()
    }

    /// A forward pass of a bundle. `unit(number, values)` sees the bundle's `dv` at each uncertain unit and replaces it
    /// by what is injected as `e`.
    pub fn forward(
        &self,
        input: Bundle,
        arithmetic: Arithmetic,
        unit: &mut impl FnMut(usize, &mut [f64]),
        ws: &mut Workspace,
    ) -> Bundle {
        self.forward_to(self.steps.len(), input, arithmetic, unit, ws)
    }

    /// The same up to source `source`.
    pub fn forward_to(
        &self,
        source: usize,
        mut input: Bundle,
        arithmetic: Arithmetic,
        unit: &mut impl FnMut(usize, &mut [f64]),
        ws: &mut Workspace,
    ) -> Bundle {
        let rank = input.len();
        let mut readers = vec![0; self.steps.len() + 1];
        self.steps[..source].iter().flat_map(|s| &s.inputs).for_each(|&i| readers[i] += 1);
        readers[source] += 1;
        let mut sources: Vec<Bundle> = Vec::with_capacity(source + 1);
        self.hold_still(&mut input);
        sources.push(input);
        for step in &self.steps[..source] {
            let mut output: Bundle = (0..rank).map(|_| ws.take(step.outputs)).collect();
            match &step.change {
                Change::Affine { operator, centres, unstable, first } => {
                    let x = &sources[step.inputs[0]];
                    match operator {
                        Some(operator) => {
                            products(operator.multiply_adds(), x, &mut output, ws, |x, y, ws| match arithmetic {
                                Arithmetic::Signed => operator.apply(x, y, ws),
                                _ => operator.apply_abs(x, y, ws),
                            })
                        }
                        None => output.iter_mut().zip(x).for_each(|(y, x)| y.copy_from_slice(x)),
                    }
                    output.iter_mut().for_each(|y| lose(y, arithmetic));
                    let injected = at_units(&mut output, unstable, *first, unit, ws);
                    for (y, e) in output.iter_mut().zip(&injected) {
                        scale(y, centres.as_deref(), arithmetic);
                        unstable.iter().zip(e).for_each(|(&element, e)| y[element as usize] += e);
                    }
                    injected.into_iter().for_each(|e| ws.give(e));
                }
                Change::Pool { winners, starts, joins, .. } => {
                    let x = &mut sources[step.inputs[0]];
                    Windows { winners, starts, joins }.forward(x, &mut output, arithmetic, unit);
                }
                Change::Add => {
                    for (k, y) in output.iter_mut().enumerate() {
                        y.copy_from_slice(&sources[step.inputs[0]][k]);
                        for &other in &step.inputs[1..] {
                            y.iter_mut().zip(&sources[other][k]).for_each(|(a, b)| *a += b);
                        }
                    }
                }
                Change::Concat { .. } => {
                    for (k, y) in output.iter_mut().enumerate() {
                        for (input, part) in step.parts(step.outputs) {
                            y[part].copy_from_slice(&sources[input][k]);
                        }
                    }
                }
            }
            output.iter_mut().for_each(|y| lose(y, arithmetic));
            for &input in &step.inputs {
                readers[input] -= 1;
                if readers[input] == 0 {
                    std::mem::take(&mut sources[input]).into_iter().for_each(|x| ws.give(x));
                }
            }
            sources.push(output);
        }
        std::mem::take(&mut sources[source])
    }

    /// A backward pass of a bundle of output adjoints. `unit(number, values)` sees the bundle's adjoint at the output of
    /// each uncertain unit (that of `e`) and replaces it by what is injected at `dv`.
    pub fn backward(
        &self,
        output: Bundle,
        arithmetic: Arithmetic,
        unit: &mut impl FnMut(usize, &mut [f64]),
        ws: &mut Workspace,
    ) -> Bundle {
        self.backward_from(self.steps.len(), output, arithmetic, unit, ws)
    }

    /// The same from source `source`.
    pub fn backward_from(
        &self,
        source: usize,
        output: Bundle,
        arithmetic: Arithmetic,
        unit: &mut impl FnMut(usize, &mut [f64]),
        ws: &mut Workspace,
    ) -> Bundle {
        let rank = output.len();
        let mut pulled: Vec<Option<Bundle>> = vec![None; source + 1];
        pulled[source] = Some(output);
        for (index, step) in self.steps[..source].iter().enumerate().rev() {
            let Some(mut g) = pulled[index + 1].take() else { continue };
            let back: Bundle = match &step.change {
                Change::Affine { operator, centres, unstable, first } => {
                    let injected = at_units(&mut g, unstable, *first, unit, ws);
                    for (g, w) in g.iter_mut().zip(&injected) {
                        scale(g, centres.as_deref(), arithmetic);
                        lose(g, arithmetic);
                        unstable.iter().zip(w).for_each(|(&element, w)| g[element as usize] += w);
                    }
                    injected.into_iter().for_each(|w| ws.give(w));
                    match operator {
                        None => std::mem::take(&mut g),
                        Some(operator) => {
                            let mut x: Bundle = g.iter().map(|_| ws.take(operator.cols())).collect();
                            products(operator.multiply_adds(), &g, &mut x, ws, |g, x, ws| match arithmetic {
                                Arithmetic::Signed => operator.apply_adjoint(g, x, ws),
                                _ => operator.apply_abs_adjoint(g, x, ws),
                            });
                            x
                        }
                    }
                }
                Change::Pool { inputs, winners, starts, joins, .. } => {
                    let mut x: Bundle = (0..rank).map(|_| ws.zeros(*inputs)).collect();
                    Windows { winners, starts, joins }.backward(&mut g, &mut x, arithmetic, unit);
                    x
                }
                Change::Add | Change::Concat { .. } => std::mem::take(&mut g),
            };
            g.into_iter().for_each(|g| ws.give(g));
            let mut back = back;
            back.iter_mut().for_each(|x| lose(x, arithmetic));
            if let [input] = step.inputs[..]
                && pulled[input].is_none()
            {
                pulled[input] = Some(back);
                continue;
            }
            for (input, part) in step.parts(back[0].len()) {
                accumulate(&mut pulled[input], back.iter().map(|back| &back[part.clone()]), ws);
            }
            back.into_iter().for_each(|b| ws.give(b));
        }
        let mut input = pulled[0].take().unwrap_or_else(|| (0..rank).map(|_| ws.zeros(self.inputs)).collect());
        self.hold_still(&mut input);
        input
    }

    /// The units whose errors can reach the output. The others take no part: neither they nor what only they see
    /// changes the output. Decided from the structure, with every number replaced by one on the way, so that no path
    /// is lost to underflow.
    pub fn reaching(&self, ws: &mut Workspace) -> Vec<bool> {
        let mut reaches = vec![false; self.units.len()];
        let mut seen: Vec<Option<Vec<f64>>> = vec![None; self.steps.len() + 1];
        seen[self.steps.len()] = Some(vec![1.0; self.outputs()]);
        for (index, step) in self.steps.iter().enumerate().rev() {
            let Some(mut g) = seen[index + 1].take() else { continue };
            let back = match &step.change {
                Change::Affine { operator, centres, unstable, first } => {
                    if let Some(centres) = centres {
                        let mut kept: Vec<f64> =
                            g.iter().zip(centres).map(|(g, c)| if *c == 0.0 { 0.0 } else { *g }).collect();
                        for (k, &element) in unstable.iter().enumerate() {
                            reaches[first + k] = g[element as usize] > 0.0;
                            kept[element as usize] = g[element as usize];
                        }
                        g = kept;
                    } else {
                        for (k, &element) in unstable.iter().enumerate() {
                            reaches[first + k] = g[element as usize] > 0.0;
                        }
                    }
                    match operator {
                        None => g,
                        Some(operator) => {
                            let mut x = vec![0.0; operator.cols()];
                            operator.apply_abs_adjoint(&g, &mut x, ws);
                            x
                        }
                    }
                }
                Change::Pool { inputs, winners, starts, joins, .. } => {
                    let mut x = vec![0.0; *inputs];
                    for i in 0..step.outputs {
                        for join in &joins[starts[i]..starts[i + 1]] {
                            x[join.member as usize] += g[i];
                            if let Some(number) = join.unit {
                                reaches[number as usize] = g[i] > 0.0;
                            }
                        }
                        x[winners[i] as usize] += g[i];
                    }
                    x
                }
                Change::Add | Change::Concat { .. } => g,
            };
            for (input, part) in step.parts(back.len()) {
                let sum = seen[input].get_or_insert_with(|| vec![0.0; part.len()]);
                sum.iter_mut().zip(&back[part]).for_each(|(s, &b)| {
                    if b != 0.0 {
                        *s = 1.0;
                    }
                });
            }
        }
        reaches
    }
}

fn scale(y: &mut [f64], centres: Option<&[f64]>, arithmetic: Arithmetic) {
    let Some(centres) = centres else { return };
    match arithmetic {
        Arithmetic::Signed => y.iter_mut().zip(centres).for_each(|(y, c)| *y *= c),
        _ => y.iter_mut().zip(centres).for_each(|(y, c)| *y *= c.abs()),
    }
}

/// Multiply-adds of a product beyond which its own threads serve better: what threads work on apart must fit their caches.
const WORKED_APART: usize = 50_000_000;

/// `y_k <- product(x_k)` for a bundle; several products of `work` multiply-adds each are taken apart by threads.
fn products(
    work: usize,
    x: &Bundle,
    y: &mut Bundle,
    ws: &mut Workspace,
    product: impl Fn(&[f64], &mut [f64], &mut Workspace) + Sync,
) {
    if x.len() == 1 || work > WORKED_APART {
        x.iter().zip(y).for_each(|(x, y)| product(x, y, ws));
        return;
    }
    let results: Vec<Mutex<&mut Vec<f64>>> = y.iter_mut().map(Mutex::new).collect();
    ws.share(x.len(), |k, ws| {
        product(&x[k], &mut results[k].lock().unwrap_or_else(PoisonError::into_inner), ws);
    });
}

fn lose(values: &mut [f64], arithmetic: Arithmetic) {
    if arithmetic == Arithmetic::Lossy {
        values.iter_mut().for_each(|v| *v += LOST);
    }
}

fn accumulate<'a>(slot: &mut Option<Bundle>, more: impl Iterator<Item = &'a [f64]>, ws: &mut Workspace) {
    match slot {
        Some(sum) => {
            for (sum, more) in sum.iter_mut().zip(more) {
                sum.iter_mut().zip(more).for_each(|(a, b)| *a += b);
            }
        }
        None => {
            *slot = Some(
                more.map(|more| {
                    let mut copy = ws.take(more.len());
                    copy.copy_from_slice(more);
                    copy
                })
                .collect(),
            );
        }
    }
}
