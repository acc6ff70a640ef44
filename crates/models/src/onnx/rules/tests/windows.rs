//! Convolutions and pools.

use super::{Attribute, Case, In, Random, T, case, fixed, ints};

/// Attributes of a window, and where its padding really lies.
#[derive(Clone, Debug)]
struct Window {
    kernel: Vec<usize>,
    stride: Vec<usize>,
    dilation: Vec<usize>,
    pads: Vec<usize>,
    auto: &'static str,
    ceil: bool,
}

impl Window {
    fn random(random: &mut Random, rank: usize, size: &[usize], dilate: bool, ceil: bool) -> Self {
        let auto = ["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"][random.size(0, 4)];
        let kernel: Vec<usize> = (0..rank).map(|_| random.size(1, 3)).collect();
        let mut window = Self {
            stride: (0..rank).map(|_| random.size(1, 3)).collect(),
            dilation: (0..rank).map(|_| if dilate { random.size(1, 2) } else { 1 }).collect(),
            pads: (0..2 * rank).map(|i| random.size(0, kernel[i % rank] - 1)).collect(),
            ceil: ceil && auto == "NOTSET" && random.coin(),
            kernel,
            auto,
        };
        for (k, &size) in size.iter().enumerate() {
            let reach = window.dilation[k] * (window.kernel[k] - 1) + 1;
            match auto {
                "NOTSET" => {}
                "VALID" => (window.pads[k], window.pads[k + rank]) = (0, 0),
                _ => {
                    let out = size.div_ceil(window.stride[k]);
                    let total = ((out - 1) * window.stride[k] + reach).max(size) - size;
                    let begin = if auto == "SAME_UPPER" { total / 2 } else { total.div_ceil(2) };
                    (window.pads[k], window.pads[k + rank]) = (begin, total - begin);
                }
            }
        }
        window
    }

    /// Output sizes; none where the window does not fit.
    fn out(&self, size: &[usize]) -> Option<Vec<usize>> {
        let rank = size.len();
        (0..rank)
            .map(|k| {
                let reach = self.dilation[k] * (self.kernel[k] - 1) + 1;
                let free = (size[k] + self.pads[k] + self.pads[k + rank]).checked_sub(reach)?;
                let mut out = free / self.stride[k] + 1;
                if self.ceil {
                    out = free.div_ceil(self.stride[k]) + 1;
                    if (out - 1) * self.stride[k] >= size[k] + self.pads[k] {
                        out -= 1;
                    }
                }
                Some(out)
            })
            .collect()
    }

    fn attributes(&self, random: &mut Random, kernel: bool, dilate: bool) -> Vec<(&'static str, Attribute)> {
        let mut list = Vec::new();
        if kernel || random.coin() {
            list.push(("kernel_shape", ints(&self.kernel)));
        }
        if self.stride.iter().any(|&s| s != 1) || random.coin() {
            list.push(("strides", ints(&self.stride)));
        }
        if self.dilation.iter().any(|&d| d != 1) || (dilate && random.coin()) {
            list.push(("dilations", ints(&self.dilation)));
        }
        match self.auto {
            "NOTSET" if self.pads.iter().all(|&p| p == 0) && random.coin() => {}
            "NOTSET" => list.push(("pads", ints(&self.pads))),
            auto => list.push(("auto_pad", Attribute::String(auto.into()))),
        }
        if self.ceil {
            list.push(("ceil_mode", Attribute::Int(1)));
        }
        list
    }

    /// Where tap `tap` of the window of output `at` lies along axis `k`, padding counted from zero.
    fn position(&self, k: usize, at: usize, tap: usize) -> usize {
        at * self.stride[k] + tap * self.dilation[k]
    }

    /// The input element there, if it is none of the padding.
    fn input(&self, size: &[usize], at: &[usize], taps: &[usize]) -> Option<Vec<usize>> {
        (0..size.len())
            .map(|k| self.position(k, at[k], taps[k]).checked_sub(self.pads[k]).filter(|&p| p < size[k]))
            .collect()
    }
}

/// All indices of a shape.
fn all(shape: &[usize]) -> Vec<Vec<usize>> {
    let mut list = Vec::new();
    T::of(shape, |index| {
        list.push(index.to_vec());
        0.0
    });
    list
}

fn image(random: &mut Random, channels: usize) -> (Vec<usize>, T) {
    let rank = random.size(1, 2);
    let size = random.shape(rank, 7);
    let mut shape = vec![1, channels];
    shape.extend(&size);
    (size, random.tensor(&shape))
}

#[test]
fn conv() {
    let mut random = Random(1);
    let mut tried = 0;
    while tried < 400 {
        let groups = random.size(1, 3);
        let (per_in, per_out) = (random.size(1, 3), random.size(1, 2));
        let (size, x) = image(&mut random, groups * per_in);
        let rank = size.len();
        let window = Window::random(&mut random, rank, &size, true, false);
        let Some(out) = window.out(&size) else { continue };
        let mut shape = vec![groups * per_out, per_in];
        shape.extend(&window.kernel);
        let w = random.tensor(&shape);
        let b = random.tensor(&[groups * per_out]);
        let biased = random.coin();
        let mut attributes = window.attributes(&mut random, false, true);
        if groups > 1 || random.coin() {
            attributes.push(("group", Attribute::Int(groups as i64)));
        }
        let mut inputs = vec![In::Flow(x.clone()), fixed(&mut random, &w)];
        if biased {
            inputs.push(fixed(&mut random, &b));
        }
        let mut shape = vec![1, groups * per_out];
        shape.extend(&out);
        let expected = T::of(&shape, |at| {
            let mut sum = if biased { b.at(&at[1..2]) } else { 0.0 };
            for taps in all(&window.kernel) {
                let Some(place) = window.input(&size, &at[2..], &taps) else { continue };
                for c in 0..per_in {
                    let mut from = vec![0, at[1] / per_out * per_in + c];
                    from.extend(&place);
                    let mut tap = vec![at[1], c];
                    tap.extend(&taps);
                    sum += x.at(&from) * w.at(&tap);
                }
            }
            sum
        });
        case("Conv", [7, 11, 22][random.size(0, 2)], attributes, inputs).gives(&expected);
        tried += 1;
    }
}

#[test]
fn conv_transpose() {
    let mut random = Random(2);
    let (mut tried, mut cropped) = (0, 0);
    while tried < 500 {
        let groups = random.size(1, 2);
        let (per_in, per_out) = (random.size(1, 3), random.size(1, 2));
        let (size, x) = image(&mut random, groups * per_in);
        let rank = size.len();
        let kernel: Vec<usize> = (0..rank).map(|_| random.size(1, 4)).collect();
        let stride: Vec<usize> = (0..rank).map(|_| random.size(1, 3)).collect();
        let dilation: Vec<usize> = (0..rank).map(|_| random.size(1, 2)).collect();
        let extra: Vec<usize> = (0..rank).map(|k| random.size(0, stride[k] - 1)).collect();
        let opset = [7, 11, 22][random.size(0, 2)];
        let full: Vec<usize> =
            (0..rank).map(|k| (size[k] - 1) * stride[k] + (kernel[k] - 1) * dilation[k] + 1 + extra[k]).collect();
        let mut attributes = vec![("strides", ints(&stride)), ("dilations", ints(&dilation))];
        if extra.iter().any(|&e| e > 0) || random.coin() {
            attributes.push(("output_padding", ints(&extra)));
        }
        let (mut begin, mut out) = (vec![0; rank], vec![0; rank]);
        let way = random.size(0, 3);
        let auto = ["NOTSET", "SAME_UPPER", "SAME_LOWER"][random.size(0, 2)];
        if way == 0 {
            let pads: Vec<usize> = (0..2 * rank).map(|_| random.size(0, 4)).collect();
            if (0..rank).any(|k| pads[k] + pads[k + rank] >= full[k]) {
                continue;
            }
            for k in 0..rank {
                (begin[k], out[k]) = (pads[k], full[k] - pads[k] - pads[k + rank]);
                cropped += usize::from(pads[k] > (kernel[k] - 1) * dilation[k]);
            }
            attributes.push(("pads", ints(&pads)));
        } else if way == 1 {
            out.clone_from(&full);
            if random.coin() {
                attributes.push(("auto_pad", Attribute::String("VALID".into())));
            }
        } else {
            let mut fine = true;
            for k in 0..rank {
                out[k] = if way == 2 { random.size(1, full[k]) } else { size[k] * stride[k] };
                let Some(total) = full[k].checked_sub(out[k]) else {
                    fine = false;
                    continue;
                };
                // From opset 11 on: SAME_UPPER takes the odd element at the end, all else at the beginning.
                begin[k] = if auto == "SAME_UPPER" { total / 2 } else { total.div_ceil(2) };
                fine &= opset >= 11 || total % 2 == 0;
            }
            if !fine || (way == 3 && auto == "NOTSET") {
                continue;
            }
            if auto != "NOTSET" {
                attributes.push(("auto_pad", Attribute::String(auto.into())));
            }
            if way == 2 {
                attributes.push(("output_shape", ints(&out)));
            }
        }
        if groups > 1 {
            attributes.push(("group", Attribute::Int(groups as i64)));
        }
        let mut shape = vec![groups * per_in, per_out];
        shape.extend(&kernel);
        let (w, b) = (random.tensor(&shape), random.tensor(&[groups * per_out]));
        let biased = random.coin();
        let mut inputs = vec![In::Flow(x.clone()), fixed(&mut random, &w)];
        if biased {
            inputs.push(fixed(&mut random, &b));
        }
        let mut shape = vec![1, groups * per_out];
        shape.extend(&out);
        let mut expected = T::of(&shape, |at| if biased { b.at(&at[1..2]) } else { 0.0 });
        let mut reached = false;
        for from in all(&x.shape) {
            for tap in all(&w.shape[1..]) {
                let to: Option<Vec<usize>> = (0..rank)
                    .map(|k| {
                        (from[2 + k] * stride[k] + tap[1 + k] * dilation[k])
                            .checked_sub(begin[k])
                            .filter(|&p| p < out[k])
                    })
                    .collect();
                let Some(to) = to else { continue };
                reached = true;
                let mut at = vec![0, from[1] / per_in * per_out + tap[0]];
                at.extend(&to);
                let mut weight = vec![from[1]];
                weight.extend(&tap);
                let place = expected.place(&at);
                expected.values[place] += x.at(&from) * w.at(&weight);
            }
        }
        let case = case("ConvTranspose", opset, attributes, inputs);
        // A constant output is refused, or made where the core can express it.
        if reached || case.run().is_ok() {
            case.gives(&expected);
            tried += 1;
        }
    }
    assert!(cropped > 20, "{cropped}");
}

#[test]
fn max_pool() {
    let mut random = Random(3);
    let mut tried = 0;
    while tried < 400 {
        let channels = random.size(1, 3);
        let (size, x) = image(&mut random, channels);
        let opset = [7, 8, 10, 11, 12, 22][random.size(0, 5)];
        let window = Window::random(&mut random, size.len(), &size, opset >= 10, opset >= 10);
        let Some(out) = window.out(&size) else { continue };
        let mut shape = vec![1, channels];
        shape.extend(&out);
        let mut outside = false;
        let expected = T::of(&shape, |at| {
            let mut most = f64::NEG_INFINITY;
            for taps in all(&window.kernel) {
                if let Some(place) = window.input(&size, &at[2..], &taps) {
                    let mut from = at[..2].to_vec();
                    from.extend(&place);
                    most = most.max(x.at(&from));
                }
            }
            outside |= most == f64::NEG_INFINITY;
            most
        });
        let attributes = window.attributes(&mut random, true, opset >= 10);
        let case = case("MaxPool", opset, attributes, vec![In::Flow(x)]);
        if outside {
            case.refuses("wholly in the padding");
        } else {
            case.gives(&expected);
            tried += 1;
        }
    }
}

#[test]
fn average_pool() {
    let mut random = Random(4);
    let (mut tried, mut beyond_padding) = (0, 0);
    while tried < 1500 {
        let channels = random.size(1, 3);
        let (size, x) = image(&mut random, channels);
        let rank = size.len();
        let opset = [7, 10, 11, 19, 22][random.size(0, 4)];
        let window = Window::random(&mut random, rank, &size, opset >= 19, opset >= 10);
        let Some(out) = window.out(&size) else { continue };
        let count_padding = random.coin();
        let mut shape = vec![1, channels];
        shape.extend(&out);
        let (mut outside, mut beyond) = (false, false);
        let expected = T::of(&shape, |at| {
            let (mut sum, mut count) = (0.0, 0.0);
            for taps in all(&window.kernel) {
                if let Some(place) = window.input(&size, &at[2..], &taps) {
                    let mut from = at[..2].to_vec();
                    from.extend(&place);
                    sum += x.at(&from);
                    count += 1.0;
                } else {
                    let padded = (0..rank).all(|k| {
                        window.position(k, at[2 + k], taps[k]) < window.pads[k] + size[k] + window.pads[k + rank]
                    });
                    beyond |= !padded;
                    if count_padding && padded {
                        count += 1.0;
                    }
                }
            }
            outside |= count == 0.0;
            sum / count
        });
        let mut attributes = window.attributes(&mut random, true, opset >= 19);
        if count_padding {
            attributes.push(("count_include_pad", Attribute::Int(1)));
        }
        let case = case("AveragePool", opset, attributes, vec![In::Flow(x)]);
        if outside {
            case.refuses("wholly in the padding");
        } else {
            beyond_padding += usize::from(beyond);
            case.gives(&expected);
            tried += 1;
        }
    }
    assert!(beyond_padding > 20, "{beyond_padding}");
}

#[test]
fn global_pools() {
    let mut random = Random(5);
    for _ in 0..200 {
        let channels = random.size(1, 4);
        let rank = random.size(1, 3);
        let mut shape = vec![1, channels];
        shape.extend(random.shape(rank, 4));
        let x = random.tensor(&shape);
        let area: usize = shape[2..].iter().product();
        let mut out = shape.clone();
        out[2..].fill(1);
        let of = |f: &dyn Fn(&[f64]) -> f64| T::of(&out, |at| f(&x.values[at[1] * area..(at[1] + 1) * area]));
        case("GlobalAveragePool", 9, vec![], vec![In::Flow(x.clone())])
            .gives(&of(&|v| v.iter().sum::<f64>() / area as f64));
        case("GlobalMaxPool", 9, vec![], vec![In::Flow(x.clone())])
            .gives(&of(&|v| v.iter().copied().fold(f64::NEG_INFINITY, f64::max)));
    }
}

#[test]
fn refusals() {
    let mut random = Random(6);
    let w = In::Single(random.tensor(&[1, 1, 2, 2]));
    let x = |random: &mut Random, shape: &[usize]| In::Flow(random.tensor(shape));
    let conv = |attributes, inputs| -> Case { case("Conv", 11, attributes, inputs) };
    conv(vec![], vec![x(&mut random, &[2, 1, 3, 3]), w.clone()]).refuses("a batch of 2");
    conv(vec![], vec![x(&mut random, &[1, 1, 3, 3, 3]), w.clone()]).refuses("three-dimensional");
    conv(vec![], vec![x(&mut random, &[1, 1, 3, 3]), x(&mut random, &[1, 1, 2, 2])]).refuses("must be constant");
    conv(vec![("kernel_shape", ints(&[3, 2]))], vec![x(&mut random, &[1, 1, 3, 3]), w.clone()])
        .refuses("kernel_shape is");
    conv(vec![("pads", Attribute::Ints(vec![-1, 0, 0, 0]))], vec![x(&mut random, &[1, 1, 3, 3]), w.clone()])
        .refuses("pads must be at least 0");
    conv(
        vec![("pads", ints(&[1, 0, 0, 0])), ("auto_pad", Attribute::String("VALID".into()))],
        vec![x(&mut random, &[1, 1, 3, 3]), w.clone()],
    )
    .refuses("only one can hold");
    conv(vec![("group", Attribute::Int(0))], vec![x(&mut random, &[1, 1, 3, 3]), w.clone()]).refuses("group must be");
    let odd = vec![("output_shape", ints(&[3, 3]))];
    case("ConvTranspose", 7, odd, vec![x(&mut random, &[1, 1, 3, 3]), w.clone()]).refuses("odd number");
    case("MaxPool", 11, vec![], vec![x(&mut random, &[1, 1, 3, 3])]).refuses("kernel_shape");
    let mut two = case("MaxPool", 11, vec![("kernel_shape", ints(&[2, 2]))], vec![x(&mut random, &[1, 1, 3, 3])]);
    two.outputs = 2;
    two.refuses("only the first can be");
    case("MaxPool", 11, vec![("kernel_shape", ints(&[2, 2]))], vec![x(&mut random, &[2, 1, 3, 3])])
        .refuses("a batch of 2");
}
