//! Max pools in the layerwise bound, and as pairwise maxima in the increments.

use lipbound_operators::{Workspace, rounding};
use lipbound_spectral::NormBracket;

use crate::{
    BoundError, BoundMonitor, MaxPool, Unit, UnitCounts,
    flow::{Flow, stretched},
    increments::{Change, Increments, Join, Uncertain, centre},
    layerwise::{Ball, Step},
    ledger::{Ledger, Room},
    nominal::poll,
    ranges::Paths,
    unit::PreActivation,
};

impl Ball<'_> {
    /// A max pool: `sqrt(m)`, with `m` the largest number of windows in which one element may be the maximum.
    #[expect(clippy::too_many_arguments, reason = "the stage and its surroundings")]
    pub fn pool(
        &self,
        source: usize,
        pool: &MaxPool,
        input: &Flow,
        increments: &Increments,
        ledger: &mut Ledger<'_>,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Step, BoundError> {
        // An element is a candidate where its largest value reaches the largest of the smallest values.
        let (mut top, mut bottom) = (vec![f64::INFINITY; pool.inputs()], vec![f64::NEG_INFINITY; pool.inputs()]);
        if let Some(nominal) = self.nominal {
            for (i, &v) in nominal.trace.values[source].iter().enumerate() {
                let movement = ledger.room().deviation(input.reach[i].min(input.radius));
                let room = rounding::add_up(movement, ledger.room().error(input.element_error(i)));
                top[i] = rounding::add_up(v, room);
                bottom[i] = rounding::add_down(v, -room);
            }
        }
        let outputs = pool.outputs();
        let (mut moves, mut reach) = (vec![false; outputs], vec![0.0; outputs]);
        let mut units = UnitCounts::default();
        let mut smooth = input.smooth;
        // Windows that each element takes part in.
        let mut windows = vec![0u32; pool.inputs()];
        let mut joins = Joins::new(increments.level_below(&[source]), increments.units.len());
        let mut candidates: Vec<usize> = Vec::new();
        let paths = self
            .refine
            .then(|| {
                let pairs = (0..pool.outputs()).map(|i| pool.window(i).len().saturating_sub(1)).sum();
                Paths::new(increments, source, self.epsilon, (pairs, pool.inputs()), ledger.patience(), ws)
            })
            .flatten();
        for i in 0..outputs {
            // A window's ranges by paths are a pass for each pair.
            if paths.is_some() {
                poll(monitor)?;
            }
            let window = pool.window(i);
            let threshold = window.iter().fold(f64::NEG_INFINITY, |m, &j| m.max(bottom[j as usize]));
            candidates.clear();
            candidates.extend(window.iter().map(|&j| j as usize).filter(|&j| top[j] >= threshold));
            if let Some(nominal) = self.nominal {
                let values = &nominal.trace.values[source];
                candidates.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
            }
            ledger.candidates(window, &mut candidates)?;
            for &j in &candidates {
                windows[j] += u32::from(input.moves[j]);
                moves[i] |= input.moves[j];
                reach[i] = f64::max(reach[i], input.reach[j]);
            }
            joins.window(self, source, &candidates, input, paths.as_ref(), ledger, ws)?;
            match (moves[i], candidates.len()) {
                (false, _) => units.still += 1,
                (true, 1) => units.stable += 1,
                (true, _) => {
                    units.unstable += 1;
                    smooth &= self.winner_is_certain(source, window, input);
                }
            }
        }
        let norm = NormBracket::root_of(windows.into_iter().max().unwrap_or(0) as usize);
        let worst = rounding::sqrt_up(pool.multiplicity() as f64);
        let output = Flow {
            gain: rounding::mul_up(input.gain, norm.upper),
            product: stretched(input.product, norm.lower, norm.upper),
            radius: rounding::mul_up(input.radius, norm.upper),
            reach,
            moves,
            error: rounding::mul_up(worst, rounding::add_up(input.error, input.still_error)),
            still_error: rounding::mul_up(worst, input.still_error),
            smooth,
        };
        let Joins { winners, starts, joins, uncertain, levels, .. } = joins;
        let change = Change::Pool { inputs: pool.inputs(), multiplicity: pool.multiplicity(), winners, starts, joins };
        Ok(Step { norm, units, output, change, uncertain, levels })
    }

    /// Whether at x0 itself one element of the window is above all others, whatever rounding did.
    fn winner_is_certain(&self, source: usize, window: &[u32], input: &Flow) -> bool {
        let Some(nominal) = self.nominal else { return false };
        let values = &nominal.trace.values[source];
        let of = |j: u32| (values[j as usize], input.element_error(j as usize));
        let Some(&winner) = window.iter().max_by(|&&a, &&b| of(a).0.total_cmp(&of(b).0)) else { return false };
        let (best, error) = of(winner);
        window.iter().filter(|&&j| j != winner).all(|&j| {
            let (value, other) = of(j);
            rounding::add_down(best, -error) > rounding::add_up(value, other)
        })
    }
}

/// Builds the pairwise maxima of a pool, window by window.
struct Joins {
    /// Level of the pool's input, and number of its first unit.
    below: usize,
    first: usize,
    winners: Vec<u32>,
    starts: Vec<usize>,
    joins: Vec<Join>,
    uncertain: Vec<Uncertain>,
    /// Most uncertain joins of a window.
    levels: usize,
}

impl Joins {
    fn new(below: usize, first: usize) -> Self {
        let (winners, joins, uncertain) = (Vec::new(), Vec::new(), Vec::new());
        Self { below, first, winners, starts: vec![0], joins, uncertain, levels: 0 }
    }

    /// `run = max(run, b)` for the candidates in their order: that of their nominal values, the largest first, or as it
    /// is claimed. The difference `b - run` moves by at most `|db| + max |da|` over the members `a` so far, and by at
    /// most `sqrt(2)` times the norm of all movement, since `b` is none of them.
    #[expect(clippy::too_many_arguments, reason = "the window and its surroundings")]
    fn window(
        &mut self,
        ball: &Ball<'_>,
        source: usize,
        candidates: &[usize],
        input: &Flow,
        paths: Option<&Paths<'_>>,
        ledger: &mut Ledger<'_>,
        ws: &mut Workspace,
    ) -> Result<(), BoundError> {
        let winner = candidates[0];
        self.winners.push(winner as u32);
        let begin = self.joins.len();
        let mut run_moves = input.moves[winner];
        let mut run_reach = input.reach[winner];
        let mut run_error = input.element_error(winner);
        let values = ball.nominal.map(|nominal| &nominal.trace.values[source][..]);
        let mut run_value = values.map_or(0.0, |values| values[winner]);
        let mut level = self.below;
        for &member in &candidates[1..] {
            let moving = f64::from(u8::from(run_moves)) + f64::from(u8::from(input.moves[member]));
            let by_norm = rounding::mul_up(input.radius, rounding::sqrt_up(moving));
            let by_reach = rounding::add_up(run_reach, input.reach[member]);
            run_moves |= input.moves[member];
            run_reach = run_reach.max(input.reach[member]);
            run_error = run_error.max(input.element_error(member));
            let run_before = run_value;
            run_value = values.map_or(0.0, |values| run_value.max(values[member]));
            if moving == 0.0 {
                continue;
            }
            let at = |room: Room, deviation: f64| match values {
                Some(values) => {
                    let (a, b) = (run_before, values[member]);
                    let error = room.error(rounding::mul_up(2.0, run_error));
                    let deviation = room.deviation(deviation);
                    PreActivation {
                        low: rounding::add_down(rounding::add_down(b, -a), -error),
                        high: rounding::add_up(rounding::add_up(b, -a), error),
                        deviation,
                    }
                }
                None => PreActivation { low: f64::NEG_INFINITY, high: f64::INFINITY, deviation: f64::INFINITY },
            };
            let mut deviation = by_norm.min(by_reach).max(f64::MIN_POSITIVE);
            if let Some(paths) = paths
                && !Unit::Relu.slopes(at(ledger.doubt(), deviation), ball.kind).is_exact()
            {
                deviation =
                    deviation.min(self.by_paths(paths, begin, winner, member, input, ws)).max(f64::MIN_POSITIVE);
            }
            let slope = ledger.slope(Unit::Relu, Unit::Relu.slopes(at(ledger.room(), deviation), ball.kind))?;
            let deviation = ledger.room().deviation(deviation);
            let (middle, delta) = centre(slope);
            if middle == 0.0 && delta == 0.0 {
                continue;
            }
            let unit = (delta > 0.0).then(|| {
                level += 1;
                self.uncertain.push(Uncertain { delta, deviation, level });
                (self.first + self.uncertain.len() - 1) as u32
            });
            self.joins.push(Join { member: member as u32, centre: middle, unit });
        }
        self.levels = self.levels.max(level - self.below);
        self.starts.push(self.joins.len());
        Ok(())
    }

    /// Bound of `|d(b - run)|` by the paths to the window: `run` is undone join by join, back to the nominal winner.
    fn by_paths(
        &self,
        paths: &Paths<'_>,
        begin: usize,
        winner: usize,
        member: usize,
        input: &Flow,
        ws: &mut Workspace,
    ) -> f64 {
        let mut row = ws.zeros(input.moves.len());
        row[member] += 1.0;
        let (mut run, mut from_window): (f64, f64) = (-1.0, 0.0);
        let mut largest_errors: f64 = 0.0;
        for join in self.joins[begin..].iter().rev() {
            if let Some(unit) = join.unit {
                let u = &self.uncertain[unit as usize - self.first];
                let error = rounding::mul_up(u.delta, u.deviation);
                largest_errors = rounding::add_up(largest_errors, error);
                from_window = rounding::add_up(from_window, rounding::mul_up(run.abs(), error));
            }
            let part = join.centre * run;
            row[join.member as usize] += part;
            run -= part;
        }
        row[winner] += run;
        // Each coefficient is a product of at most as many centres and complements as there are joins; all have
        // magnitudes of at most one, so their own rounding is relative to that.
        let roundings = 4 * (self.joins.len() - begin + 1);
        let loose = rounding::gamma(roundings);
        let spread = self.joins[begin..]
            .iter()
            .map(|join| join.member as usize)
            .chain([winner, member])
            .map(|j| input.reach[j])
            .fold(0.0, rounding::add_up);
        let bound = paths.functional(row, None, roundings, ws);
        [from_window, rounding::mul_up(loose, rounding::add_up(spread, largest_errors))]
            .into_iter()
            .fold(bound, rounding::add_up)
    }
}

#[cfg(test)]
mod tests;
