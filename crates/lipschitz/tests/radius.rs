//! Certified radii against exact boundaries (rational arithmetic along rays), against samples of awkward networks, and where
//! a network or a box is a special case.

use self::exact::{Exact, ExactNetwork, Fraction, Precise, apart, is_below};
use crate::common::{Patient, Random, distance, nearby, network, node_by_node};
use lipbound_lipschitz::{
    Attempts, BoundOptions, BoundResult, GlobalOptions, Kind, MethodRequest, Network, Quiet, Radius, RadiusOptions,
    RadiusTermination, Tensor, Unit, ZeroRadius, bound, certified_radius, global_bound, sweep,
};
use lipbound_operators::Workspace;
use lipbound_spectral::{GuaranteeRequest, NormOptions};

mod exact;

/// How many times as many networks as usual.
fn more() -> u64 {
    std::env::var("LIPBOUND_RADIUS_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

fn options() -> RadiusOptions {
    RadiusOptions {
        label: None,
        input_box: None,
        maximum: None,
        tolerance: 0.01,
        method: MethodRequest::Auto,
        norm: NormOptions { seed: 7, ..NormOptions::default() },
        attack_steps: Some(20),
    }
}

fn radius_of(net: &Network, x: &Tensor, options: &RadiusOptions) -> Radius {
    certified_radius(net, x, options, &Quiet, &mut Workspace::new()).unwrap()
}

fn vector(values: &[f64]) -> Tensor {
    Tensor::f64(vec![values.len()], values.to_vec()).unwrap()
}

/// The label's output less the largest of the others.
fn margin(label: usize, output: &[f64]) -> f64 {
    match output {
        [only] => {
            if label == 1 {
                *only
            } else {
                -only
            }
        }
        _ => {
            output[label]
                - (0..output.len()).filter(|&j| j != label).map(|j| output[j]).fold(f64::NEG_INFINITY, f64::max)
        }
    }
}

#[derive(Default, Debug)]
struct Count {
    radii: usize,
    positive: usize,
    rays: usize,
    hits: usize,
    lost: usize,
    tight: usize,
}

/// A box around a point of a grid, some elements pinned or on the rim.
fn some_box(random: &mut Random, x: &Tensor) -> (Tensor, Tensor) {
    let (mut lower, mut upper) = (x.to_f64(), x.to_f64());
    for i in 0..x.len() {
        match random.below(4) {
            0 => {}
            1 => upper[i] += [0.25, 1.0][random.below(2)],
            2 => lower[i] -= [0.5, 2.0][random.below(2)],
            _ => (lower[i], upper[i]) = (lower[i] - 1.0, upper[i] + 0.5),
        }
    }
    let of = |values| Tensor::f64(x.shape().to_vec(), values).unwrap();
    (of(lower), of(upper))
}

fn exact_rays(seed: u64, count: &mut Count) {
    let random = &mut Random::new(seed);
    let inputs = 1 + random.below(3);
    let exact = ExactNetwork::random(random, inputs);
    let net = exact.build();
    let x: Vec<f64> = (0..inputs).map(|_| [-1.0, -0.5, 0.0, 0.0, 0.25, 1.0, 2.0][random.below(7)]).collect();
    let input = vector(&x);
    let outputs = net.output_shape().iter().product::<usize>();
    let mut options = RadiusOptions {
        method: [MethodRequest::Auto, MethodRequest::Auto, MethodRequest::Layerwise][random.below(3)],
        norm: NormOptions { seed, ..NormOptions::default() },
        ..options()
    };
    if random.chance(0.2) {
        options.label = Some(random.below(outputs.max(2)));
    }
    if random.chance(0.5) {
        options.input_box = Some(some_box(random, &input));
    }
    if random.chance(0.2) {
        options.maximum = Some([1e-6, 0.1, 1.0, 10.0][random.below(4)]);
    }
    let found = radius_of(&net, &input, &options);
    check_result(&net, &input, &options, &found);
    if let Some(a) = found.adversarial.as_ref().filter(|a| a.distance > 0.0) {
        let there = exact.precisely(&a.point);
        let mut margins = (0..there.len()).filter(|&j| there.len() == 1 || j != found.label).map(|j| match there[..] {
            [only] => only.times(Precise(if found.label == 1 { 1.0 } else { -1.0 }, 0.0)),
            _ => there[found.label].minus(there[j]),
        });
        assert!(margins.any(|m| m.0 <= 0.0), "seed {seed}: {there:?} {found:?}");
    }
    count.radii += 1;
    // A label that is given may tie or lose: then nothing is claimed.
    let output = net.evaluate(&input).unwrap().to_f64();
    let here = margin(found.label, &output);
    if found.radius == 0.0 {
        if here > 1e-9 && found.termination != RadiusTermination::Maximum {
            let pinned = options.input_box.as_ref().is_some_and(|(l, u)| l == u);
            assert!(pinned, "seed {seed}: margin {here}, but no radius: {found:?}");
        }
        return;
    }
    assert!(here > 0.0, "seed {seed}: {found:?}");
    count.positive += 1;
    let mut nearest = f64::INFINITY;
    let mut directions: Vec<Vec<i128>> = if inputs == 1 {
        vec![vec![1], vec![-1]]
    } else {
        (0..24).map(|_| (0..inputs).map(|_| random.below(17) as i128 - 8).collect()).collect()
    };
    if let Some(a) = &found.adversarial
        && inputs > 1
    {
        let delta: Vec<f64> = a.point.iter().zip(&x).map(|(a, b)| a - b).collect();
        let largest = delta.iter().fold(0.0, |m: f64, d| m.max(d.abs()));
        for scale in [64.0, 1000.0] {
            directions.push(delta.iter().map(|d| (d / largest * scale).round() as i128).collect());
        }
    }
    for d in &mut directions {
        let mut far = Fraction(1 << 30, 1);
        if let Some((lower, upper)) = &options.input_box {
            let (lower, upper) = (lower.to_f64(), upper.to_f64());
            for i in 0..inputs {
                let room = if d[i] > 0 { upper[i] - x[i] } else { x[i] - lower[i] };
                if room == 0.0 {
                    d[i] = 0;
                } else if d[i] != 0 {
                    let t = Fraction::exactly(room).unwrap().over(Fraction(d[i].abs(), 1)).unwrap();
                    if t.below(far).unwrap() {
                        far = t;
                    }
                }
            }
        }
        if d.iter().all(|d| *d == 0) {
            continue;
        }
        count.rays += 1;
        match exact.boundary(&x, d, found.label, far) {
            None => count.lost += 1,
            Some(None) => {}
            Some(Some(t)) => {
                count.hits += 1;
                let at = t.value() * (d.iter().map(|d| d * d).sum::<i128>() as f64).sqrt();
                nearest = nearest.min(at);
                match is_below(found.radius, t, d) {
                    None => count.lost += 1,
                    Some(below) => assert!(below, "seed {seed}: boundary at {at} along {d:?}, {found:?}"),
                }
            }
        }
    }
    if found.radius > 0.9 * nearest {
        count.tight += 1;
    }
}

/// What every result must satisfy.
fn check_result(net: &Network, x: &Tensor, options: &RadiusOptions, found: &Radius) {
    let what = || format!("{found:?}");
    let output = net.evaluate(x).unwrap().to_f64();
    assert!(found.radius >= 0.0 && !found.radius.is_nan(), "{}", what());
    assert!(found.failure_probability <= options.norm.failure_probability, "{}", what());
    // In a box without room the input itself is all that can be certified.
    let has_room = options.input_box.as_ref().is_none_or(|(lower, upper)| lower.to_f64() != upper.to_f64());
    let certified = found.radius > 0.0 || (!has_room && found.termination == RadiusTermination::Maximum);
    assert_eq!(!certified, matches!(found.termination, RadiusTermination::Zero(_)), "{}", what());
    if let Some(maximum) = options.maximum {
        assert!(found.radius <= maximum, "{}", what());
    }
    let inside = |point: &[f64]| {
        options.input_box.as_ref().is_none_or(|(lower, upper)| {
            let (lower, upper) = (lower.to_f64(), upper.to_f64());
            point.iter().enumerate().all(|(i, p)| lower[i] <= *p && *p <= upper[i])
        })
    };
    if let Some(a) = &found.adversarial {
        let point = Tensor::f64(x.shape().to_vec(), a.point.clone()).unwrap();
        let there = node_by_node(net, &point);
        assert!(inside(&a.point), "{}", what());
        if a.distance > 0.0 {
            let moved = distance(x, &point);
            assert!(moved <= a.distance && a.distance <= moved * (1.0 + 1e-12), "{moved} {}", what());
            let margin = margin(found.label, &there);
            assert!(margin < 0.0, "{margin} {}", what());
            let class = if there.len() == 1 {
                1 - found.label
            } else {
                (0..there.len()).fold(0, |best, i| if there[i] > there[best] { i } else { best })
            };
            assert!(class == a.class || there[class] - there[a.class] < 1e-9, "{there:?} {}", what());
        }
        assert!(found.radius < a.distance || found.radius == 0.0, "{}", what());
    }
    match found.termination {
        RadiusTermination::Zero(ZeroRadius::Misclassified) => assert!(margin(found.label, &output) < 0.0, "{}", what()),
        RadiusTermination::Zero(ZeroRadius::Tied) => {
            let size = output.iter().fold(1e-300, |m: f64, v| m.max(v.abs()));
            let pinned = options.input_box.as_ref().is_some_and(|(l, u)| l == u);
            assert!(pinned || margin(found.label, &output).abs() < 1e-9 * size, "{output:?} {}", what());
        }
        _ => {
            assert_eq!(found.margins.len(), output.len().max(2) - 1, "{}", what());
            for pair in found.margins.windows(2) {
                assert!(pair[0].quotient() <= pair[1].quotient(), "{}", what());
            }
            assert!(found.margins[0].quotient() >= found.radius, "{}", what());
            for m in &found.margins {
                let exact = match output[..] {
                    [only] => only.abs(),
                    _ => output[found.label] - output[m.class],
                };
                assert!(m.margin <= exact, "{exact} {}", what());
            }
        }
    }
}

#[test]
fn no_exact_boundary_is_inside_a_radius() {
    let mut count = Count::default();
    (0..1600 * more()).for_each(|seed| exact_rays(seed, &mut count));
    println!("{count:?}");
    assert!(count.positive > 150 && count.hits > 800 && count.lost * 20 < count.rays && count.tight > 40, "{count:?}");
}

/// The smallest margin that a descent finds in the ball and the box, and how large outputs are there.
fn lowest(
    net: &Network,
    x: &Tensor,
    found: &Radius,
    ends: Option<&(Tensor, Tensor)>,
    random: &mut Random,
) -> (f64, f64) {
    let centre = x.to_f64();
    let ends = ends.map(|(lower, upper)| (lower.to_f64(), upper.to_f64()));
    let into = |mut point: Vec<f64>| {
        if let Some((lower, upper)) = &ends {
            point.iter_mut().enumerate().for_each(|(i, p)| *p = p.clamp(lower[i], upper[i]));
        }
        let moved = point.iter().zip(&centre).map(|(p, c)| (p - c) * (p - c)).sum::<f64>().sqrt();
        if moved > found.radius {
            let share = found.radius / moved * (1.0 - 1e-12);
            point.iter_mut().zip(&centre).for_each(|(p, c)| *p = c + (*p - c) * share);
        }
        point
    };
    let margin_at = |point: &[f64]| {
        let output = node_by_node(net, &Tensor::f64(x.shape().to_vec(), point.to_vec()).unwrap());
        (margin(found.label, &output), output.iter().fold(0.0, |m: f64, v| m.max(v.abs())))
    };
    let mut lowest = (f64::INFINITY, 0.0);
    for _ in 0..4 {
        let reach = found.radius.min(1e6);
        let mut at = into(nearby(random, x, reach).to_f64());
        let mut value = margin_at(&at);
        for step in 0..60 {
            let size = reach * 0.5f64.powi(step / 8);
            let tried = into(at.iter().map(|a| a + random.normal() * size).collect());
            let there = margin_at(&tried);
            if there.0 < value.0 {
                (at, value) = (tried, there);
            }
        }
        if value.0 < lowest.0 {
            lowest = value;
        }
    }
    lowest
}

#[test]
fn descents_inside_a_radius_find_no_other_class() {
    let mut positive = 0;
    for seed in 0..450 * more() {
        let random = &mut Random::new(1_000_000 + seed);
        let net = network(random);
        let x = random.input(net.input_shape());
        let mut options = RadiusOptions { norm: NormOptions { seed, ..NormOptions::default() }, ..options() };
        if random.chance(0.5) {
            options.input_box = Some(some_box(random, &x));
        }
        if random.chance(0.3) {
            options.norm.guarantee = GuaranteeRequest::Probabilistic;
        }
        if random.chance(0.2) {
            options.maximum = Some(1e3);
        }
        let found = radius_of(&net, &x, &options);
        check_result(&net, &x, &options, &found);
        if found.radius > 0.0 {
            positive += 1;
            let (margin, size) = lowest(&net, &x, &found, options.input_box.as_ref(), random);
            assert!(margin > -1e-10 * (1.0 + size), "seed {seed}: margin {margin} within {found:?}");
        }
        if seed < 20 {
            let again = radius_of(&net, &x, &options);
            assert_eq!(Radius { seconds: 0.0, ..again }.to_bits(), Radius { seconds: 0.0, ..found }.to_bits());
        }
    }
    assert!(positive > 60, "{positive}");
}

trait Bits {
    fn to_bits(&self) -> String;
}

impl Bits for Radius {
    /// All of it; numbers are printed so that no two look the same.
    fn to_bits(&self) -> String {
        format!("{self:?}")
    }
}

#[test]
fn witnesses_are_in_the_ball_and_attain_their_ratios() {
    let (mut witnesses, mut apart_from_centre) = (0, 0);
    for seed in 0..150 * more() {
        let random = &mut Random::new(2_000_000 + seed);
        let inputs = 1 + random.below(3);
        let exact = ExactNetwork::random(random, inputs);
        let net = exact.build();
        let x: Vec<f64> = (0..inputs).map(|_| [-1.0, 0.0, 0.3, 1.0, 1e3][random.below(5)]).collect();
        let epsilons = vec![1e-3, 0.5, 30.0];
        let attempts = Attempts { restarts: Some(random.below(3)), witness: random.chance(0.7) };
        let norm = NormOptions { seed, ..NormOptions::default() };
        let mut check = |result: &BoundResult, kind: Kind| {
            let upper_of = |b: &BoundResult| b.upper;
            assert!(result.lower <= upper_of(result), "seed {seed}: {result:?}");
            let Some(witness) = &result.witness else { return };
            witnesses += 1;
            let precise = |x: &[f64]| x.iter().map(|&x| Precise(x, 0.0)).collect::<Vec<_>>();
            let (from, to, centre) = (precise(&witness.from), precise(&witness.to), precise(&x));
            let squared = |v: f64| Precise(v, 0.0).times(Precise(v, 0.0));
            if kind == Kind::Centred {
                assert_eq!(witness.from, x, "seed {seed}");
            }
            if kind != Kind::Global {
                for end in [&from, &to] {
                    assert!(squared(result.epsilon).reaches(apart(end, &centre)), "seed {seed}: {result:?}");
                }
                apart_from_centre += usize::from(witness.from != x);
            }
            let (moved, changed) =
                (apart(&from, &to), apart(&exact.precisely(&witness.from), &exact.precisely(&witness.to)));
            assert!(changed.reaches(squared(witness.ratio).times(moved)), "seed {seed}: {result:?}");
            assert_eq!(witness.ratio, result.lower, "seed {seed}");
        };
        for kind in [Kind::Centred, Kind::Uniform] {
            let options = BoundOptions { epsilons: epsilons.clone(), kind, norm, attempts, ..BoundOptions::default() };
            let ws = &mut Workspace::new();
            bound(&net, &vector(&x), &options, &Quiet, ws).unwrap().iter().for_each(|result| check(result, kind));
            for point in sweep(&net, &vector(&x), &options, &Quiet, ws).unwrap() {
                check(&point.layerwise, kind);
                if let Some(result) = &point.certificate {
                    check(result, kind);
                    assert!(result.upper <= point.layerwise.upper * (1.0 + 0.02), "seed {seed}: {point:?}");
                    assert_eq!(result.lower, point.layerwise.lower);
                }
            }
        }
        let options = GlobalOptions { norm, attempts, ..GlobalOptions::default() };
        check(&global_bound(&net, &options, &Quiet, &mut Workspace::new()).unwrap(), Kind::Global);
    }
    assert!(witnesses > 200 && apart_from_centre > 20, "{witnesses} {apart_from_centre}");
}

/// One affine map, and perhaps a unit behind it.
fn affine(matrix: &[&[f64]], bias: &[f64], behind: Option<Unit>) -> Network {
    let mut layers = vec![Exact::Affine(matrix.iter().map(|row| row.to_vec()).collect(), bias.to_vec())];
    layers.extend(behind.map(Exact::Unit));
    ExactNetwork { inputs: matrix[0].len(), layers }.build()
}

#[test]
fn the_radius_of_an_affine_map_is_nearly_the_distance_of_its_boundary_and_never_that() {
    for (method, scale) in [(MethodRequest::Auto, 1.0), (MethodRequest::Layerwise, 1e-30), (MethodRequest::Auto, 1e30)]
    {
        let options = RadiusOptions { method, tolerance: 1e-6, ..options() };
        // Both signs of a network with one output, from both sides.
        for (x, label) in [(0.5, 1), (-0.5, 0)] {
            let net = affine(&[&[3.0 * scale, 4.0 * scale]], &[0.0], None);
            let found = radius_of(&net, &vector(&[x, x]), &options);
            // |3.5| / 5.
            assert!(found.radius < 0.7 && found.radius > 0.7 * (1.0 - 1e-5), "{found:?}");
            assert_eq!((found.label, found.predicted, found.binding), (label, label, Some(1 - label)));
            let attack = found.adversarial.unwrap();
            assert!(attack.distance > 0.7 && attack.distance < 0.7 * (1.0 + 1e-5) && attack.class == 1 - label);
            // The other label is not what the network says.
            let other = radius_of(&net, &vector(&[x, x]), &RadiusOptions { label: Some(1 - label), ..options.clone() });
            assert_eq!(other.termination, RadiusTermination::Zero(ZeroRadius::Misclassified), "{other:?}");
        }
        // Three classes: the second rival is nearer than the first.
        let net = affine(&[&[scale, 0.0], &[-scale, 0.0], &[0.0, scale]], &[0.0; 3], None);
        let found = radius_of(&net, &vector(&[1.0, 0.0]), &options);
        let boundary = 0.5f64.sqrt();
        assert!(found.radius < boundary && found.radius > boundary * (1.0 - 1e-5), "{found:?}");
        assert_eq!((found.label, found.binding), (0, Some(2)));
        assert_eq!(found.margins.iter().map(|m| m.class).collect::<Vec<_>>(), [2, 1]);
    }
}

#[test]
fn equal_outputs_and_unsure_ones_have_no_radius() {
    let twice = affine(&[&[1.0, 2.0], &[1.0, 2.0], &[-1.0, 0.0]], &[0.0; 3], Some(Unit::Relu));
    for (x, is_alone) in [([1.0, 1.0], false), ([0.0, 0.0], false), ([-1.0, -1.0], true)] {
        let found = radius_of(&twice, &vector(&x), &options());
        if is_alone {
            // The third class, up to where all units are still.
            assert!(found.label == 2 && found.radius < 1.0 && found.radius > 0.98, "{found:?}");
        } else {
            assert_eq!((found.radius, found.termination), (0.0, RadiusTermination::Zero(ZeroRadius::Tied)));
        }
        // The second class is never above the first.
        assert_eq!(radius_of(&twice, &vector(&x), &RadiusOptions { label: Some(1), ..options() }).radius, 0.0);
    }
    // 0.1 + 0.2 - 0.3 is zero up to rounding: nothing may be made of what is left.
    let sum = affine(&[&[0.1, 0.2, -0.3]], &[0.0], None);
    let found = radius_of(&sum, &vector(&[1.0, 1.0, 1.0]), &options());
    assert!(found.radius < 1e-15, "{found:?}");
    assert_eq!(radius_of(&sum, &vector(&[0.0; 3]), &options()).termination, RadiusTermination::Zero(ZeroRadius::Tied));
}

#[test]
fn what_does_not_move_has_all_that_is_asked_for() {
    let constant = affine(&[&[0.0, 0.0], &[0.0, 0.0]], &[1.0, 0.0], None);
    let found = radius_of(&constant, &vector(&[1.0, 1.0]), &RadiusOptions { maximum: Some(1e9), ..options() });
    assert_eq!((found.radius, found.termination, found.binding), (1e9, RadiusTermination::Maximum, None));
    let endless = radius_of(&constant, &vector(&[1.0, 1.0]), &options());
    assert!(endless.radius > 1e9, "{endless:?}");
    // Only what is pinned matters.
    let net = affine(&[&[1.0, 0.0, 5.0], &[0.0, 1.0, 0.0]], &[0.0; 2], Some(Unit::Relu));
    let x = vector(&[20.0, 1.0, 0.0]);
    let ends = |lower: [f64; 3], upper: [f64; 3]| Some((vector(&lower), vector(&upper)));
    let pinned = RadiusOptions { input_box: ends([20.0, 1.0, 0.0], [27.0, 1.0, 0.0]), ..options() };
    let found = radius_of(&net, &x, &pinned);
    assert_eq!(found.termination, RadiusTermination::Maximum, "{found:?}");
    assert!(found.radius >= 7.0 && found.radius < 7.0 * (1.0 + 1e-12) && found.adversarial.is_none(), "{found:?}");
    // Without the box the third element decides.
    assert!(radius_of(&net, &x, &options()).radius < 19.0 / 26f64.sqrt());
    let held = RadiusOptions { input_box: ends([-99.0, -99.0, 0.0], [99.0, 99.0, 0.0]), ..options() };
    let (found, boundary) = (radius_of(&net, &x, &held), 19.0 * 0.5f64.sqrt());
    assert!(found.radius < boundary && found.radius > boundary * 0.98, "{found:?}");
}

#[test]
fn a_box_without_room_is_certified_where_it_is() {
    let net = affine(&[&[1.0, 0.0], &[0.0, 1.0]], &[0.0; 2], Some(Unit::Relu));
    let at = |x: [f64; 2]| {
        radius_of(&net, &vector(&x), &RadiusOptions { input_box: Some((vector(&x), vector(&x))), ..options() })
    };
    let found = at([2.0, 1.0]);
    assert_eq!((found.radius, found.termination, found.label), (0.0, RadiusTermination::Maximum, 0), "{found:?}");
    assert!(found.adversarial.is_none() && found.margins[0].margin > 0.99, "{found:?}");
    assert_eq!(at([1.0, 1.0]).termination, RadiusTermination::Zero(ZeroRadius::Tied));
}

#[test]
fn many_classes_take_no_more_memory_than_outputs() {
    // The margins of all classes at once, each with a coefficient an output, would be 8 GB.
    let classes = 32_768;
    let matrix: Vec<Vec<f64>> = (0..classes).map(|k| vec![if k == 7 { 2.0 } else { 1.0 }]).collect();
    let net = ExactNetwork { inputs: 1, layers: vec![Exact::Affine(matrix, vec![0.0; classes])] }.build();
    let options = RadiusOptions { maximum: Some(1e-3), attack_steps: Some(0), ..options() };
    let found = radius_of(&net, &vector(&[1.0]), &options);
    assert_eq!((found.radius, found.label, found.margins.len()), (1e-3, 7, classes - 1));
}

#[test]
fn a_boundary_at_the_rim_of_the_box_ends_the_search() {
    for (method, k) in [(MethodRequest::Auto, 1), (MethodRequest::Layerwise, 1), (MethodRequest::Auto, 3)] {
        for unit in [None, Some(Unit::Relu), Some(Unit::LeakyRelu { slope: 0.25 })] {
            for tolerance in [0.01, 1e-15] {
                // The margin vanishes at the corner of the box, just where everything would be certified.
                let layers = [
                    Some(Exact::Affine(vec![vec![1.0; k]], vec![1.0])),
                    unit.map(Exact::Unit),
                    Some(Exact::Affine(vec![vec![1.0]], vec![0.0])),
                ];
                let net = ExactNetwork { inputs: k, layers: layers.into_iter().flatten().collect() }.build();
                let (lower, upper) = (vector(&vec![-1.0 / k as f64; k]), vector(&vec![0.0; k]));
                let options = RadiusOptions { method, tolerance, input_box: Some((lower, upper)), ..options() };
                let found = radius_of(&net, &vector(&vec![0.0; k]), &options);
                let corner = (1.0 / k as f64).sqrt();
                assert!(found.radius <= corner && found.radius > corner * (1.0 - 1e-2), "{found:?}");
                if tolerance == 0.01 {
                    assert!(found.evaluations < 12 && found.termination == RadiusTermination::Converged, "{found:?}");
                }
            }
        }
    }
}

#[test]
fn numbers_at_the_ends_of_their_range_do_not_mislead() {
    for seed in 0..60 * more() {
        let random = &mut Random::new(3_000_000 + seed);
        let inputs = 1 + random.below(3);
        let mut exact = ExactNetwork::random(random, inputs);
        for layer in &mut exact.layers {
            if let Exact::Affine(matrix, bias) = layer {
                let scale = [1e-44, 1e-20, 1.0, 1.0, 1e20, 3e44][random.below(6)];
                matrix.iter_mut().flatten().for_each(|a| *a *= scale);
                let of_bias = [1e-44, 1.0, scale][random.below(3)];
                bias.iter_mut().for_each(|b| *b *= of_bias);
            }
        }
        let net = exact.build();
        let x: Vec<f64> = (0..inputs).map(|_| [-1.0, 0.0, 1e-310, 1e30, 1e-30][random.below(5)]).collect();
        let options = RadiusOptions { norm: NormOptions { seed, ..NormOptions::default() }, ..options() };
        let Ok(found) = certified_radius(&net, &vector(&x), &options, &Quiet, &mut Workspace::new()) else { continue };
        if let Some(a) = &found.adversarial {
            assert!(found.radius < a.distance || found.radius == 0.0, "seed {seed}: {found:?}");
        }
        if found.radius > 0.0 && found.radius < 1e100 {
            let (margin, size) = lowest(&net, &vector(&x), &found, None, random);
            assert!(margin >= -1e-10 * size, "seed {seed}: margin {margin} {size} within {found:?}");
        }
    }
}

#[test]
fn the_failure_probability_is_never_more_than_was_asked_for() {
    let random = &mut Random::new(5);
    let matrix = |rows: usize, cols: usize, random: &mut Random| -> Vec<Vec<f64>> {
        (0..rows).map(|_| (0..cols).map(|_| random.normal()).collect()).collect()
    };
    let layers = vec![
        Exact::Affine(matrix(12, 8, random), vec![0.1; 12]),
        Exact::Unit(Unit::Relu),
        Exact::Affine(matrix(9, 12, random), vec![0.1; 9]),
        Exact::Unit(Unit::Relu),
        Exact::Affine(matrix(4, 9, random), vec![0.0; 4]),
    ];
    let net = ExactNetwork { inputs: 8, layers }.build();
    let x = vector(&[0.3; 8]);
    for method in [MethodRequest::Layerwise, MethodRequest::Certificate] {
        let norm =
            NormOptions { guarantee: GuaranteeRequest::Probabilistic, failure_probability: 1e-3, ..options().norm };
        // So narrow that every evaluation there may be is made.
        let options = RadiusOptions { method, norm, tolerance: 1e-16, ..options() };
        let found = radius_of(&net, &x, &options);
        check_result(&net, &x, &options, &found);
        assert!(found.evaluations > 16 && found.failure_probability > 0.0, "{found:?}");
    }
}

#[test]
fn every_class_is_asked_about_between_two_looks_at_the_monitor() {
    let random = &mut Random::new(9);
    let classes = 200;
    let matrix: Vec<Vec<f64>> = (0..classes).map(|_| (0..3).map(|_| random.normal()).collect()).collect();
    let net = ExactNetwork { inputs: 3, layers: vec![Exact::Affine(matrix, vec![0.0; classes])] }.build();
    let monitor = Patient::default();
    let options = RadiusOptions { attack_steps: Some(0), method: MethodRequest::Layerwise, ..options() };
    let found = certified_radius(&net, &vector(&[1.0, 2.0, 3.0]), &options, &monitor, &mut Workspace::new()).unwrap();
    // Each class by what is known of all, and then by itself.
    let asked = monitor.asked();
    assert!(asked > 2 * (classes - 1) * found.evaluations, "{asked} in {} evaluations", found.evaluations);
}

#[test]
fn a_margin_of_nothing_but_rounding_certifies_nothing() {
    let random = &mut Random::new(11);
    let mut wrong = 0;
    for _ in 0..200 {
        let [a, b, x, y] = [(); 4].map(|()| random.below(1 << 40) as i128);
        // The third weight takes away what the sum of the others is, up to its rounding.
        let third = -((a * x + b * y) as f64);
        let net = affine(&[&[a as f64, b as f64, third]], &[0.0], None);
        let at = vector(&[x as f64, y as f64, 1.0]);
        let (margin, computed) = (a * x + b * y + third as i128, net.evaluate(&at).unwrap().to_f64()[0]);
        wrong += usize::from((margin as f64 - computed).abs() > 0.1 * computed.abs());
        let found = radius_of(&net, &at, &RadiusOptions { attack_steps: Some(0), ..options() });
        let sign = if found.label == 1 { 1.0 } else { -1.0 };
        let boundary = (sign * margin as f64 / third.abs()).max(0.0);
        assert!(found.radius <= boundary, "boundary at {boundary:e}, {found:?}");
    }
    assert!(wrong > 20, "{wrong}");
}

#[test]
fn a_box_that_is_certified_throughout_is_said_to_be() {
    for unit in [None, Some(Unit::Relu)] {
        for weight in [0.3, 0.01] {
            let net = affine(&[&[weight, weight, 0.0]], &[5.0], unit);
            let (x, ends) = (vector(&[0.0; 3]), (vector(&[-1.0; 3]), vector(&[1.0; 3])));
            let found = radius_of(&net, &x, &RadiusOptions { input_box: Some(ends), ..options() });
            assert_eq!(found.termination, RadiusTermination::Maximum, "{found:?}");
            assert!(found.radius >= 3f64.sqrt() && found.radius < 1.75 && found.evaluations < 5, "{found:?}");
            let found = radius_of(&net, &x, &RadiusOptions { maximum: Some(3.0), ..options() });
            assert_eq!((found.radius, found.termination), (3.0, RadiusTermination::Maximum), "{found:?}");
            assert!(found.evaluations < 5, "{found:?}");
        }
    }
}

#[test]
fn an_attack_is_no_matter_of_rounding() {
    let mut attacks = 0;
    for seed in 0..300 * more() {
        let random = &mut Random::new(4_000_000 + seed);
        let inputs = 1 + random.below(2);
        let mut row = |n: usize| (0..n).map(|_| random.normal()).collect::<Vec<f64>>();
        let (first, second, bias) = (row(inputs), row(inputs), row(2));
        let outputs = vec![row(2)];
        let layers =
            vec![Exact::Affine(vec![first, second], bias), Exact::Unit(Unit::Relu), Exact::Affine(outputs, row(1))];
        let exact = ExactNetwork { inputs, layers };
        let x = row(inputs);
        let found = radius_of(&exact.build(), &vector(&x), &RadiusOptions { maximum: Some(1e-3), ..options() });
        let Some(a) = found.adversarial.as_ref().filter(|a| a.distance > 0.0) else { continue };
        attacks += 1;
        let output = exact.precisely(&a.point)[0];
        assert!(if found.label == 1 { output.0 <= 0.0 } else { output.0 >= 0.0 }, "seed {seed}: {output:?} {found:?}");
    }
    assert!(attacks > 100, "{attacks}");
}
