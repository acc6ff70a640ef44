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
        let joins = self.joins.len() - begin;
        let loose = rounding::gamma(4 * (joins + 1));
        let spread = self.joins[begin..]
            .iter()
            .map(|join| join.member as usize)
            .chain([winner, member])
            .map(|j| input.reach[j])
            .fold(0.0, rounding::add_up);
        let bound = paths.functional(row, None, 4 * (joins + 1), ws);
        [from_window, rounding::mul_up(loose, rounding::add_up(spread, largest_errors))]
            .into_iter()
            .fold(bound, rounding::add_up)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lipbound_spectral::start::gaussian;

    use super::*;
    use crate::{
        Kind, Layer, Network, Quiet, Tensor,
        bound::nominal_at,
        example::{Matrix, Walked, chain, walk},
        linear,
    };

    fn pool(inputs: usize, windows: &[&[u32]]) -> Arc<MaxPool> {
        let starts = (0..=windows.len()).map(|i| windows[..i].iter().map(|w| w.len()).sum()).collect();
        Arc::new(MaxPool::from_windows(inputs, starts, windows.concat()).unwrap())
    }

    /// A max pool, behind a matrix if there is one.
    fn network(matrix: Option<&Matrix>, pool: &Arc<MaxPool>) -> Network {
        let mut layers = vec![Layer::MaxPool(pool.clone())];
        let mut widths = vec![pool.outputs()];
        let mut inputs = pool.inputs();
        if let Some(matrix) = matrix {
            inputs = matrix[0].len();
            let weight = Tensor::f64(vec![matrix.len(), inputs], matrix.concat()).unwrap();
            layers.insert(0, linear(&[inputs], &weight, None).unwrap().0);
            widths.insert(0, matrix.len());
        }
        chain(inputs, layers, &widths)
    }

    fn around(net: &Network, x: &[f64], epsilon: f64, extents: Option<&[f64]>, refine: bool) -> Walked {
        let nominal = nominal_at(net, x, &Quiet, &mut Workspace::new()).unwrap();
        walk(net, &Ball { nominal: Some(&nominal), extents, kind: Kind::Centred, epsilon, refine })
    }

    fn joins(walked: &Walked) -> (&[u32], &[usize], &[Join]) {
        match &walked.increments.steps.last().unwrap().change {
            Change::Pool { winners, starts, joins, .. } => (winners, starts, joins),
            _ => panic!("no pool"),
        }
    }

    /// An element counts in a window where it can be the largest of it: where some values in the ranges make it that.
    #[test]
    fn the_constant_counts_the_windows_that_an_element_may_win() {
        let windows: [&[u32]; 4] = [&[0, 1, 2], &[0, 2, 3], &[0, 3], &[4]];
        let pool = pool(5, &windows);
        let net = network(None, &pool);
        let (mut constants, mut sure) = ([0; 4], 0);
        for seed in 0..400 {
            let x: Vec<f64> = gaussian(&[true; 5], seed, 1).iter().map(|v| (v * 8.0).round() / 8.0).collect();
            let epsilon = [0.01, 0.1, 0.3, 0.7][seed as usize % 4];
            let moves: Vec<bool> = (0..5).map(|i| seed % 3 != 0 || (seed >> (i + 2)) % 2 == 0).collect();
            let extents: Vec<f64> = moves.iter().map(|&m| if m { 0.2 } else { 0.0 }).collect();
            let walked = around(&net, &x, epsilon, Some(&extents), false);
            let reach = |j: u32| extents[j as usize].min(epsilon);
            let may_win =
                |window: &[u32], j: u32| window.iter().all(|&k| x[j as usize] + reach(j) >= x[k as usize] - reach(k));
            let mut most = 0;
            for j in (0..5).filter(|&j| moves[j as usize]) {
                most = most.max(windows.iter().filter(|w| w.contains(&j) && may_win(w, j)).count());
            }
            let (norm, flow) = (walked.norms[0], &walked.flows[1]);
            assert!((norm.upper * norm.upper - most as f64).abs() < 1e-12, "seed {seed}: {norm:?} for {most}");
            assert!(norm.lower <= norm.upper && norm.lower > norm.upper - 1e-12);
            constants[most.min(3)] += 1;
            // What is known of the outputs follows from the candidates.
            let radius = walked.flows[0].radius;
            assert!((flow.gain / norm.upper - 1.0).abs() < 1e-12 || most == 0);
            assert!((flow.radius - norm.upper * radius).abs() <= 1e-12 * radius);
            let (mut still, mut stable, mut unstable) = (0, 0, 0);
            for (i, window) in windows.iter().enumerate() {
                let candidates: Vec<u32> = window.iter().copied().filter(|&j| may_win(window, j)).collect();
                let moving = candidates.iter().any(|&j| moves[j as usize]);
                assert_eq!(flow.moves[i], moving, "seed {seed}, window {i}");
                assert_eq!(flow.reach[i], candidates.iter().map(|&j| reach(j)).fold(0.0, f64::max));
                match (moving, candidates.len()) {
                    (false, _) => still += 1,
                    (true, 1) => stable += 1,
                    _ => unstable += 1,
                }
            }
            let units = &walked.units[0];
            assert_eq!((units.still, units.stable, units.unstable), (still, stable, unstable), "seed {seed}");
            // At the nominal input itself, only a tie for the largest value leaves the slope unsure.
            let tied = windows.iter().enumerate().any(|(i, window)| {
                let largest = window.iter().map(|&j| x[j as usize]).fold(f64::NEG_INFINITY, f64::max);
                flow.moves[i] && window.iter().filter(|&&j| x[j as usize] == largest).count() > 1
            });
            assert_eq!(flow.smooth, !tied, "seed {seed}");
            sure += usize::from(!tied);
        }
        assert!(constants.iter().all(|&n| n > 5) && sure > 20 && sure < 400, "{constants:?}, {sure}");
    }

    /// Every maximum of the ball is what its joins make of it, with slopes and movements inside their intervals; and these
    /// are no wider than they must be for two elements.
    #[test]
    fn joins_hold_every_maximum_of_the_ball() {
        let windows: [&[u32]; 3] = [&[0, 1, 2, 3], &[1, 3, 4], &[0, 4]];
        let pool = pool(5, &windows);
        let (mut uncertain, mut skipped) = (0, 0);
        for seed in 0..240u64 {
            let with_matrix = seed % 2 == 0;
            let matrix: Matrix = (0..5).map(|i| gaussian(&[true; 3], seed, 10 + i)).collect();
            let net = network(with_matrix.then_some(&matrix), &pool);
            let n = if with_matrix { 3 } else { 5 };
            let x = gaussian(&vec![true; n], seed, 2);
            let epsilon = [0.02, 0.2, 1.0][seed as usize % 3];
            let extents: Option<Vec<f64>> =
                (seed % 5 == 0).then(|| (0..n).map(|i| if (seed >> i) % 2 == 0 { epsilon } else { 0.0 }).collect());
            let walked = around(&net, &x, epsilon, extents.as_deref(), seed % 4 < 2);
            let (winners, starts, joins) = joins(&walked);
            let before = |x: &[f64]| -> Vec<f64> {
                if !with_matrix {
                    return x.to_vec();
                }
                matrix.iter().map(|row| row.iter().zip(x).map(|(a, x)| a * x).sum()).collect()
            };
            let values = before(&x);
            let units = &walked.increments.units;
            let mut most_levels = 0;
            for (i, window) in windows.iter().enumerate() {
                let own = &joins[starts[i]..starts[i + 1]];
                // Levels count from one in each window.
                let levels: Vec<usize> = own.iter().filter_map(|j| j.unit).map(|u| units[u as usize].level).collect();
                assert_eq!(levels, (1..=levels.len()).collect::<Vec<_>>());
                most_levels = most_levels.max(levels.len());
                skipped += window.len() - 1 - own.len();
            }
            assert_eq!(walked.increments.height(), most_levels + 1);
            assert_eq!(units.len(), joins.iter().filter(|j| j.unit.is_some()).count());
            for sample in 0..40 {
                let mut d = gaussian(&vec![true; n], seed, 100 + sample);
                if let Some(extents) = &extents {
                    d.iter_mut().zip(extents).for_each(|(d, &e)| *d = if e == 0.0 { 0.0 } else { *d });
                }
                let size = d.iter().map(|d| d * d).sum::<f64>().sqrt().max(1e-300);
                let share = if sample % 2 == 0 { 1.0 - 1e-12 } else { 0.3 };
                let moved: Vec<f64> = x.iter().zip(&d).map(|(x, d)| x + d / size * epsilon * share).collect();
                let after = before(&moved);
                for (i, window) in windows.iter().enumerate() {
                    let largest = |v: &[f64]| window.iter().map(|&j| v[j as usize]).fold(f64::NEG_INFINITY, f64::max);
                    let (mut run, mut run_after) = (values[winners[i] as usize], after[winners[i] as usize]);
                    for join in &joins[starts[i]..starts[i + 1]] {
                        let (member, member_after) = (values[join.member as usize], after[join.member as usize]);
                        let dv = (member_after - run_after) - (member - run);
                        let dz = (member_after - run_after).max(0.0) - (member - run).max(0.0);
                        let e = dz - join.centre * dv;
                        match join.unit {
                            Some(unit) => {
                                let unit = units[unit as usize];
                                uncertain += 1;
                                assert!(e.abs() <= unit.delta * dv.abs() + 1e-13, "seed {seed}, window {i}");
                                assert!(dv.abs() <= unit.deviation + 1e-13, "seed {seed}, window {i}");
                            }
                            None => {
                                assert!(join.centre != 0.0, "a join that does nothing is left out");
                                assert!(e.abs() <= 1e-13, "seed {seed}, window {i}: {e}");
                            }
                        }
                        (run, run_after) = (run.max(member), run_after.max(member_after));
                    }
                    // Those that were left out change nothing.
                    assert!((run - largest(&values)).abs() < 1e-13 && (run_after - largest(&after)).abs() < 1e-13);
                }
            }
            // Between two elements the difference moves by no more than it can.
            let own = &joins[starts[2]..starts[3]];
            if let [Join { unit: Some(unit), .. }] = own {
                let found = units[*unit as usize].deviation;
                let rows = [0, 4].map(|j| -> Vec<f64> {
                    if with_matrix { matrix[j].clone() } else { (0..n).map(|i| f64::from(u8::from(i == j))).collect() }
                });
                let held = |i: usize| extents.as_ref().is_some_and(|extents| extents[i] == 0.0);
                let apart = |f: &dyn Fn(usize) -> f64| {
                    (0..n).filter(|&i| !held(i)).map(|i| f(i) * f(i)).sum::<f64>().sqrt() * epsilon
                };
                let exact = apart(&|i| rows[0][i] - rows[1][i]);
                let each = apart(&|i| rows[0][i]) + apart(&|i| rows[1][i]);
                let most = if seed % 4 < 2 { exact * (1.0 + 1e-9) } else { each * (1.0 + 1e-9) };
                assert!(found >= exact * (1.0 - 1e-12) && found <= most, "seed {seed}: {found}, {exact}, {most}");
                if !with_matrix {
                    assert!((found - exact).abs() < 1e-9, "seed {seed}: {found} for {exact}");
                }
            }
        }
        assert!(uncertain > 1000 && skipped > 100, "{uncertain} {skipped}");
    }

    /// `|d(m - max(a, b, ...))|` in closed form: the joins before, one after the other, with their centres, and the error of
    /// each with what the later ones leave of it.
    #[test]
    fn later_elements_are_compared_by_paths_through_the_earlier_ones() {
        let pool = pool(4, &[&[0, 1, 2, 3]]);
        let matrix: Matrix = vec![vec![1.0, 0.5], vec![0.9, 0.6], vec![0.8, 0.65], vec![0.5, 0.95]];
        let net = network(Some(&matrix), &pool);
        let (x, epsilon) = ([1.0, 1.0], 0.5);
        // 1.5, 1.5, 1.45 and 1.45: none is certain.
        let walked = around(&net, &x, epsilon, None, true);
        let (winners, _, joins) = joins(&walked);
        let units = &walked.increments.units;
        assert_eq!((winners.len(), joins.len(), units.len()), (1, 3, 3));
        let mut run = matrix[winners[0] as usize].clone();
        let mut errors: Vec<f64> = Vec::new();
        let mut different = 0;
        for (join, unit) in joins.iter().zip(units) {
            let row = &matrix[join.member as usize];
            let apart = run.iter().zip(row).map(|(r, m)| (m - r) * (m - r)).sum::<f64>().sqrt();
            let exact = epsilon * apart + errors.iter().sum::<f64>();
            assert!((unit.deviation / exact - 1.0).abs() < 1e-9, "{unit:?}, {exact}");
            let c = join.centre;
            different += usize::from((c - 0.5).abs() > 1e-3);
            run.iter_mut().zip(row).for_each(|(r, m)| *r += c * (m - *r));
            errors.iter_mut().for_each(|e| *e *= 1.0 - c);
            errors.push(unit.delta * unit.deviation);
        }
        assert!(different > 0, "{joins:?}");
    }

    /// The levels of a pool's joins begin above those of the units before it.
    #[test]
    fn joins_lie_above_the_units_before_them() {
        let pool = pool(3, &[&[0, 1, 2], &[1, 2]]);
        let weight = Tensor::f64(vec![3, 2], vec![1.0, 0.5, 0.5, 1.0, -0.5, 1.0]).unwrap();
        let layers =
            vec![linear(&[2], &weight, None).unwrap().0, Layer::Unit(Unit::Relu.into()), Layer::MaxPool(pool.clone())];
        let net = chain(2, layers, &[3, 3, 2]);
        let walked = around(&net, &[0.1, 0.1], 5.0, None, false);
        let levels: Vec<usize> = walked.increments.units.iter().map(|u| u.level).collect();
        assert_eq!(levels, [1, 1, 1, 2, 3, 2]);
        assert_eq!(walked.increments.height(), 4);
    }

    /// The rounding error of what was pooled: each error once for every window that may have it.
    #[test]
    fn errors_go_through_a_pool_with_its_constant() {
        let pool = pool(4, &[&[0, 1], &[0, 2], &[0, 3]]);
        let net = network(None, &pool);
        let x = [1.0, 0.9, 0.8, 0.7];
        let nominal = nominal_at(&net, &x, &Quiet, &mut Workspace::new()).unwrap();
        let ball = Ball { nominal: Some(&nominal), extents: None, kind: Kind::Centred, epsilon: 1.0, refine: false };
        let mut ws = Workspace::new();
        let step = |error: f64, still_error: f64, ws: &mut Workspace| {
            let flow = Flow { error, still_error, ..Flow::input(4, 1.0, None) };
            let increments = Increments::of(&flow);
            ball.pool(0, &pool, &flow, &increments, &mut Ledger::Closed, &Quiet, ws).unwrap().output
        };
        let root = 3f64.sqrt();
        let near =
            |found: f64, exact: f64| assert!(found >= exact && found <= exact * (1.0 + 1e-14), "{found} {exact}");
        let output = step(1e-3, 2e-3, &mut ws);
        near(output.error, root * 3e-3);
        near(output.still_error, root * 2e-3);
        // The difference of the first two is from -0.22 to 0.02: its slope is anything from zero to one.
        let flow = Flow { error: 0.06, still_error: 0.0, ..Flow::input(4, 1.0, None) };
        let found = ball.pool(0, &pool, &flow, &Increments::of(&flow), &mut Ledger::Closed, &Quiet, &mut ws).unwrap();
        assert!(found.uncertain[0].delta >= 0.5 && found.uncertain[0].delta < 0.5 + 1e-15, "{:?}", found.uncertain);
        // An error of the size of a difference leaves the winner unsure.
        assert!(step(0.04, 0.04, &mut ws).smooth && !step(0.06, 0.06, &mut ws).smooth);
        assert!(!step(0.0501, 0.0501, &mut ws).smooth && step(0.0499, 0.0499, &mut ws).smooth);
    }

    #[test]
    fn without_a_nominal_input_nothing_is_certain() {
        let pool = pool(3, &[&[0, 1], &[0, 2]]);
        let ball = Ball { nominal: None, extents: None, kind: Kind::Global, epsilon: f64::INFINITY, refine: false };
        let walked = walk(&network(None, &pool), &ball);
        assert!((walked.norms[0].upper - 2f64.sqrt()).abs() < 1e-12 && !walked.flows[1].smooth);
        assert_eq!(walked.units[0].unstable, 2);
        for unit in &walked.increments.units {
            assert!(unit.delta >= 0.5 && unit.delta < 0.5 + 1e-15 && unit.level == 1, "{unit:?}");
        }
    }
}
