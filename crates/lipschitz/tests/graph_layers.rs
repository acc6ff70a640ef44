//! Layers of branches, of rearrangement and transposed convolutions, against loops that say what they are.

use crate::common::{Random, nearby, node_by_node, ratio};
use lipbound_lipschitz::{
    BoundOptions, ConvTranspose2dOptions, Kind, Layer, MethodRequest, ModelError, Network, NetworkBuilder, Parts,
    Quiet, Tensor, Unit, abs, add, bound, concat, conv_transpose2d, global_max_pool2d, linear, maximum, minimum, pad2d,
    permute, prelu, reshape, unit, upsample2d,
};
use lipbound_operators::Workspace;
use lipbound_spectral::NormOptions;

fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn image(random: &mut Random) -> Vec<usize> {
    (0..3).map(|_| 1 + random.below(5)).collect()
}

/// What a layer of one input makes of `x`.
fn output(shape: &[usize], built: Result<(Layer, Vec<usize>), ModelError>, x: &[f64]) -> (Vec<usize>, Vec<f64>) {
    of_branches(&[shape], built.map(|part| vec![part]), x)
}

/// What a layer makes of branches, which lie behind each other in `x`.
fn of_branches(shapes: &[&[usize]], built: Result<Parts, ModelError>, x: &[f64]) -> (Vec<usize>, Vec<f64>) {
    let parts = built.unwrap();
    let shape = parts.last().unwrap().1.clone();
    let mut builder = NetworkBuilder::new(vec![x.len()]).unwrap();
    let mut start = 0;
    let sources = shapes
        .iter()
        .enumerate()
        .map(|(k, shape)| {
            let index = (start..start + elements(shape)).map(|j| j as u32).collect();
            start += elements(shape);
            let crop = lipbound_operators::Selection::new(x.len(), index);
            let layer = Layer::Affine(lipbound_lipschitz::Affine { operator: std::sync::Arc::new(crop), bias: None });
            builder.push_parts(&format!("crop{k}"), "test", vec![0], vec![(layer, shape.to_vec())], 0).unwrap()
        })
        .collect();
    builder.push_parts("layer", "test", sources, parts, 0).unwrap();
    let network = builder.build().unwrap();
    assert_eq!(network.layers().len(), shapes.len() + 1);
    let input = Tensor::f64(vec![x.len()], x.to_vec()).unwrap();
    let value = network.evaluate(&input).unwrap().to_f64();
    assert_eq!(node_by_node(&network, &input), value);
    (shape, value)
}

fn numbers(random: &mut Random, n: usize) -> Vec<f64> {
    (0..n).map(|_| random.normal()).collect()
}

#[test]
fn a_transposed_convolution_spreads_every_pixel() {
    let mut tried = 0;
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let groups = 1 + random.below(2);
        let (per_in, per_out) = (1 + random.below(2), 1 + random.below(3));
        let [h, w] = [1 + random.below(4), 1 + random.below(4)];
        let [kh, kw] = [1 + random.below(3), 1 + random.below(3)];
        let options = ConvTranspose2dOptions {
            stride: [1 + random.below(3), 1 + random.below(3)],
            padding: [random.below(4), random.below(4), random.below(4), random.below(4)],
            output_padding: [random.below(3), random.below(3)],
            dilation: [1 + random.below(3), 1 + random.below(2)],
            groups,
        };
        let input = [groups * per_in, h, w];
        let weight = random.weights(&[input[0], per_out, kh, kw]);
        let bias = random.bias(groups * per_out);
        let size = |n: usize, k: usize, axis: usize| {
            let [s, d, op] = [options.stride, options.dilation, options.output_padding].map(|pair| pair[axis] as i64);
            (n as i64 - 1) * s + d * (k as i64 - 1) + 1 + op
                - options.padding[axis] as i64
                - options.padding[axis + 2] as i64
        };
        let (oh, ow) = (size(h, kh, 0), size(w, kw, 1));
        let allowed =
            (0..2).all(|axis| options.output_padding[axis] < options.stride[axis].max(options.dilation[axis]));
        let built = conv_transpose2d(&input, &weight, bias.as_ref(), &options);
        if oh < 1 || ow < 1 || !allowed {
            built.unwrap_err();
            continue;
        }
        tried += 1;
        let x = numbers(&mut random, elements(&input));
        let (shape, value) = output(&input, built, &x);
        let (oh, ow) = (oh as usize, ow as usize);
        assert_eq!(shape, [groups * per_out, oh, ow], "seed {seed}: {options:?}");
        let (weights, bias) = (weight.to_f64(), bias.map(|b| b.to_f64()));
        let mut expected: Vec<f64> =
            (0..elements(&shape)).map(|i| bias.as_ref().map_or(0.0, |b| b[i / (oh * ow)])).collect();
        for c in 0..input[0] {
            for o in 0..per_out {
                for (y, x0) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                    for (u, v) in (0..kh).flat_map(|u| (0..kw).map(move |v| (u, v))) {
                        let row = (y * options.stride[0] + u * options.dilation[0]).checked_sub(options.padding[0]);
                        let column = (x0 * options.stride[1] + v * options.dilation[1]).checked_sub(options.padding[1]);
                        if let (Some(row), Some(column)) = (row.filter(|&r| r < oh), column.filter(|&c| c < ow)) {
                            let to = c / per_in * per_out + o;
                            expected[(to * oh + row) * ow + column] +=
                                weights[((c * per_out + o) * kh + u) * kw + v] * x[(c * h + y) * w + x0];
                        }
                    }
                }
            }
        }
        for (a, b) in value.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-12, "seed {seed}: {a}, expected {b}, {options:?}");
        }
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn the_size_of_a_transposed_convolution_may_not_overflow() {
    let weight = Tensor::f64(vec![1, 1, 2, 2], vec![1.0; 4]).unwrap();
    let huge = 1 << 53;
    for options in [
        ConvTranspose2dOptions { stride: [huge, 1], ..ConvTranspose2dOptions::default() },
        ConvTranspose2dOptions { dilation: [1, huge], ..ConvTranspose2dOptions::default() },
        ConvTranspose2dOptions { padding: [huge; 4], ..ConvTranspose2dOptions::default() },
        ConvTranspose2dOptions { groups: huge, ..ConvTranspose2dOptions::default() },
        ConvTranspose2dOptions { stride: [1 << 20; 2], ..ConvTranspose2dOptions::default() },
    ] {
        conv_transpose2d(&[1, 3, 3], &weight, None, &options).unwrap_err();
    }
}

#[test]
fn borders_orders_and_repetitions_are_what_the_loops_say() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let input = image(&mut random);
        let [c, h, w] = input[..] else { unreachable!() };
        let x = numbers(&mut random, elements(&input));
        let at = |c: usize, y: usize, x0: usize| x[(c * h + y) * w + x0];

        let [top, left, bottom, right] = [(); 4].map(|()| random.below(3));
        let filler = [0.0, 1.5][random.below(2)];
        let (shape, padded) = output(&input, pad2d(&input, [top, left, bottom, right], filler), &x);
        assert_eq!(shape, [c, h + top + bottom, w + left + right]);
        for (i, &value) in padded.iter().enumerate() {
            let (k, y, x0) = (i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]);
            let inside = y >= top && y < top + h && x0 >= left && x0 < left + w;
            assert_eq!(value, if inside { at(k, y - top, x0 - left) } else { filler });
        }

        let scale = [1 + random.below(3), 1 + random.below(3)];
        let (shape, large) = output(&input, upsample2d(&input, scale), &x);
        assert_eq!(shape, [c, h * scale[0], w * scale[1]]);
        for (i, &value) in large.iter().enumerate() {
            let (k, y, x0) = (i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]);
            assert_eq!(value, at(k, y / scale[0], x0 / scale[1]));
        }

        let axes = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][random.below(6)];
        let (shape, permuted) = output(&input, permute(&input, &axes), &x);
        assert_eq!(shape, axes.map(|axis| input[axis]));
        for (i, &value) in permuted.iter().enumerate() {
            let out = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
            let mut place = [0; 3];
            (0..3).for_each(|k| place[axes[k]] = out[k]);
            assert_eq!(value, at(place[0], place[1], place[2]));
        }

        let (shape, same) = output(&input, reshape(&input, &[h, c * w]), &x);
        assert_eq!((shape, same), (vec![h, c * w], x.clone()));

        let (shape, largest) = output(&input, global_max_pool2d(&input), &x);
        assert_eq!(shape, [c, 1, 1]);
        for (k, &value) in largest.iter().enumerate() {
            assert_eq!(value, x[k * h * w..(k + 1) * h * w].iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }

        let one = random.chance(0.3);
        let slopes = numbers(&mut random, if one { 1 } else { c });
        let weight = Tensor::f64(vec![slopes.len()], slopes.clone()).unwrap();
        let (_, bent) = output(&input, prelu(&input, &weight), &x);
        for (i, &value) in bent.iter().enumerate() {
            let slope = slopes[if one { 0 } else { i / (h * w) }];
            assert_eq!(value, if x[i] >= 0.0 { x[i] } else { slope * x[i] });
        }
        let (_, magnitudes) = output(&input, abs(&input), &x);
        assert!(magnitudes.iter().zip(&x).all(|(a, b)| *a == b.abs()));
    }
}

#[test]
fn branches_come_together_as_the_loops_say() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let first = image(&mut random);
        let count = 2 + random.below(3);
        let n = elements(&first);
        let x = numbers(&mut random, count * n);
        let shapes = vec![&first[..]; count];
        let across = |join: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            (0..n).map(|i| (1..count).fold(x[i], |so_far, b| join(so_far, x[b * n + i]))).collect()
        };
        for (built, expected) in [
            (add(&shapes), across(&|a, b| a + b)),
            (maximum(&shapes), across(&f64::max)),
            (minimum(&shapes), across(&f64::min)),
        ] {
            assert_eq!(of_branches(&shapes, built, &x), (first.clone(), expected), "seed {seed}");
        }

        let axis = random.below(3);
        let sizes: Vec<usize> = (0..count).map(|_| 1 + random.below(3)).collect();
        let shapes: Vec<Vec<usize>> = sizes
            .iter()
            .map(|&size| {
                let mut shape = first.clone();
                shape[axis] = size;
                shape
            })
            .collect();
        let shapes: Vec<&[usize]> = shapes.iter().map(|shape| &shape[..]).collect();
        let x = numbers(&mut random, shapes.iter().map(|shape| elements(shape)).sum());
        let (shape, value) = of_branches(&shapes, concat(&shapes, axis), &x);
        assert_eq!(shape[axis], sizes.iter().sum::<usize>());
        for (i, &value) in value.iter().enumerate() {
            let mut place = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
            let (mut branch, mut start) = (0, 0);
            while place[axis] >= sizes[branch] {
                place[axis] -= sizes[branch];
                start += elements(shapes[branch]);
                branch += 1;
            }
            let s = shapes[branch];
            assert_eq!(value, x[start + (place[0] * s[1] + place[1]) * s[2] + place[2]], "seed {seed}, axis {axis}");
        }
    }
}

/// A network of everything at once: two branches, each of units and a map, brought together in each of the ways.
fn network(random: &mut Random) -> Network {
    let mut builder = NetworkBuilder::new(vec![2, 2, 2]).unwrap();
    let shape = [2, 2, 2];
    let weight = random.weights(&[2, 2, 2, 2]);
    let options = ConvTranspose2dOptions { padding: [0, 0, 1, 1], ..ConvTranspose2dOptions::default() };
    let one = |built: Result<(Layer, Vec<usize>), ModelError>| vec![built.unwrap()];
    let mut count = 0;
    let mut push = |inputs: Vec<usize>, parts: Parts| {
        count += 1;
        builder.push_parts(&format!("n{count}"), "test", inputs, parts, 0).unwrap()
    };
    let left = push(vec![0], one(conv_transpose2d(&shape, &weight, random.bias(2).as_ref(), &options)));
    let left = push(vec![left], one(prelu(&shape, &Tensor::f64(vec![2], vec![0.25, -0.5]).unwrap())));
    let right = push(vec![0], one(permute(&shape, &[0, 2, 1])));
    let right = push(vec![right], one(abs(&shape)));
    let shapes = [&shape[..], &shape[..]];
    let joined = match random.below(4) {
        0 => add(&shapes),
        1 => concat(&shapes, 1 + random.below(2)),
        2 => maximum(&shapes),
        _ => minimum(&shapes),
    }
    .unwrap();
    let mut out = joined.last().unwrap().1.clone();
    let mut at = push(vec![left, right], joined);
    if random.chance(0.5) {
        let parts = one(upsample2d(&out, [1, 2]));
        out.clone_from(&parts[0].1);
        at = push(vec![at], parts);
    }
    let flat = elements(&out);
    at = push(vec![at], one(reshape(&out, &[flat])));
    at = push(vec![at], one(linear(&[flat], &random.weights(&[3, flat]), None)));
    push(vec![at], one(unit(&[3], Unit::Relu)));
    builder.build().unwrap()
}

#[test]
fn no_sampled_ratio_exceeds_the_bounds_of_such_networks() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let net = network(&mut random);
        let x0 = random.input(net.input_shape());
        let epsilon = [1e-3, 0.1, 1.0, 10.0][random.below(4)];
        for (kind, method) in [
            (Kind::Centred, MethodRequest::Layerwise),
            (Kind::Centred, MethodRequest::Certificate),
            (Kind::Uniform, MethodRequest::Certificate),
        ] {
            let options = BoundOptions {
                epsilons: vec![epsilon],
                kind,
                method,
                norm: NormOptions { seed, ..NormOptions::default() },
                ..BoundOptions::default()
            };
            let result = &bound(&net, &x0, &options, &Quiet, &mut Workspace::new()).unwrap()[0];
            assert!(result.lower <= result.upper);
            for _ in 0..100 {
                let a = nearby(&mut random, &x0, epsilon);
                let b = if kind == Kind::Centred { x0.clone() } else { nearby(&mut random, &x0, epsilon) };
                if let Some(r) = ratio(&net, &a, &b) {
                    assert!(r <= result.upper, "seed {seed}, {kind:?}, {method:?}: {r} above {}", result.upper);
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let message = |error: Result<Parts, ModelError>| error.unwrap_err().to_string();
    let (a, b): (&[usize], &[usize]) = (&[1, 2, 3], &[1, 3, 3]);
    assert!(message(add(&[a])).contains("two or more inputs, got 1"));
    assert!(message(maximum(&[a, a, b])).contains("input 2 (from 0) [1, 3, 3]"));
    assert!(message(minimum(&[a, b])).contains("equal shape"));
    assert!(message(concat(&[a, b], 0)).contains("along axis 0 only"));
    assert!(message(concat(&[a, &[6]], 0)).contains("[6]"));
    assert!(message(concat(&[a, a], 3)).contains("from 0 to 2"));
    concat(&[a, b], 1).unwrap();
    let message = |error: Result<(Layer, Vec<usize>), ModelError>| error.unwrap_err().to_string();
    assert!(message(reshape(a, &[5])).contains("6 elements"));
    assert!(message(reshape(a, &[])).contains("[]"));
    for axes in [&[0, 1][..], &[0, 1, 1], &[1, 2, 3], &[0, 1, 2, 3]] {
        assert!(message(permute(a, axes)).contains("3 axes"));
    }
    assert!(message(upsample2d(a, [0, 1])).contains("at least 1"));
    assert!(message(upsample2d(a, [1 << 40, 1 << 40])).contains("2^31"));
    assert!(message(pad2d(a, [usize::MAX, 0, 0, 0], 0.0)).contains("2^31"));
    assert!(message(pad2d(a, [1; 4], 1e60)).contains("1e45"));
    assert!(message(prelu(&[3, 1, 1], &Tensor::f64(vec![2], vec![0.1; 2]).unwrap())).contains("[1] or [3]"));
}
