use std::sync::Arc;

use lipbound_spectral::start::gaussian;

use super::*;
use crate::{
    Kind, Layer, Network, Quiet, Tensor,
    bound::nominal_at,
    example::{Matrix, Walked, chain, doubtful, walk},
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

/// What rounding may do to the coefficients of a comparison by paths stands beside its bound: where they vanish it is alone.
#[test]
fn roundings_of_a_comparison_are_counted() {
    let mut ws = Workspace::new();
    let reach = [0.25, 8.0, 0.5];
    let flow = Flow { reach: reach.to_vec(), ..Flow::input(3, 1.0, None) };
    let increments = Increments::of(&flow);
    let paths = Paths::new(&increments, 0, 1.0, (1, 0), 1, &mut ws).unwrap();
    let certain = |centre: f64| Join { member: 1, centre, unit: None };
    let mut of = |joins: Vec<Join>, begin: usize| {
        let uncertain = vec![Uncertain { delta: 0.5, deviation: 200.0, level: 1 }];
        let joins = Joins { joins, uncertain, ..Joins::new(0, 0) };
        joins.by_paths(&paths, begin, 1, 1, &flow, &mut ws)
    };
    let mut check = |joins: Vec<Join>, begin: usize, errors: f64| {
        let count = (joins.len() - begin) as f64;
        // Four roundings for each factor of a coefficient, of what the winner, the member and those of the joins can move.
        let expected = 4.0 * (count + 1.0) * rounding::UNIT_ROUNDOFF * ((count + 2.0) * reach[1] + errors);
        let found = of(joins, begin);
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} for {expected}");
    };
    for count in [0, 1, 2, 5] {
        check((0..count).map(|_| certain(0.5)).collect(), 0, 0.0);
    }
    // Joins of the windows before are none of it.
    check((0..5).map(|_| certain(0.5)).collect(), 3, 0.0);
    // The last join takes all, so that nothing is left of an error before it but its rounding.
    check(vec![Join { unit: Some(0), ..certain(0.5) }, certain(1.0)], 0, 100.0);
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
    let near = |found: f64, exact: f64| assert!(found >= exact && found <= exact * (1.0 + 1e-14), "{found} {exact}");
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

/// The first element is computed to be 1 and does not move, but may be 0.75 as well: then the second, which is 0.875, wins.
#[test]
fn an_element_that_stands_still_may_be_off_by_its_error() {
    for (error, moves) in [(0.0625, false), (0.25, true)] {
        let map = doubtful(&[vec![0.0], vec![1.0]], &[1.0, 0.875], &[error, 0.0]);
        let layers = vec![Layer::Affine(map), Layer::MaxPool(pool(2, &[&[0, 1]]))];
        let walked = around(&chain(1, layers, &[2, 1]), &[0.0], 0.03125, None, false);
        assert_eq!(walked.flows[2].moves, [moves], "{error}");
    }
}
