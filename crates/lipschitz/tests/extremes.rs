//! Numbers at the edges: overflow, underflow, exact ties, a ball of radius zero. Each once broke a bound in review.

use lipbound_lipschitz::{
    BatchNorm2d, BoundOptions, GlobalOptions, Kind, Layer, MaxPool2dOptions, MethodRequest, ModelError, Network,
    NetworkBuilder, Node, Quiet, RadiusOptions, Tensor, Unit, batch_norm2d, bound, certified_radius, global_bound,
    linear, max_pool2d, normalize, unit,
};
use lipbound_operators::Workspace;
use lipbound_spectral::{GuaranteeRequest, NormOptions};

type Built = Result<(Layer, Vec<usize>), ModelError>;
type Make = Box<dyn Fn(&[usize]) -> Built>;

fn tensor(shape: &[usize], data: &[f64]) -> Tensor {
    Tensor::f64(shape.to_vec(), data.to_vec()).unwrap()
}

fn chain(input: &[usize], layers: Vec<Make>) -> Network {
    let mut builder = NetworkBuilder::new(input.to_vec()).unwrap();
    for (k, layer) in layers.into_iter().enumerate() {
        let source = builder.last();
        let (layer, shape) = layer(builder.shape(source)).unwrap();
        let node =
            Node { name: format!("n{k}"), kind: "test".into(), layer, inputs: vec![source], shape, parameters: 0 };
        builder.push(node).unwrap();
    }
    builder.build().unwrap()
}

fn dense(rows: usize, cols: usize, data: &'static [f64]) -> Make {
    Box::new(move |input| linear(input, &tensor(&[rows, cols], data), None))
}

fn affine(rows: usize, cols: usize, data: &'static [f64], bias: &'static [f64]) -> Make {
    Box::new(move |input| linear(input, &tensor(&[rows, cols], data), Some(&tensor(&[rows], bias))))
}

fn relu() -> Make {
    Box::new(|input| unit(input, Unit::Relu))
}

fn leaky(slope: f64) -> Make {
    Box::new(move |input| unit(input, Unit::LeakyRelu { slope }))
}

fn options(kind: Kind, epsilon: f64, method: MethodRequest) -> BoundOptions {
    BoundOptions { epsilons: vec![epsilon], kind, method, norm: NormOptions::default(), ..BoundOptions::default() }
}

fn clip(low: f64, high: f64) -> Make {
    Box::new(move |input| unit(input, Unit::Clip { low, high }))
}

const METHODS: [MethodRequest; 2] = [MethodRequest::Layerwise, MethodRequest::Certificate];

#[test]
fn a_unit_at_its_kink_counts_both_sides_even_for_radius_zero() {
    for (slope, truth) in [(3.0, 3.0), (-2.0, 2.0), (0.5, 1.0)] {
        let net = chain(&[1], vec![leaky(slope)]);
        for method in METHODS {
            for kind in [Kind::Centred, Kind::Uniform] {
                let result =
                    bound(&net, &tensor(&[1], &[0.0]), &options(kind, 0.0, method), &Quiet, &mut Workspace::new())
                        .unwrap()
                        .remove(0);
                assert!(result.upper >= truth, "slope {slope}, {kind:?}, {method:?}: {}", result.upper);
            }
        }
    }
}

#[test]
fn a_clip_at_either_kink_counts_both_sides_even_for_radius_zero() {
    for x0 in [-1.0, 2.0] {
        let net = chain(&[1], vec![clip(-1.0, 2.0), dense(1, 1, &[3.0])]);
        for method in METHODS {
            for kind in [Kind::Centred, Kind::Uniform] {
                let result =
                    bound(&net, &tensor(&[1], &[x0]), &options(kind, 0.0, method), &Quiet, &mut Workspace::new())
                        .unwrap()
                        .remove(0);
                assert!(result.upper >= 3.0, "{x0}, {kind:?}, {method:?}: {}", result.upper);
            }
        }
    }
}

#[test]
fn a_clip_at_its_cap_is_still_with_the_value_of_the_cap() {
    // The first unit stays at its cap, and what it hands on is no zero: behind the second map it is a one.
    let net = chain(
        &[2],
        vec![
            dense(2, 2, &[1e30, 0.0, 0.0, 1.0]),
            clip(-1e20, 1e20),
            dense(2, 2, &[1.0, 0.0, 1e-20, 1.0]),
            clip(0.0, 1.0),
        ],
    );
    // With input (1, x) the other unit sees 1 + x: above its cap for x = 0.5, below it for x = -0.5, at it for x = 0.
    for (x, truth, still) in [(0.5, 0.0, 2), (-0.5, 1.0, 1), (0.0, 1.0, 1)] {
        for method in METHODS {
            for kind in [Kind::Centred, Kind::Uniform] {
                let x0 = tensor(&[2], &[1.0, x]);
                let result =
                    bound(&net, &x0, &options(kind, 0.1, method), &Quiet, &mut Workspace::new()).unwrap().remove(0);
                assert!(result.upper >= truth && result.upper <= truth * (1.0 + 1e-9), "{x}: {}", result.upper);
                assert_eq!(result.layers[0].units.still, 1);
                assert_eq!(result.layers[1].units.still, still, "{x}");
            }
        }
    }
}

#[test]
fn clips_whose_ends_mean_nothing_are_refused() {
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::NAN), (f64::INFINITY, f64::INFINITY)] {
        let error = unit(&[1], Unit::Clip { low, high }).unwrap_err().to_string();
        assert!(error.contains("min must be less than max"), "{error}");
    }
    let error = unit(&[1], Unit::Clip { low: 0.0, high: 1e50 }).unwrap_err().to_string();
    assert!(error.contains("max must be") && error.contains("1e45"), "{error}");
}

#[test]
fn values_that_overflow_are_refused_and_not_hidden_by_a_unit() {
    let net = chain(&[3], vec![dense(1, 3, &[1e45, -1e45, 1.0]), relu()]);
    let error = bound(
        &net,
        &tensor(&[3], &[1e250; 3]),
        &options(Kind::Centred, 1e-3, MethodRequest::Auto),
        &Quiet,
        &mut Workspace::new(),
    );
    assert!(error.unwrap_err().to_string().contains("1e45"));
    // Inside the limits for inputs, over the range of f64 inside the network.
    let net = chain(&[1], (0..7).flat_map(|_| [dense(1, 1, &[1e45]), relu()]).collect());
    let error = bound(
        &net,
        &tensor(&[1], &[1e45]),
        &options(Kind::Centred, 1e-3, MethodRequest::Auto),
        &Quiet,
        &mut Workspace::new(),
    );
    assert!(error.unwrap_err().to_string().contains("overflow"));
}

#[test]
fn long_chains_of_tiny_and_huge_factors_do_not_vanish() {
    // Six factors of 1e-45, then six of 1e45: the identity, whose partial products are far outside f64.
    let layers = (0..12).map(|k| dense(1, 1, if k < 6 { &[1e-45] } else { &[1e45] })).collect();
    let net = chain(&[1], layers);
    for method in METHODS {
        let x0 = tensor(&[1], &[1.0]);
        match bound(&net, &x0, &options(Kind::Centred, 1.0, method), &Quiet, &mut Workspace::new()) {
            Ok(results) => assert!(results[0].upper >= 0.99, "{method:?}: {}", results[0].upper),
            Err(error) => assert!(error.to_string().contains("overflow"), "{error}"),
        }
        let global =
            global_bound(&net, &GlobalOptions { method, ..GlobalOptions::default() }, &Quiet, &mut Workspace::new())
                .unwrap();
        assert!(global.upper >= 0.99, "{method:?}: {}", global.upper);
    }
}

#[test]
fn merged_scales_do_not_hide_movement() {
    let scale = || -> Make { Box::new(|input| normalize(input, &[0.0], &[1e-40])) };
    let identity = || dense(2, 2, &[1.0, 0.0, 0.0, 1.0]);
    let net = chain(&[2], vec![scale(), scale(), scale(), identity(), relu(), identity()]);
    for method in METHODS {
        let x0 = tensor(&[2], &[0.0, 0.0]);
        let result = bound(&net, &x0, &options(Kind::Centred, 1e-3, method), &Quiet, &mut Workspace::new()).unwrap();
        assert!(result[0].upper >= 0.9e120, "{method:?}: {}", result[0].upper);
    }
}

#[test]
fn a_global_constant_has_no_ball() {
    let options_of_pool =
        MaxPool2dOptions { kernel: [1, 2], stride: [1, 1], padding: [0; 4], dilation: [1; 2], ceil_mode: false };
    let net = chain(&[1, 1, 3], vec![Box::new(move |input| max_pool2d(input, &options_of_pool))]);
    let x0 = tensor(&[1, 1, 3], &[9.0, 0.0, 9.0]);
    assert!(
        bound(&net, &x0, &options(Kind::Global, 1e-3, MethodRequest::Auto), &Quiet, &mut Workspace::new()).is_err()
    );
    let global = global_bound(
        &net,
        &GlobalOptions { method: MethodRequest::Auto, ..GlobalOptions::default() },
        &Quiet,
        &mut Workspace::new(),
    )
    .unwrap();
    assert!(global.upper >= 2f64.sqrt());
}

#[test]
fn products_that_leave_the_range_of_numbers_do_not_vanish_from_the_certificate() {
    // Nine tiny factors, then nine huge ones: the identity; beside it the input itself, so that the truth is two.
    for (tiny, huge) in [(&[1e-45], &[1e45]), (&[1e-38], &[1e38])] {
        let mut builder = NetworkBuilder::new(vec![1]).unwrap();
        for k in 0..18 {
            let (layer, shape) = dense(1, 1, if k < 9 { tiny } else { huge })(&[1]).unwrap();
            let inputs = vec![builder.last()];
            builder
                .push(Node { name: format!("n{k}"), kind: "test".into(), layer, inputs, shape, parameters: 0 })
                .unwrap();
        }
        let inputs = vec![0, builder.last()];
        let add =
            Node { name: "sum".into(), kind: "add".into(), layer: Layer::Add, inputs, shape: vec![1], parameters: 0 };
        builder.push(add).unwrap();
        let net = builder.build().unwrap();
        for method in METHODS {
            let global = global_bound(
                &net,
                &GlobalOptions { method, ..GlobalOptions::default() },
                &Quiet,
                &mut Workspace::new(),
            )
            .unwrap();
            assert!(global.upper >= 1.99, "{method:?}: {}", global.upper);
            let options = options(Kind::Centred, 1.0, method);
            if let Ok(local) = bound(&net, &tensor(&[1], &[0.0]), &options, &Quiet, &mut Workspace::new()) {
                assert!(local[0].upper >= 1.99, "{method:?}: {}", local[0].upper);
            }
        }
    }
    // Overflow that meets a zero weight: what is no number must not count as small.
    let diagonal = |k: usize| dense(2, 2, if k < 9 { &[1e45, 0.0, 0.0, 1e45] } else { &[1e-45, 0.0, 0.0, 1e-45] });
    let net = chain(&[2], (0..18).map(diagonal).collect());
    let method = MethodRequest::Certificate;
    let global =
        global_bound(&net, &GlobalOptions { method, ..GlobalOptions::default() }, &Quiet, &mut Workspace::new())
            .unwrap();
    assert!(global.upper >= 0.99, "{}", global.upper);
}

/// Products of weights whose largest paths never meet: the norm is far below the product of the norms, and what one
/// factor loses to underflow the next ones would multiply by any factor.
#[test]
fn what_underflows_between_merged_maps_does_not_make_a_norm_small() {
    let diagonal =
        |[a, b]: [f64; 2]| -> Make { Box::new(move |input| linear(input, &tensor(&[2, 2], &[a, 0.0, 0.0, b]), None)) };
    for (first, second, third, slope) in [
        ([1e45, 1e-45], [1e44, 1e-44], [1e-43, 1e40], -1e41),
        ([1e45, 1e-45], [1e44, 1e-45], [1e-45, 1e45], 1e45),
        ([1e38, 1e-38], [1e38, 1e-38], [1e-38, 1e38], 1e38),
        ([1e45, 1e-45], [1e45, 1e-45], [1e-45, 1e45], 1.0),
    ] {
        let maps = [first, second, third].map(diagonal);
        let net = chain(&[2], maps.into_iter().chain([leaky(slope)]).collect());
        let truth = f64::max(first[0] * second[0] * third[0], first[1] * second[1] * third[1] * slope.abs());
        for method in METHODS {
            for kind in [Kind::Centred, Kind::Uniform] {
                let options = options(kind, 0.1, method);
                let result = bound(&net, &tensor(&[2], &[1.0, -1.0]), &options, &Quiet, &mut Workspace::new());
                let result = result.unwrap().remove(0);
                assert!(result.upper >= truth * (1.0 - 1e-12), "{slope:e} {kind:?} {method:?}: {:e}", result.upper);
                assert!(result.lower <= truth * (1.0 + 1e-12));
            }
        }
    }
}

#[test]
fn statistics_that_would_vanish_are_refused() {
    let at = |values: [f64; 2]| tensor(&[2], &values);
    let (tiny, ones, zeros) = (at([1e-200, 1.0]), at([1.0, 1.0]), at([0.0, 0.0]));
    let (far, wide) = (at([-1e300, 0.0]), at([1e300, 1.0]));
    for (weight, mean, var, name) in
        [(&tiny, &zeros, &ones, "weight"), (&ones, &far, &ones, "running_mean"), (&ones, &zeros, &wide, "running_var")]
    {
        let tensors = BatchNorm2d { weight: Some(weight), bias: None, running_mean: mean, running_var: var, eps: 0.0 };
        let error = batch_norm2d(&[2, 1, 1], &tensors).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("1e-45 to 1e45"), "{error}");
    }
}

/// An entry that overflows between merged maps, in a column that does not move, must not reach the lower end of the norm.
#[test]
fn what_overflows_behind_a_mask_says_nothing() {
    let signs = [1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0, 1.0];
    let wide: Vec<f64> = signs.chunks(4).flat_map(|row| row.iter().copied().chain([-1e45])).collect();
    let huge: Vec<f64> = (0..16).map(|k| if k % 5 == 0 { 1e45 } else { 0.0 }).collect();
    let map = |cols: usize, values: &[f64]| -> Make {
        let weight = tensor(&[4, cols], values);
        Box::new(move |input| linear(input, &weight, None))
    };
    let net = chain(&[5], vec![clip(-100.0, 100.0), map(5, &wide), map(4, &huge), map(4, &huge), leaky(1e45)]);
    let x0 = tensor(&[5], &[0.0, 0.0, 0.0, 0.0, 1000.0]);
    for guarantee in [GuaranteeRequest::Auto, GuaranteeRequest::Probabilistic, GuaranteeRequest::Deterministic] {
        let norm = NormOptions { guarantee, ..NormOptions::default() };
        let options = BoundOptions { norm, ..options(Kind::Centred, 0.1, MethodRequest::Layerwise) };
        let Ok(results) = bound(&net, &x0, &options, &Quiet, &mut Workspace::new()) else { continue };
        for layer in &results[0].layers {
            assert!(layer.norm.lower <= 2e135 * (1.0 + 1e-9), "{guarantee:?}: {:?}", layer.norm);
        }
        assert!(results[0].upper >= 2e135 * (1.0 - 1e-9), "{guarantee:?}: {:e}", results[0].upper);
    }
}

#[test]
fn branches_of_unequal_depth_are_bounded() {
    let mut builder = NetworkBuilder::new(vec![2]).unwrap();
    let mut count = 0;
    let mut add = |builder: &mut NetworkBuilder, inputs: Vec<usize>, built: Built| {
        let (layer, shape) = built.unwrap();
        count += 1;
        let node = Node { name: format!("n{count}"), kind: "test".into(), layer, inputs, shape, parameters: 0 };
        builder.push(node).unwrap()
    };
    let mut ends = Vec::new();
    for depth in [4, 2] {
        let mut at = 0;
        for _ in 0..depth {
            at = add(&mut builder, vec![at], dense(2, 2, &[1.0, 0.5, -0.5, 1.0])(&[2]));
            at = add(&mut builder, vec![at], relu()(&[2]));
        }
        ends.push(at);
    }
    add(&mut builder, ends, Ok((Layer::Add, vec![2])));
    let net = builder.build().unwrap();
    let x0 = tensor(&[2], &[0.1, -0.2]);
    let options = options(Kind::Centred, 1.0, MethodRequest::Certificate);
    let result = bound(&net, &x0, &options, &Quiet, &mut Workspace::new()).unwrap().remove(0);
    let norm = 1.25f64.sqrt();
    assert!(result.lower <= result.upper && result.upper <= (norm.powi(4) + norm.powi(2)) * 1.01, "{result:?}");
}

/// What is left of numbers that nearly vanish on the way is no measure of what comes back: depth alone can do that.
#[test]
fn a_gain_far_below_one_is_not_lost() {
    for (depth, n) in [(6usize, 3usize), (60, 4), (12, 6)] {
        let scale = 10f64.powf(-172.0 / depth as f64);
        let layer = move |k: usize| -> Make {
            // Diagonally dominant, positive, and different in every layer.
            let entry = move |i: usize| {
                let off = 0.001 * ((i * 7 + k * 3) % 10) as f64;
                scale * if i / n == i % n { 1.0 + off } else { off }
            };
            Box::new(move |input| linear(input, &tensor(&[n, n], &(0..n * n).map(entry).collect::<Vec<_>>()), None))
        };
        let net = chain(&[n], (0..depth).flat_map(|k| [layer(k), relu()]).collect());
        let centre = tensor(&[n], &vec![1.0; n]);
        let run = |method| {
            let options = BoundOptions {
                epsilons: vec![1e-3],
                kind: Kind::Centred,
                method,
                norm: NormOptions::default(),
                ..BoundOptions::default()
            };
            bound(&net, &centre, &options, &Quiet, &mut Workspace::new()).unwrap().remove(0)
        };
        let layerwise = run(MethodRequest::Layerwise);
        let certified = run(MethodRequest::Certificate);
        // Every unit is stable, and the ones are nearly the top singular vector of all layers: a ratio is close to it.
        let gain = certified.layers.last().unwrap().gain;
        assert!(gain > 0.1 * layerwise.upper && gain >= layerwise.lower, "{depth}: {gain:e}, {:e}", layerwise.upper);
        assert!(layerwise.lower > 0.0 && layerwise.lower <= certified.upper);
    }
}

/// A value that underflows is not exact, even where its error bound would underflow too.
#[test]
fn a_nominal_value_that_underflows_is_uncertain() {
    let constant = |rows: usize, cols: usize, value: f64, bias: Option<f64>| -> Make {
        Box::new(move |input| {
            let bias = bias.map(|b| tensor(&[rows], &vec![b; rows]));
            linear(input, &tensor(&[rows, cols], &vec![value; rows * cols]), bias.as_ref())
        })
    };
    for n in [1usize, 16, 400] {
        let mut layers: Vec<Make> = Vec::new();
        for _ in 0..6 {
            layers.extend([constant(1, 1, 2f64.powi(-149), None), relu()]);
        }
        layers.extend([constant(1, 1, 2f64.powi(-120), None), relu()]);
        // Each of these is below half the least denormal number.
        layers.extend([constant(n, 1, 1.9 * 2f64.powi(-62), None), relu()]);
        layers.extend([constant(1, n, 2f64.powi(149), None), relu()]);
        for _ in 0..6 {
            layers.extend([constant(1, 1, 2f64.powi(149), None), relu()]);
        }
        // Here the input is back, less 0.75: the network is relu(x - 0.75), and its constant at 1 is 1.
        layers.extend([constant(1, 1, 2f64.powi(33) / (1.9 * n as f64), Some(-0.75)), relu()]);
        let net = chain(&[1], layers);
        for method in [MethodRequest::Layerwise, MethodRequest::Certificate] {
            let options = BoundOptions {
                epsilons: vec![1e-3],
                kind: Kind::Centred,
                method,
                norm: NormOptions::default(),
                ..BoundOptions::default()
            };
            let result = bound(&net, &tensor(&[1], &[1.0]), &options, &Quiet, &mut Workspace::new()).unwrap().remove(0);
            assert!(result.upper >= 1.0 - 1e-12, "{n} {method:?}: {}", result.upper);
        }
    }
}

#[test]
fn a_ratio_of_denormal_numbers_is_not_attained() {
    for n in [16usize, 64, 256] {
        for k in 0..80 {
            let last = 1.0 + 0.25 * f64::from(k);
            let constant = |rows: usize, value: f64| -> Make {
                Box::new(move |input| linear(input, &tensor(&[rows, 1], &vec![value; rows]), None))
            };
            let mut layers: Vec<Make> = Vec::new();
            for _ in 0..3 {
                layers.extend([constant(1, 2f64.powi(-134)), relu()]);
            }
            layers.push(constant(n, last * 2f64.powi(-136)));
            let net = chain(&[1], layers);
            let truth = last * 2f64.powi(-538) * (n as f64).sqrt();
            let options = BoundOptions {
                epsilons: vec![0.0, 1e-12, 1e-3],
                kind: Kind::Centred,
                method: MethodRequest::Layerwise,
                norm: NormOptions::default(),
                ..BoundOptions::default()
            };
            for result in bound(&net, &tensor(&[1], &[1.0]), &options, &Quiet, &mut Workspace::new()).unwrap() {
                assert!(result.lower <= truth * (1.0 + 1e-12), "{n} {last}: {:e}, truth {truth:e}", result.lower);
                assert!(result.upper >= truth * (1.0 - 1e-12));
            }
        }
    }
}

#[test]
fn balls_of_almost_any_size_move_units_that_were_off() {
    for slope in [0.0, 0.01, -0.5] {
        let net = chain(&[1], vec![affine(1, 1, &[2.0], &[-1.0]), leaky(slope)]);
        for method in METHODS {
            for kind in [Kind::Centred, Kind::Uniform] {
                for epsilon in [1e10, 1e300, 1e307, 8e307, 1e308, 1.7e308] {
                    let options = options(kind, epsilon, method);
                    let found =
                        &bound(&net, &tensor(&[1], &[0.0]), &options, &Quiet, &mut Workspace::new()).unwrap()[0];
                    // From zero to far away on the right the output grows as the input does, twice as far.
                    assert!(found.upper >= 1.99, "{slope} {method:?} {kind:?} {epsilon:e}: {}", found.upper);
                }
            }
        }
    }
}

/// The product of the layers' constants leaves the range of numbers, and nothing is rounded on the way. A unit that was off is
/// on from one on; the class changes at 1.25.
#[test]
fn a_movement_that_overflows_is_any_movement() {
    const LARGE: f64 = 8_589_934_592.0;
    let mut layers: Vec<Make> = Vec::new();
    for k in 0..36 {
        let scales: &'static [f64] =
            if k % 2 == 0 { &[LARGE, 0.0, 0.0, 1.0 / LARGE] } else { &[1.0 / LARGE, 0.0, 0.0, LARGE] };
        layers.extend([dense(2, 2, scales), leaky(0.5)]);
    }
    layers.extend([affine(1, 2, &[1.0, 0.0], &[-1.0]), relu(), affine(2, 1, &[0.0, 4.0], &[1.0, 0.0])]);
    let net = chain(&[2], layers);
    let x0 = tensor(&[2], &[0.0, 0.0]);
    for method in METHODS {
        let found = &bound(&net, &x0, &options(Kind::Centred, 2.0, method), &Quiet, &mut Workspace::new()).unwrap()[0];
        // From zero to (2, 0) the second logit moves by 4.
        assert!(found.upper >= 2.0 && found.upper >= found.lower, "{method:?}: {}", found.upper);
        let options = RadiusOptions {
            label: None,
            input_box: None,
            maximum: Some(5.0),
            tolerance: 0.02,
            method,
            norm: NormOptions::default(),
            attack_steps: Some(0),
        };
        let found = certified_radius(&net, &x0, &options, &Quiet, &mut Workspace::new()).unwrap();
        assert!(found.radius <= 1.25, "{method:?}: {}", found.radius);
    }
}
