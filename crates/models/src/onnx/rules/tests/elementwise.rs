//! Arithmetic, units, extrema, normalisation and reductions.

use super::{Attribute, In, Random, T, case, fixed, ints};

/// Shapes that broadcast, and what they have together.
fn shapes(random: &mut Random, count: usize) -> (Vec<Vec<usize>>, Vec<usize>) {
    let full = {
        let rank = random.size(0, 4);
        random.shape(rank, 3)
    };
    let list: Vec<Vec<usize>> = (0..count)
        .map(|_| {
            let from = if random.coin() { 0 } else { random.size(0, full.len()) };
            full[from..].iter().map(|&d| if random.size(0, 3) > 0 { d } else { 1 }).collect()
        })
        .collect();
    let rank = list.iter().map(Vec::len).max().unwrap();
    let at = |s: &Vec<usize>, k: usize| (k + s.len()).checked_sub(rank).map_or(1, |k| s[k]);
    let together = (0..rank).map(|k| list.iter().map(|s| at(s, k)).max().unwrap()).collect();
    (list, together)
}

#[test]
fn arithmetic() {
    let mut random = Random(21);
    for _ in 0..1500 {
        let (list, shape) = shapes(&mut random, 2);
        let (a, mut b) = (random.tensor(&list[0]), random.tensor(&list[1]));
        let kind = ["Add", "Sub", "Mul", "Div"][random.size(0, 3)];
        if kind == "Div" {
            // Some divisors are powers of two, whose quotients are exact.
            b = b.map(|v| if v.abs() < 0.5 { 0.25 } else { v });
        }
        let expected = T::of(&shape, |at| {
            let (a, b) = (a.broadcast_at(at), b.broadcast_at(at));
            match kind {
                "Add" => a + b,
                "Sub" => a - b,
                "Mul" => a * b,
                _ => a / b,
            }
        });
        let inputs = match (kind, random.size(0, 2)) {
            ("Div", _) | (_, 0) => vec![In::Flow(a.clone()), fixed(&mut random, &b)],
            ("Mul", _) | (_, 1) => vec![fixed(&mut random, &a), In::Flow(b.clone())],
            _ => vec![In::Flow(a.clone()), In::Flow(b.clone())],
        };
        case(kind, 13, vec![], inputs).gives(&expected);
    }
}

#[test]
fn of_several() {
    let mut random = Random(22);
    for _ in 0..1000 {
        let count = random.size(1, 4);
        let (list, shape) = shapes(&mut random, count);
        let tensors: Vec<T> = list.iter().map(|s| random.tensor(s)).collect();
        let kind = ["Sum", "Mean", "Max", "Min"][random.size(0, 3)];
        let expected = T::of(&shape, |at| {
            let values: Vec<f64> = tensors.iter().map(|t| t.broadcast_at(at)).collect();
            match kind {
                "Sum" => values.iter().sum(),
                "Mean" => values.iter().sum::<f64>() / count as f64,
                "Max" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                _ => values.iter().copied().fold(f64::INFINITY, f64::min),
            }
        });
        let flow = random.size(0, count - 1);
        let inputs = (0..count)
            .map(|i| {
                if i == flow || random.coin() { In::Flow(tensors[i].clone()) } else { fixed(&mut random, &tensors[i]) }
            })
            .collect();
        case(kind, 13, vec![], inputs).gives(&expected);
    }
}

#[test]
fn zero_is_a_relu_and_signs_are_kept() {
    let x = T { shape: vec![1, 4], values: vec![-1.5, -0.0, 0.25, 2.0] };
    let zero = In::Single(T { shape: vec![], values: vec![0.0] });
    case("Max", 13, vec![], vec![In::Flow(x.clone()), zero.clone()]).gives(&x.map(|v| v.max(0.0)));
    case("Min", 13, vec![], vec![zero, In::Flow(x.clone())]).gives(&x.map(|v| v.min(0.0)));
    case("Neg", 13, vec![], vec![In::Flow(x.clone())]).gives(&x.map(|v| -v));
}

#[test]
fn units() {
    let mut random = Random(23);
    for _ in 0..300 {
        let rank = random.size(1, 4);
        let shape = random.shape(rank, 4);
        let x = random.tensor(&shape);
        let flow = vec![In::Flow(x.clone())];
        case("Relu", 14, vec![], flow.clone()).gives(&x.map(|v| v.max(0.0)));
        case("Abs", 13, vec![], flow.clone()).gives(&x.map(f64::abs));
        let alpha = random.value() as f32;
        let leaky = |alpha: f32| x.map(|v| if v < 0.0 { f64::from(alpha) * v } else { v });
        case("LeakyRelu", 16, vec![("alpha", Attribute::Float(alpha))], flow.clone()).gives(&leaky(alpha));
        case("LeakyRelu", 6, vec![], flow.clone()).gives(&leaky(0.01));
        let sigmoid = |a: f32, b: f32| x.map(|v| (f64::from(a) * v + f64::from(b)).clamp(0.0, 1.0));
        case("HardSigmoid", 6, vec![], flow.clone()).gives(&sigmoid(0.2, 0.5));
        let set = vec![("alpha", Attribute::Float(alpha)), ("beta", Attribute::Float(0.1))];
        case("HardSigmoid", 22, set, flow.clone()).gives(&sigmoid(alpha, 0.1));
        // A slope of its own for each position of some trailing axes.
        let from = random.size(0, rank);
        let own: Vec<usize> = shape[from..].iter().map(|&d| if random.coin() { d } else { 1 }).collect();
        let slope = random.tensor(&own);
        let expected = T::of(&shape, |at| {
            let v = x.at(at);
            if v < 0.0 { slope.broadcast_at(at) * v } else { v }
        });
        case("PRelu", 16, vec![], vec![In::Flow(x.clone()), fixed(&mut random, &slope)]).gives(&expected);
    }
}

#[test]
fn clips() {
    let mut random = Random(24);
    let scalar = |v: f64| T { shape: vec![], values: vec![v] };
    for _ in 0..400 {
        let x = random.tensor(&[1, 3, 4]);
        let mut ends = [random.coin().then(|| random.value()), random.coin().then(|| random.value())];
        if random.size(0, 9) == 0 {
            ends[1] = ends[0];
        }
        // numpy.minimum(numpy.maximum(x, min), max): the upper end wins.
        let expected = x.map(|v| ends[1].unwrap_or(f64::MAX).min(ends[0].unwrap_or(f64::MIN).max(v)));
        let mut attributes = Vec::new();
        for (name, end) in ["min", "max"].into_iter().zip(ends) {
            attributes.extend(end.map(|v| (name, Attribute::Float(v as f32))));
        }
        case("Clip", 6, attributes, vec![In::Flow(x.clone())]).gives(&expected);
        let mut inputs = vec![In::Flow(x.clone())];
        inputs.extend(ends.map(|end| end.map_or(In::Absent, |v| fixed(&mut random, &scalar(v)))));
        case("Clip", [11, 12, 13][random.size(0, 2)], vec![], inputs).gives(&expected);
    }
    let x = random.tensor(&[1, 4]);
    let all = |low: f64, high: f64| vec![In::Flow(x.clone()), In::Double(scalar(low)), In::Double(scalar(high))];
    case("Clip", 13, vec![], all(f64::NEG_INFINITY, f64::INFINITY)).gives(&x);
    case("Clip", 13, vec![], all(f32::MIN.into(), f32::MAX.into())).gives(&x);
    case("Clip", 13, vec![], all(f64::NAN, 1.0)).refuses("cannot clip");
}

#[test]
fn batch_normalization() {
    let mut random = Random(25);
    for _ in 0..300 {
        let rank = random.size(1, 5);
        let mut shape = random.shape(rank, 4);
        if rank > 1 {
            shape[0] = 1;
        }
        let channels = if rank > 1 { shape[1] } else { 1 };
        let x = random.tensor(&shape);
        let [scale, bias, mean, var] = [0; 4].map(|_| random.tensor(&[channels]));
        let var = var.map(f64::abs);
        let epsilon = 0.01f32;
        let set = random.coin();
        let eps = f64::from(if set { epsilon } else { 1e-5 });
        let expected = T::of(&shape, |at| {
            let c = &[if rank > 1 { at[1] } else { 0 }];
            (x.at(at) - mean.at(c)) / (var.at(c) + eps).sqrt() * scale.at(c) + bias.at(c)
        });
        let mut inputs = vec![In::Flow(x)];
        inputs.extend([&scale, &bias, &mean, &var].map(|t| fixed(&mut random, t)));
        let mut attributes = vec![("momentum", Attribute::Float(0.9))];
        if set {
            attributes.push(("epsilon", Attribute::Float(epsilon)));
        }
        let opset = [7, 9, 14, 15][random.size(0, 3)];
        case("BatchNormalization", opset, attributes.clone(), inputs.clone()).gives(&expected);
        attributes.push(("training_mode", Attribute::Int(1)));
        case("BatchNormalization", 15, attributes, inputs).refuses("training_mode");
    }
}

#[test]
fn reductions() {
    let mut random = Random(26);
    for _ in 0..1500 {
        let rank = random.size(1, 4);
        let shape = random.shape(rank, 4);
        let x = random.tensor(&shape);
        let kind = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"][random.size(0, 3)];
        let opset = [7, 11, 13, 18, 20][random.size(0, 4)];
        let input = opset >= if kind == "ReduceSum" { 13 } else { 18 };
        let keep = random.coin();
        let mut over: Vec<usize> = (0..rank).filter(|_| random.coin()).collect();
        let mut attributes = vec![];
        let mut inputs = vec![In::Flow(x.clone())];
        let list: Vec<i64> =
            over.iter().map(|&k| if random.coin() { k as i64 } else { k as i64 - rank as i64 }).collect();
        let noop = input && random.coin();
        if noop {
            attributes.push(("noop_with_empty_axes", Attribute::Int(1)));
        }
        if over.is_empty() {
            if input && random.coin() {
                inputs.push(In::Whole(vec![]));
            }
            if !noop {
                over = (0..rank).collect();
            }
        } else if input {
            inputs.push(In::Whole(list));
        } else {
            attributes.push(("axes", Attribute::Ints(list)));
        }
        if !keep || random.coin() {
            attributes.push(("keepdims", Attribute::Int(keep.into())));
        }
        let kept: Vec<usize> = (0..rank).map(|k| if over.contains(&k) { 1 } else { shape[k] }).collect();
        let mut groups: Vec<Vec<f64>> = vec![Vec::new(); kept.iter().product()];
        let places = T::of(&kept, |_| 0.0);
        T::of(&shape, |at| {
            let to: Vec<usize> = (0..rank).map(|k| if over.contains(&k) { 0 } else { at[k] }).collect();
            groups[places.place(&to)].push(x.at(at));
            0.0
        });
        let values = groups
            .iter()
            .map(|v| match kind {
                "ReduceSum" => v.iter().sum(),
                "ReduceMean" => v.iter().sum::<f64>() / v.len() as f64,
                "ReduceMax" => v.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                _ => v.iter().copied().fold(f64::INFINITY, f64::min),
            })
            .collect();
        let out = (0..rank).filter(|k| keep || !over.contains(k)).map(|k| kept[k]).collect();
        case(kind, opset, attributes, inputs).gives(&T { shape: out, values });
    }
}

#[test]
fn refusals() {
    let mut random = Random(27);
    let [a, b] = [0; 2].map(|_| random.tensor(&[1, 3]));
    let zero = In::Single(T { shape: vec![3], values: vec![1.0, 0.0, 2.0] });
    case("Div", 13, vec![], vec![In::Flow(a.clone()), zero]).refuses("element 1 of the divisor is zero");
    case("Div", 13, vec![], vec![In::Single(a.clone()), In::Flow(b.clone())]).refuses("not piecewise linear");
    case("Div", 13, vec![], vec![In::Flow(a.clone()), In::Flow(b.clone())]).refuses("not piecewise linear");
    case("Mul", 13, vec![], vec![In::Flow(a.clone()), In::Flow(b.clone())]).refuses("not piecewise linear");
    case("Add", 13, vec![], vec![In::Flow(a.clone()), In::Single(random.tensor(&[2]))]).refuses("do not broadcast");
    case("PRelu", 13, vec![], vec![In::Flow(a.clone()), In::Single(random.tensor(&[2, 3]))])
        .refuses("does not broadcast");
    case("Clip", 13, vec![], vec![In::Flow(a.clone()), In::Flow(b)]).refuses("must be constant");
    case("ReduceSum", 11, vec![("axes", ints(&[5]))], vec![In::Flow(a.clone())]).refuses("axis 5");
    case("ReduceSum", 11, vec![("axes", ints(&[1, 1]))], vec![In::Flow(a)]).refuses("given twice");
}
