//! Operators that move elements.

use super::{Attribute, Case, In, Random, T, case, fixed, ints};

fn some_tensor(random: &mut Random, least: usize) -> T {
    let rank = random.size(least, 4);
    let shape = random.shape(rank, 4);
    random.tensor(&shape)
}

fn signed(random: &mut Random, k: usize, rank: usize) -> i64 {
    if random.coin() { k as i64 } else { k as i64 - rank as i64 }
}

fn shuffled(random: &mut Random, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, random.size(0, i));
    }
    order
}

#[test]
fn transposes() {
    let mut random = Random(31);
    for _ in 0..400 {
        let x = some_tensor(&mut random, 1);
        let rank = x.shape.len();
        let reversed = random.coin();
        let order = if reversed { (0..rank).rev().collect() } else { shuffled(&mut random, rank) };
        let shape: Vec<usize> = order.iter().map(|&k| x.shape[k]).collect();
        let expected = T::of(&shape, |at| {
            let mut from = vec![0; rank];
            order.iter().zip(at).for_each(|(&k, &i)| from[k] = i);
            x.at(&from)
        });
        let attributes = if reversed && random.coin() { vec![] } else { vec![("perm", ints(&order))] };
        case("Transpose", 13, attributes, vec![In::Flow(x)]).gives(&expected);
    }
}

#[test]
fn shapes() {
    let mut random = Random(32);
    for _ in 0..300 {
        let x = some_tensor(&mut random, 1);
        let rank = x.shape.len();
        let flow = || In::Flow(x.clone());
        let split = random.size(0, rank);
        let two = [x.shape[..split].iter().product(), x.shape[split..].iter().product()];
        let at = if split < rank { signed(&mut random, split, rank) } else { rank as i64 };
        case("Flatten", 13, vec![("axis", Attribute::Int(at))], vec![flow()]).gives(&x.seen(&two));
        case("Identity", 13, vec![], vec![flow()]).gives(&x);
        case("Dropout", 7, vec![("ratio", Attribute::Float(0.3))], vec![flow()]).gives(&x);
        case("Dropout", 13, vec![("seed", Attribute::Int(3))], vec![flow(), In::Absent, In::Shaped(vec![], vec![0])])
            .gives(&x);
        case("Cast", 13, vec![("to", Attribute::Int(11))], vec![flow()]).gives(&x);

        // Zero keeps a length, minus one takes what is left.
        let mut wanted: Vec<i64> = x.shape.iter().map(|&d| if random.coin() { 0 } else { d as i64 }).collect();
        let mut shape = x.shape.clone();
        if random.coin() {
            wanted.push(1);
            shape.push(1);
        }
        let open = random.size(0, wanted.len() - 1);
        wanted[open] = -1;
        case("Reshape", 13, vec![], vec![flow(), In::Whole(wanted)]).gives(&x.seen(&shape));

        let ones: Vec<usize> = (0..rank).filter(|&k| x.shape[k] == 1).collect();
        let some: Vec<usize> = ones.iter().copied().filter(|_| random.coin()).collect();
        let without =
            |list: &[usize]| -> Vec<usize> { (0..rank).filter(|k| !list.contains(k)).map(|k| x.shape[k]).collect() };
        case("Squeeze", 11, vec![], vec![flow()]).gives(&x.seen(&without(&ones)));
        case("Squeeze", 13, vec![], vec![flow()]).gives(&x.seen(&without(&ones)));
        let list: Vec<i64> = some.iter().map(|&k| signed(&mut random, k, rank)).collect();
        case("Squeeze", 11, vec![("axes", Attribute::Ints(list.clone()))], vec![flow()])
            .gives(&x.seen(&without(&some)));
        case("Squeeze", 13, vec![], vec![flow(), In::Whole(list)]).gives(&x.seen(&without(&some)));

        let count = random.size(1, 2);
        let mut places = shuffled(&mut random, rank + count);
        places.truncate(count);
        let mut shape = x.shape.clone();
        let mut sorted = places.clone();
        sorted.sort_unstable();
        sorted.iter().for_each(|&k| shape.insert(k, 1));
        let list: Vec<i64> = places.iter().map(|&k| signed(&mut random, k, rank + count)).collect();
        case("Unsqueeze", 11, vec![("axes", Attribute::Ints(list.clone()))], vec![flow()]).gives(&x.seen(&shape));
        case("Unsqueeze", 13, vec![], vec![flow(), In::Whole(list)]).gives(&x.seen(&shape));
    }
}

#[test]
fn concats() {
    let mut random = Random(33);
    for _ in 0..500 {
        let rank = random.size(1, 4);
        let shape = random.shape(rank, 3);
        let along = random.size(0, rank - 1);
        let count = random.size(1, 4);
        let mut pieces: Vec<T> = (0..count)
            .map(|_| {
                let mut own = shape.clone();
                own[along] = random.size(1, 3);
                random.tensor(&own)
            })
            .collect();
        if count > 1 && random.coin() {
            pieces[1] = pieces[0].clone();
        }
        let flow = random.size(0, count - 1);
        let mut whole = shape.clone();
        whole[along] = pieces.iter().map(|p| p.shape[along]).sum();
        let expected = T::of(&whole, |at| {
            let mut from = at.to_vec();
            for piece in &pieces {
                if from[along] < piece.shape[along] {
                    return piece.at(&from);
                }
                from[along] -= piece.shape[along];
            }
            unreachable!()
        });
        let inputs =
            (0..count)
                .map(|i| {
                    if i == flow || random.coin() {
                        In::Flow(pieces[i].clone())
                    } else {
                        fixed(&mut random, &pieces[i])
                    }
                })
                .collect();
        let at = signed(&mut random, along, rank);
        case("Concat", 13, vec![("axis", Attribute::Int(at))], inputs).gives(&expected);
    }
}

/// `length` positions along an axis from `start` in steps.
fn part(x: &T, along: usize, start: i64, step: i64, length: usize) -> T {
    let mut shape = x.shape.clone();
    shape[along] = length;
    T::of(&shape, |at| {
        let mut from = at.to_vec();
        from[along] = (start + step * at[along] as i64) as usize;
        x.at(&from)
    })
}

#[test]
fn splits() {
    let mut random = Random(34);
    for _ in 0..400 {
        let mut x = some_tensor(&mut random, 1);
        let rank = x.shape.len();
        let along = random.size(0, rank - 1);
        let count = random.size(1, 3);
        let way = random.size(0, 3);
        let opset = [[2, 11][random.size(0, 1)], [13, 18][random.size(0, 1)], 13, 18][way];
        let lengths: Vec<usize> = match way {
            0 | 1 => (0..count).map(|_| random.size(1, 3)).collect(),
            2 => vec![random.size(1, 3); count],
            _ => {
                let (part, last) = (random.size(2, 3), random.size(1, 2));
                let mut lengths = vec![part; count];
                lengths[count - 1] = last;
                lengths
            }
        };
        let mut shape = x.shape.clone();
        shape[along] = lengths.iter().sum();
        x = random.tensor(&shape);
        let mut attributes = vec![("axis", Attribute::Int(signed(&mut random, along, rank)))];
        let mut inputs = vec![In::Flow(x.clone())];
        match way {
            0 => attributes.push(("split", ints(&lengths))),
            1 => inputs.push(In::Whole(lengths.iter().map(|&n| n as i64).collect())),
            2 => {}
            _ if lengths[0] != shape[along].div_ceil(count) => continue,
            _ => attributes.push(("num_outputs", Attribute::Int(count as i64))),
        }
        let mut start = 0;
        let expected: Vec<T> = lengths
            .iter()
            .map(|&n| {
                start += n;
                part(&x, along, (start - n) as i64, 1, n)
            })
            .collect();
        Case { outputs: count, ..case("Split", opset, attributes, inputs) }.gives_all(&expected);
    }
}

#[test]
fn slices() {
    let mut random = Random(35);
    let mut tried = 0;
    for _ in 0..1500 {
        let x = some_tensor(&mut random, 1);
        let rank = x.shape.len();
        let older = random.size(0, 3) == 0;
        let mut along = shuffled(&mut random, rank);
        along.truncate(random.size(1, rank));
        let named = random.size(0, 2) > 0;
        if !named {
            along = (0..along.len()).collect();
        }
        let mut expected = Some(x.clone());
        let (mut starts, mut ends, mut steps) = (vec![], vec![], vec![]);
        for &k in &along {
            let d = x.shape[k] as i64;
            let far = [i64::MAX, i64::MIN, i64::from(i32::MAX), i64::MIN + 1];
            let bound = |random: &mut Random| match random.size(0, 5) {
                0 => far[random.size(0, 3)],
                _ => random.range(-d - 2, d + 2),
            };
            let (start, end) = (bound(&mut random), bound(&mut random));
            let step = if older { 1 } else { [1, 1, 2, 3, -1, -2, -3, i64::MAX, i64::MIN][random.size(0, 8)] };
            // Position by position. Unlike in Python, a start before the first element is the first one even where the
            // step is negative: the specification says so.
            let norm = |v: i64| i128::from(v) + if v < 0 { i128::from(d) } else { 0 };
            let d = i128::from(d);
            let (low, high) = if step > 0 { (0, d) } else { (-1, d - 1) };
            let (mut at, end_at) = (norm(start).clamp(0, high), norm(end).clamp(low, high));
            let mut positions = vec![];
            while (step > 0 && at < end_at) || (step < 0 && at > end_at) {
                positions.push(at as i64);
                at += i128::from(step);
            }
            expected = expected.filter(|_| !positions.is_empty()).map(|x| {
                let step = if positions.len() > 1 { step } else { 1 };
                part(&x, k, positions[0], step, positions.len())
            });
            starts.push(start);
            ends.push(end);
            steps.push(step);
        }
        let list: Vec<i64> = along.iter().map(|&k| signed(&mut random, k, rank)).collect();
        let flow = In::Flow(x.clone());
        let case = if older {
            let mut attributes = vec![("starts", Attribute::Ints(starts)), ("ends", Attribute::Ints(ends))];
            if named {
                attributes.push(("axes", Attribute::Ints(list)));
            }
            case("Slice", 9, attributes, vec![flow])
        } else {
            let mut inputs = vec![flow, In::Whole(starts), In::Whole(ends)];
            inputs.push(if named { In::Whole(list) } else { In::Absent });
            if steps.iter().any(|&s| s != 1) || random.coin() {
                inputs.push(In::Whole(steps));
            }
            case("Slice", [10, 13][random.size(0, 1)], vec![], inputs)
        };
        match expected {
            Some(expected) => {
                case.gives(&expected);
                tried += 1;
            }
            None => case.refuses("has no element"),
        }
    }
    assert!(tried > 300, "{tried}");
}

#[test]
fn gathers() {
    let mut random = Random(36);
    for _ in 0..400 {
        let x = some_tensor(&mut random, 1);
        let rank = x.shape.len();
        let along = random.size(0, rank - 1);
        let index_rank = random.size(0, 2);
        let index_shape = random.shape(index_rank, 3);
        let d = x.shape[along] as i64;
        let indices: Vec<i64> = (0..index_shape.iter().product()).map(|_| random.range(-d, d - 1)).collect();
        let mut shape = x.shape[..along].to_vec();
        shape.extend(&index_shape);
        shape.extend(&x.shape[along + 1..]);
        let expected = T::of(&shape, |at| {
            let chosen = at[along..along + index_rank].iter().zip(&index_shape).fold(0, |n, (&i, &d)| n * d + i);
            let mut from = at[..along].to_vec();
            from.push(indices[chosen].rem_euclid(d) as usize);
            from.extend(&at[along + index_rank..]);
            x.at(&from)
        });
        let at = signed(&mut random, along, rank);
        let inputs = vec![In::Flow(x), In::Shaped(index_shape, indices)];
        case("Gather", 13, vec![("axis", Attribute::Int(at))], inputs).gives(&expected);
    }
}

#[test]
fn expansions() {
    let mut random = Random(37);
    for _ in 0..400 {
        let full = some_tensor(&mut random, 1).shape;
        let from = random.size(0, full.len());
        let own: Vec<usize> = full[from..].iter().map(|&d| if random.coin() { d } else { 1 }).collect();
        let x = random.tensor(&own);
        let wanted = full
            .iter()
            .enumerate()
            .map(|(k, &d)| if k >= from && own[k - from] == d && random.coin() { 1 } else { d as i64 })
            .collect();
        let expected = T::of(&full, |at| x.broadcast_at(at));
        case("Expand", 13, vec![], vec![In::Flow(x), In::Whole(wanted)]).gives(&expected);

        let x = some_tensor(&mut random, 1);
        let repeats: Vec<usize> = x.shape.iter().map(|_| random.size(1, 3)).collect();
        let shape: Vec<usize> = x.shape.iter().zip(&repeats).map(|(d, r)| d * r).collect();
        let expected = T::of(&shape, |at| {
            let from: Vec<usize> = at.iter().zip(&x.shape).map(|(i, d)| i % d).collect();
            x.at(&from)
        });
        let repeats = repeats.iter().map(|&r| r as i64).collect();
        case("Tile", 13, vec![], vec![In::Flow(x.clone()), In::Whole(repeats)]).gives(&expected);
    }
}

#[test]
fn blocks() {
    let mut random = Random(38);
    for _ in 0..200 {
        let (b, c, h, w) = (random.size(1, 3), random.size(1, 3), random.size(1, 3), random.size(1, 3));
        let columns_first = random.coin();
        let x = random.tensor(&[1, c * b * b, h, w]);
        let expected = T::of(&[1, c, h * b, w * b], |at| {
            let (i, j) = (at[2] % b, at[3] % b);
            let channel = if columns_first { (at[1] * b + i) * b + j } else { (i * b + j) * c + at[1] };
            x.at(&[0, channel, at[2] / b, at[3] / b])
        });
        let mut attributes = vec![("blocksize", Attribute::Int(b as i64))];
        if columns_first || random.coin() {
            let mode = if columns_first { "CRD" } else { "DCR" };
            attributes.push(("mode", Attribute::String(mode.into())));
        }
        case("DepthToSpace", 13, attributes, vec![In::Flow(x)]).gives(&expected);
        let x = random.tensor(&[1, c, h * b, w * b]);
        let expected = T::of(&[1, c * b * b, h, w], |at| {
            let (place, channel) = (at[1] / c, at[1] % c);
            x.at(&[0, channel, at[2] * b + place / b, at[3] * b + place % b])
        });
        case("SpaceToDepth", 13, vec![("blocksize", Attribute::Int(b as i64))], vec![In::Flow(x)]).gives(&expected);
    }
}

#[test]
fn pads() {
    let mut random = Random(39);
    let mut tried = 0;
    while tried < 600 {
        let x = some_tensor(&mut random, 1);
        let rank = x.shape.len();
        let opset = [2, 11, 13, 18, 19, 21][random.size(0, 5)];
        let mode = ["constant", "reflect", "edge", "wrap"][random.size(0, if opset >= 19 { 3 } else { 2 })];
        let pads: Vec<i64> = (0..2 * rank)
            .map(|k| {
                let d = x.shape[k % rank] as i64;
                let most = match mode {
                    "reflect" => d - 1,
                    _ => 3,
                };
                if random.size(0, 4) == 0 { random.range(-1, 0) } else { random.range(0, most) }
            })
            .collect();
        // Crops first, then padding of what is left.
        let mut y = x.clone();
        let mut fine = true;
        let value = if random.coin() { 0.0 } else { random.value() };
        for k in 0..rank {
            let (begin, end) = (pads[k], pads[k + rank]);
            let (crop, cut) = ((-begin).max(0), (-end).max(0));
            let left = y.shape[k] as i64 - crop - cut;
            let (begin, end) = (begin.max(0), end.max(0));
            let padded = begin + end > 0;
            fine &= left > 0 && !(mode == "reflect" && padded && begin.max(end) >= left);
            if !fine {
                break;
            }
            y = part(&y, k, crop, 1, left as usize);
            let mut shape = y.shape.clone();
            shape[k] = (begin + left + end) as usize;
            y = T::of(&shape, |at| {
                let mut i = at[k] as i64 - begin;
                if !(0..left).contains(&i) {
                    match mode {
                        "constant" => return value,
                        "edge" => i = if i < 0 { 0 } else { left - 1 },
                        "wrap" => {
                            while i < 0 {
                                i += left;
                            }
                            i %= left;
                        }
                        _ => i = if i < 0 { -i } else { left - 1 - (i - left + 1) },
                    }
                }
                let mut from = at.to_vec();
                from[k] = i as usize;
                y.at(&from)
            });
        }
        if !fine {
            continue;
        }
        let mut attributes = vec![];
        if mode != "constant" || random.coin() {
            attributes.push(("mode", Attribute::String(mode.into())));
        }
        let mut inputs = vec![In::Flow(x.clone())];
        if opset < 11 {
            attributes.push(("pads", Attribute::Ints(pads)));
            if value != 0.0 {
                attributes.push(("value", Attribute::Float(value as f32)));
            }
        } else {
            let some: Vec<usize> = if opset >= 18 && random.coin() {
                let order = shuffled(&mut random, rank);
                order.into_iter().filter(|&k| pads[k] != 0 || pads[k + rank] != 0).collect()
            } else {
                (0..rank).collect()
            };
            let list = some.iter().map(|&k| pads[k]).chain(some.iter().map(|&k| pads[k + rank])).collect();
            inputs.push(In::Whole(list));
            let scalar = T { shape: vec![], values: vec![value] };
            inputs.push(if value == 0.0 { In::Absent } else { fixed(&mut random, &scalar) });
            if opset >= 18 && (some.len() != rank || some.windows(2).any(|w| w[0] > w[1])) {
                inputs.push(In::Whole(some.iter().map(|&k| signed(&mut random, k, rank)).collect()));
            }
        }
        case("Pad", opset, attributes, inputs).gives(&y);
        tried += 1;
    }
}

#[test]
fn refusals() {
    let x = In::Flow(T { shape: vec![1, 4], values: vec![1.0; 4] });
    let train = vec![x.clone(), In::Absent, In::Shaped(vec![], vec![1])];
    case("Dropout", 13, vec![], train).refuses("training_mode");
    Case { outputs: 2, ..case("Dropout", 13, vec![], vec![x.clone()]) }.refuses("only the first");
    case("Cast", 13, vec![("to", Attribute::Int(7))], vec![x.clone()]).refuses("casts to INT64");
    case("Reshape", 13, vec![], vec![x.clone(), In::Whole(vec![3, -1])]).refuses("cannot reshape");
    case("Reshape", 13, vec![], vec![x.clone(), In::Whole(vec![-1, -1])]).refuses("must be at least 1");
    case("Reshape", 14, vec![("allowzero", Attribute::Int(1))], vec![x.clone(), In::Whole(vec![0, 4])])
        .refuses("must be at least 1");
    case("Squeeze", 13, vec![], vec![x.clone(), In::Whole(vec![1])]).refuses("not of length one");
    case("Gather", 13, vec![("axis", Attribute::Int(1))], vec![x.clone(), In::Whole(vec![4])]).refuses("outside");
    case("Expand", 13, vec![], vec![x.clone(), In::Whole(vec![1 << 30, 1 << 30, 4])]).refuses("2^31 elements");
    case("Tile", 13, vec![], vec![x.clone(), In::Whole(vec![1 << 30, 1 << 30])]).refuses("2^31 elements");
    case("Split", 18, vec![], vec![x.clone()]).refuses("neither");
    case("Pad", 13, vec![("mode", Attribute::String("wrap".into()))], vec![x, In::Whole(vec![0; 4])]).refuses("mode");
}
