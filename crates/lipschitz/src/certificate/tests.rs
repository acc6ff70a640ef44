use lipbound_spectral::Silent;

use super::*;
use crate::{
    Kind, NetworkBuilder, Node, Tensor, Unit,
    example::{Example, walk},
    layerwise::Ball,
    linear, unit,
};

/// Three hidden layers with weights on a coarse grid: every unit may change over the global ball.
fn network(seed: u64) -> crate::Network {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % 2001) as f64 / 1000.0 - 1.0
    };
    let mut builder = NetworkBuilder::new(vec![4]).unwrap();
    for (k, (rows, cols)) in [(6, 4), (5, 6), (4, 5), (3, 4)].into_iter().enumerate() {
        let weight = Tensor::f64(vec![rows, cols], (0..rows * cols).map(|_| next()).collect()).unwrap();
        let mut add = |name: &str, built: Result<(crate::Layer, Vec<usize>), crate::ModelError>| {
            let (layer, shape) = built.unwrap();
            let inputs = vec![builder.last()];
            let name = format!("{name}{k}");
            builder.push(Node { name, kind: "test".into(), layer, inputs, shape, parameters: 0 }).unwrap();
        };
        add("fc", linear(&[cols], &weight, None));
        if k < 3 {
            add("relu", unit(&[rows], Unit::Relu));
        }
    }
    builder.build().unwrap()
}

fn increments(network: &crate::Network) -> Increments {
    let ball = Ball { nominal: None, kind: Kind::Global, epsilon: f64::INFINITY, refine: false, extents: None };
    walk(network, &ball).increments
}

/// The bound for given weights, with the stated exponent of the norm.
fn bound_with(increments: &Increments, kappa: f64, weights: &[f64], exponent: usize) -> f64 {
    let mut ws = Workspace::new();
    let weights: Vec<Option<f64>> = weights.iter().copied().map(Some).collect();
    let operator = Scaled::new(increments, kappa, &weights, &mut ws).unwrap();
    let options = NormOptions { guarantee: GuaranteeRequest::Deterministic, ..NormOptions::default() };
    let sigma = norm_bracket(&operator, &options, &Silent, &mut ws).unwrap().upper;
    operator.kappa() * sigma.max(1.0).powi(exponent as i32)
}

/// The largest Jacobian norm over many points: a lower bound of the global constant.
fn attained(network: &crate::Network) -> f64 {
    let mut best: f64 = 0.0;
    for i in 0..4000u64 {
        let x: Vec<f64> = (0..4).map(|k| ((i * (2 * k + 3) + k * k) as f64 * 0.618).sin()).collect();
        let direction: Vec<f64> = (0..4).map(|k| ((i * (k + 7)) as f64 * 0.377).cos()).collect();
        let y: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x + 1e-4 * d).collect();
        let at = |v: &[f64]| network.evaluate(&Tensor::f64(vec![4], v.to_vec()).unwrap()).unwrap().to_f64();
        let moved: f64 = at(&x).iter().zip(at(&y)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        let by: f64 = x.iter().zip(&y).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        best = best.max(moved / by);
    }
    best
}

#[test]
fn any_weights_give_a_valid_bound() {
    for seed in 1..40 {
        let net = network(seed);
        let inc = increments(&net);
        assert_eq!((inc.height(), inc.units.len()), (4, 15));
        let truth = attained(&net);
        let n = inc.units.len();
        let spread = |k: usize| (0..n).map(|u| 10f64.powf((u * k % 7) as f64 / 3.0 - 1.0)).collect::<Vec<_>>();
        for weights in [vec![1.0; n], vec![1e-2; n], vec![30.0; n], spread(3), spread(5)] {
            for kappa in [0.1, 1.0, 3.0, 20.0] {
                let bound = bound_with(&inc, kappa, &weights, inc.height());
                assert!(bound >= truth * (1.0 - 1e-9), "seed {seed}, kappa {kappa}: {bound} below {truth}");
            }
        }
    }
}

#[test]
fn without_the_level_exponent_bounds_would_be_wrong() {
    // A small kappa makes the norm large; only its power by the number of levels makes up for it.
    let wrong = (1..40).any(|seed| {
        let net = network(seed);
        let inc = increments(&net);
        bound_with(&inc, 0.05, &vec![0.5; inc.units.len()], 1) < attained(&net)
    });
    assert!(wrong, "if an exponent of one were enough everywhere, this test would not see it being dropped");
}

#[test]
fn found_weights_beat_constant_ones() {
    for seed in 1..10 {
        let net = network(seed);
        let inc = increments(&net);
        let plan = Plan { effort: Effort { rank: 4, steps: 200, tolerance: 1e-8 }, tries: 3, tolerance: 1e-4 };
        let mut ws = Workspace::new();
        let found =
            certify(&inc, &plan, 1.0, &NormOptions::default(), &mut None, &crate::Quiet, &mut ws).unwrap().upper;
        assert!(found >= attained(&net) * (1.0 - 1e-9));
        let constant = [0.3, 1.0, 3.0]
            .into_iter()
            .flat_map(|w| [1.0, 2.0, 4.0, 8.0].map(|kappa| bound_with(&inc, kappa, &[w; 15], inc.height())))
            .fold(f64::INFINITY, f64::min);
        assert!(found < constant, "seed {seed}: {found}, constant weights {constant}");
    }
}

#[test]
fn the_constant_follows_from_the_norm_as_the_theorem_says() {
    let near = |found: f64, exact: f64| assert!(found >= exact && found <= exact * (1.0 + 1e-15), "{found} {exact}");
    near(bound(3.0, 2.0, Some(1)), 6.0);
    near(bound(3.0, 2.0, Some(4)), 48.0);
    near(bound(3.0, 0.5, Some(4)), 3.0);
    // An affine network's own norm counts whatever it is.
    near(bound(3.0, 0.5, None), 1.5);
    near(bound(3.0, 2.0, None), 6.0);
    for height in [None, Some(1), Some(3)] {
        assert_eq!(bound(3.0, f64::NAN, height), f64::INFINITY);
        assert_eq!(bound(3.0, f64::INFINITY, height), f64::INFINITY);
    }
}

#[test]
fn the_better_certificate_is_kept_and_both_may_fail() {
    let claim = |bound: f64| WholeClaim { kappa: 1.0, weights: vec![], height: 1, sigma: 1.0, bound };
    let of = |upper: f64, failure_probability: f64| Certified { upper, failure_probability, claim: Some(claim(upper)) };
    for (a, b, kept) in [(2.0, 3.0, 2.0), (3.0, 2.0, 2.0), (2.0, f64::INFINITY, 2.0), (f64::INFINITY, 2.0, 2.0)] {
        let both = of(a, 1e-3).or(of(b, 2e-3));
        assert_eq!((both.upper, both.claim.unwrap().bound), (kept, kept));
        assert!(both.failure_probability >= 3e-3 && both.failure_probability < 3.0001e-3);
    }
    let nothing = Certified::nothing();
    assert_eq!((nothing.upper, nothing.failure_probability, nothing.claim), (f64::INFINITY, 0.0, None));
}

#[test]
fn weights_lie_around_the_median_of_those_that_take_part() {
    let takes_part = [true, true, true, true, true, false, false];
    let lambda = [4.0, 1.0, 9.0, 1e-30, 1e30, 1e5, 1e5];
    // The median is 4.
    assert_eq!(clamped(&lambda, &takes_part)[..5], [4.0, 1.0, 9.0, 4e-9, 4e9]);
    let strange = [f64::NAN, 0.0, f64::INFINITY, 4.0, 16.0, 1.0, 1.0];
    let found = clamped(&strange, &takes_part);
    assert_eq!(found[..5], [16.0, 16e-9, 16e9, 4.0, 16.0], "of 4 and 16, the upper one");
    assert_eq!(clamped(&[f64::NAN], &[true]), [1.0]);
    // Behind 15 units on three levels, of a height of four.
    let inc = increments(&network(3));
    let mut takes_part = vec![true; 15];
    takes_part[7] = false;
    let graded = graded(&[4.0; 15], &takes_part, &inc, 16.0, inc.height());
    for (u, weight) in graded.iter().enumerate() {
        let level = if u < 6 {
            1
        } else if u < 11 {
            2
        } else {
            3
        };
        // The root of the price, and the slack's share: its fourth root, 2, a level below the output.
        let expected = takes_part[u].then_some(2.0 * 2f64.powi(4 - level));
        assert_eq!(*weight, expected, "unit {u}");
    }
}

/// Channels that never meet have the largest product of their factors as the constant, exactly.
#[test]
fn certificates_of_separate_channels_are_their_constants() {
    let plan = Plan { effort: Effort { rank: 4, steps: 400, tolerance: 1e-9 }, tries: 3, tolerance: 1e-4 };
    let networks: [Vec<Vec<f64>>; 4] = [
        vec![vec![2.0], vec![-3.0]],
        vec![vec![2.0, 0.5], vec![0.5, 3.0]],
        vec![vec![2.0, -0.5, 1.0], vec![0.25, 3.0, 1.0], vec![4.0, 1.0, -1.0]],
        vec![vec![1e-2, 0.5e-2], vec![1e3, -1e2], vec![10.0, 1.0], vec![1.0, 2.0]],
    ];
    for factors in networks {
        let width = factors[0].len();
        let product = |channel: usize| factors.iter().map(|f| f[channel].abs()).product::<f64>();
        let exact = (0..width).map(product).fold(0.0, f64::max);
        let increments = Example::channels(&factors).increments();
        assert_eq!(increments.height(), factors.len());
        for room in [1.0, 1.01] {
            let mut ws = Workspace::new();
            let options = NormOptions::default();
            let certified = certify(&increments, &plan, room, &options, &mut None, &crate::Quiet, &mut ws).unwrap();
            let most = exact * room.powi(factors.len() as i32) * (1.0 + 2e-3);
            assert!(certified.upper >= exact && certified.upper <= most, "{factors:?}: {certified:?}");
            // Verified from what it states, and not if it states less.
            let claim = certified.claim.unwrap();
            assert_eq!((claim.height, claim.bound), (factors.len(), certified.upper));
            let verified = verify(&increments, &claim, &options, &crate::Quiet, &mut ws).unwrap();
            assert_eq!(verified.upper, certified.upper);
            let less = WholeClaim { bound: claim.bound * (1.0 - 1e-2) / room.powi(5), ..claim.clone() };
            assert!(verify(&increments, &less, &options, &crate::Quiet, &mut ws).is_err());
        }
    }
}

/// The theorem is tight: units of slopes from -1 to 1, one behind the other, with weights that make every block of the
/// operator ten. An exponent one less would be wrong by a factor of ten, one more loose by as much.
#[test]
fn the_exponent_of_the_norm_is_the_height() {
    for depth in 2..6 {
        let units = vec![vec![1.0]; depth - 1];
        let example =
            Example { maps: vec![vec![vec![1.0]]; depth], centres: vec![vec![0.0]; depth - 1], deltas: units };
        let increments = example.increments();
        assert_eq!(increments.height(), depth);
        let weights: Vec<f64> = (1..depth).map(|level| 0.1f64.powi((depth - level) as i32)).collect();
        let of = |exponent| bound_with(&increments, 0.1f64.powi(depth as i32), &weights, exponent);
        for (exponent, expected) in [(depth, 1.0), (depth - 1, 0.1), (depth + 1, 10.0)] {
            let found = of(exponent);
            assert!((found / expected - 1.0).abs() < 1e-9, "depth {depth}, exponent {exponent}: {found}");
        }
    }
}

#[test]
fn affine_networks_have_the_norm_of_their_matrix_however_far_from_one() {
    let plan = Plan { effort: Effort { rank: 2, steps: 10, tolerance: 1e-3 }, tries: 3, tolerance: 1e-6 };
    for scale in [1e-60, 1e-12, 1e-9, 1e-3, 1.0, 1e3, 1e12, 1e60] {
        let maps = vec![vec![vec![3.0 * scale, 0.0], vec![4.0 * scale, 0.0]]];
        let example = Example { maps, centres: vec![], deltas: vec![] };
        let mut ws = Workspace::new();
        let certified =
            certify(&example.increments(), &plan, 1.0, &NormOptions::default(), &mut None, &crate::Quiet, &mut ws)
                .unwrap();
        let exact = 5.0 * scale;
        assert!(certified.upper >= exact * (1.0 - 1e-14), "{scale}: {certified:?}");
        assert!(certified.upper <= exact * (1.0 + 1e-4), "{scale}: {certified:?}");
        let claim = certified.claim.unwrap();
        assert!((1e-9..=1e9).contains(&claim.sigma) && claim.height == 1 && claim.weights.is_empty(), "{claim:?}");
        verify(&example.increments(), &claim, &NormOptions::default(), &crate::Quiet, &mut ws).unwrap();
        // The same with a kappa too far from the bound is refused.
        for off in [1e20, 1e-20] {
            let far = WholeClaim { kappa: claim.kappa * off, sigma: claim.sigma / off, ..claim.clone() };
            let refused = verify(&example.increments(), &far, &NormOptions::default(), &crate::Quiet, &mut ws);
            assert!(refused.unwrap_err().to_string().contains("too far"), "{scale}, {off}");
        }
    }
}

#[test]
fn claims_that_do_not_fit_are_refused() {
    let increments = Example::channels(&[vec![2.0, 1.0], vec![1.0, 1.0]]).increments();
    let mut ws = Workspace::new();
    let plan = Plan { effort: Effort { rank: 4, steps: 100, tolerance: 1e-6 }, tries: 3, tolerance: 1e-4 };
    let options = NormOptions::default();
    let claim = certify(&increments, &plan, 1.01, &options, &mut None, &crate::Quiet, &mut ws).unwrap().claim.unwrap();
    let mut refused = |change: &dyn Fn(&mut WholeClaim)| {
        let mut changed = claim.clone();
        change(&mut changed);
        verify(&increments, &changed, &options, &crate::Quiet, &mut ws).err().map(|e| e.to_string())
    };
    assert_eq!(refused(&|_| {}), None);
    for (change, word) in [
        (&(|c: &mut WholeClaim| c.weights.push(1.0)) as &dyn Fn(&mut WholeClaim), "a weight for each of 2 units"),
        (&|c| c.height = 1, "height of 1, but has 2"),
        (&|c| c.height = 3, "height of 3, but has 2"),
        (&|c| c.kappa = 0.0, "kappa"),
        (&|c| c.kappa = -1.0, "kappa"),
        (&|c| c.kappa = f64::INFINITY, "kappa"),
        (&|c| c.weights[1] = 0.0, "weight 1"),
        (&|c| c.weights[0] = f64::NAN, "weight 0"),
        (&|c| c.kappa = 1e-320, "range of numbers"),
        (&|c| c.bound = 1.9, "only"),
    ] {
        let reason = refused(change).unwrap_or_else(|| panic!("not refused: {word}"));
        assert!(reason.contains(word), "{reason}, not {word}");
    }
}

/// What is asked of every norm together is what was asked for, and each is taken where it costs least.
#[test]
fn small_operators_are_formed() {
    let increments = Example::new().increments();
    let mut ws = Workspace::new();
    let operator = Scaled::new(&increments, 1.0, &[Some(1.0); 6], &mut ws).unwrap();
    assert!(is_formed(&operator));
    let asked = |guarantee| of_operator(&operator, &NormOptions { guarantee, ..NormOptions::default() }).guarantee;
    assert_eq!(asked(GuaranteeRequest::Auto), GuaranteeRequest::Deterministic);
    assert_eq!(asked(GuaranteeRequest::Probabilistic), GuaranteeRequest::Probabilistic);
    // Of a short and long one, it takes as many products as it has rows, and half its rows times all its entries.
    for (short, long, formed) in [
        (300, 300, true),
        (600, 600, true),
        (700, 700, false),
        (1100, 1100, false),
        (120, 20_000, true),
        (130, 20_000, false),
    ] {
        let maps = vec![vec![vec![1.0; long]; short]];
        let example = Example { maps, centres: vec![], deltas: vec![] };
        let increments = example.increments();
        let operator = Scaled::new(&increments, 1.0, &[], &mut ws).unwrap();
        assert_eq!(is_formed(&operator), formed, "{short} x {long}");
        let asked = NormOptions::default();
        assert_eq!(of_operator(&operator, &asked).guarantee == GuaranteeRequest::Deterministic, formed);
    }
}

const FAILURE: f64 = 1e-3;

fn probabilistic() -> NormOptions {
    NormOptions { guarantee: GuaranteeRequest::Probabilistic, failure_probability: FAILURE, ..NormOptions::default() }
}

/// Every norm that is taken has the same share of the failure probability, and all of them together no more than all.
#[test]
fn norms_share_the_failure_probability() {
    let mut taken = [0; 5];
    for seed in 1..20 {
        let inc = increments(&network(seed));
        for tolerance in [1e-4, 2e-2] {
            let plan = Plan { effort: Effort { rank: 4, steps: 30, tolerance: 1e-3 }, tries: 3, tolerance };
            let mut ws = Workspace::new();
            let found = certify(&inc, &plan, 1.0, &probabilistic(), &mut None, &crate::Quiet, &mut ws).unwrap();
            let shares = found.failure_probability / (FAILURE / 4.0);
            assert!((shares - shares.round()).abs() < 1e-9 && (1.0..4.5).contains(&shares), "seed {seed}: {shares}");
            taken[shares.round() as usize] += 1;
        }
    }
    // A search that has converged mostly needs one norm; so does one that is far from it, which more of them would not help.
    let (mut once, mut far) = (0, 0);
    for seed in 1..20 {
        let inc = increments(&network(seed));
        let plan = |steps| Plan { effort: Effort { rank: 4, steps, tolerance: 1e-9 }, tries: 3, tolerance: 1e-2 };
        let options = NormOptions { seed, ..probabilistic() };
        let mut ws = Workspace::new();
        let mut shares = |increments: &Increments, steps: usize| {
            let found = certify(increments, &plan(steps), 1.0, &options, &mut None, &crate::Quiet, &mut ws).unwrap();
            (found.failure_probability / (FAILURE / 4.0), found.claim.unwrap().sigma)
        };
        let (converged, _) = shares(&inc, 400);
        once += usize::from((converged - 1.0).abs() < 1e-9);
        let (begun, sigma) = shares(&inc, 1);
        if sigma > 1.5 {
            far += 1;
            assert!((begun - 1.0).abs() < 1e-9, "seed {seed}: {begun} norms for {sigma}");
        }
    }
    assert!(once > 10 && far > 3, "{once} {far}");
    assert!(taken[1] + taken[2] > 5 && taken[2] + taken[3] + taken[4] > 5, "{taken:?}");
    // Of an affine network there is one norm, or two where the first is far from one; the first counts even then.
    let plan = Plan { effort: Effort { rank: 2, steps: 10, tolerance: 1e-3 }, tries: 3, tolerance: 1e-4 };
    for (scale, norms) in [(1.0, 1.0), (1e-6, 1.0), (1e20, 2.0), (1e-20, 2.0)] {
        let maps = vec![vec![vec![scale, 2.0 * scale], vec![-scale, 0.5 * scale], vec![0.0, scale]]];
        let example = Example { maps, centres: vec![], deltas: vec![] };
        let mut ws = Workspace::new();
        let certified = |room: f64, ws: &mut Workspace| {
            certify(&example.increments(), &plan, room, &probabilistic(), &mut None, &crate::Quiet, ws).unwrap()
        };
        let found = certified(1.0, &mut ws);
        assert!((found.failure_probability / (FAILURE / 2.0) - norms).abs() < 1e-9, "{scale}: {found:?}");
        // Taken larger, the norm is larger by as much.
        let more = certified(1.25, &mut ws).upper / found.upper;
        assert!((more - 1.25).abs() < 1e-12, "{scale}: {more}");
    }
    let zero = Example { maps: vec![vec![vec![0.0; 2]; 2]], centres: vec![], deltas: vec![] };
    let mut ws = Workspace::new();
    let found = certify(&zero.increments(), &plan, 1.0, &probabilistic(), &mut None, &crate::Quiet, &mut ws).unwrap();
    assert_eq!(found.failure_probability, 0.0);
}

/// The optimum over all weights is the value of a search without end, from below; certificates come near it from above.
#[test]
fn certificates_are_near_the_optimum_over_all_weights() {
    for seed in 1..8 {
        let inc = increments(&network(seed));
        let mut ws = Workspace::new();
        let endless = Effort { rank: 6, steps: 20_000, tolerance: 0.0 };
        let optimum = weights::search(&inc, endless, 0, None, &crate::Quiet, &mut ws).unwrap().value;
        for (effort, tolerance, room) in [
            (Effort { rank: 4, steps: 400, tolerance: 1e-9 }, 1e-4, 1.00011),
            (Effort { rank: 4, steps: 60, tolerance: 1e-3 }, 1e-3, 1.0015),
            (Effort { rank: 4, steps: 30, tolerance: 1e-1 }, 1e-2, 1.0105),
        ] {
            let plan = Plan { effort, tries: 3, tolerance };
            let mut memory = None;
            let found =
                certify(&inc, &plan, 1.0, &NormOptions::default(), &mut memory, &crate::Quiet, &mut ws).unwrap();
            let excess = found.upper / optimum;
            assert!(excess >= 1.0 - 1e-6 && excess <= room, "seed {seed}, {effort:?}: {excess}");
            let memory = memory.unwrap();
            assert!(memory.steps > 0 && memory.value <= optimum * (1.0 + 1e-6));
        }
    }
}
