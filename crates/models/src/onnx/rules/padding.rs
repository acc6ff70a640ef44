//! Padding, and crops by negative padding.

use lipbound_lipschitz::{Bias, ModelError};

use super::{
    super::{Array, Importer, Op, Value},
    build::{Outputs, arity, axes, check_magnitudes, elements, flow, one, optional_constant, strides, weights},
};

/// What surrounds a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

/// Padding before and after one axis, over what is left of it after crops.
#[derive(Clone, Copy, Debug)]
struct Ends {
    /// Elements cropped at the beginning.
    crop: usize,
    /// Elements left.
    left: usize,
    before: usize,
    after: usize,
}

impl Ends {
    fn new(mode: Mode, length: usize, before: i64, after: i64) -> Result<Self, ModelError> {
        let fail = || ModelError::shape(format!("cannot pad an axis of {length} elements by {before} and {after}"));
        let most = 1 << 31;
        if before.unsigned_abs() > most || after.unsigned_abs() > most {
            return Err(fail());
        }
        let (crop, cut) = ((-before).max(0) as usize, (-after).max(0) as usize);
        let ends = Self {
            crop,
            left: length.checked_sub(crop).and_then(|n| n.checked_sub(cut)).ok_or_else(fail)?,
            before: before.max(0) as usize,
            after: after.max(0) as usize,
        };
        let widest = ends.before.max(ends.after);
        // A reflection can only be of what is there; longer ones are not defined.
        let fits = match mode {
            Mode::Constant => true,
            Mode::Reflect => widest < ends.left || widest == 0,
            Mode::Edge | Mode::Wrap => ends.left > 0 || widest == 0,
        };
        if fits { Ok(ends) } else { Err(fail()) }
    }

    fn length(&self) -> usize {
        self.before + self.left + self.after
    }

    /// The element of the axis that position `i` shows.
    fn at(&self, mode: Mode, i: usize) -> Option<usize> {
        let (i, left) = (i as i64 - self.before as i64, self.left as i64);
        let inside = (0..left).contains(&i);
        let shown = match mode {
            _ if inside => i,
            Mode::Constant => return None,
            Mode::Edge => i.clamp(0, left - 1),
            Mode::Reflect => {
                if i < 0 {
                    -i
                } else {
                    2 * (left - 1) - i
                }
            }
            Mode::Wrap => i.rem_euclid(left),
        };
        Some(shown as usize + self.crop)
    }
}

pub(super) fn pad(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    let input = flow(inputs, 0, "the input")?;
    let rank = input.shape.len();
    let mode = match op.attributes.string("mode", "constant")?.as_str() {
        "constant" => Mode::Constant,
        "reflect" => Mode::Reflect,
        "edge" => Mode::Edge,
        "wrap" if op.opset >= 19 => Mode::Wrap,
        other => return Err(ModelError::model(format!("mode must be constant, reflect, edge or wrap, got '{other}'"))),
    };
    let (pads, value, along) = if op.opset < 11 {
        arity(inputs, 1, 1)?;
        let pads = op.attributes.ints("pads")?;
        (pads, f64::from(op.attributes.float("value", 0.0)?), None)
    } else {
        arity(inputs, 2, if op.opset < 18 { 3 } else { 4 })?;
        let pads = optional_constant(inputs, 1, "pads")?.map(Array::integers).transpose()?.map(<[i64]>::to_vec);
        let value = match optional_constant(inputs, 2, "the constant value")?.filter(|array| array.len() > 0) {
            None => 0.0,
            Some(array) if array.len() == 1 => weights(array, "the constant value")?.to_f64()[0],
            Some(array) => {
                return Err(ModelError::shape(format!("the constant value has shape {:?}", array.shape)));
            }
        };
        let along = optional_constant(inputs, 3, "axes")?.map(Array::integers).transpose()?;
        (pads, value, along)
    };
    let pads = pads.ok_or_else(|| ModelError::model("'pads' is missing"))?;
    if !value.is_finite() {
        return Err(ModelError::value(format!("the padding must be finite, got {value}")));
    }
    check_magnitudes("the padding", [value])?;
    let along = match along {
        Some(list) => axes(list, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * along.len() {
        return Err(ModelError::shape(format!("pads must have {} numbers, got {}", 2 * along.len(), pads.len())));
    }
    let mut ends: Vec<Ends> = input.shape.iter().map(|&d| Ends::new(mode, d, 0, 0)).collect::<Result<_, _>>()?;
    for (i, &k) in along.iter().enumerate() {
        ends[k] = Ends::new(mode, input.shape[k], pads[i], pads[i + along.len()])?;
    }
    let shape: Vec<usize> = ends.iter().map(Ends::length).collect();
    let count = elements(&shape)?;
    let steps = strides(&input.shape);
    let factors: Vec<_> = importer
        .selection(input.elements(), &shape, &|k, i| ends[k].at(mode, i).map(|at| at * steps[k]))?
        .into_iter()
        .collect();
    let bias = if mode == Mode::Constant && value != 0.0 && !factors.is_empty() {
        importer.reserve(count, size_of::<f64>())?;
        Some(Bias { values: surroundings(&shape, &ends, value).into(), errors: None })
    } else {
        None
    };
    one(importer.chain(op, factors, bias, input, shape, 0)?)
}

/// `value` where no element is shown, zero elsewhere.
fn surroundings(shape: &[usize], ends: &[Ends], value: f64) -> Vec<f64> {
    let mut values = vec![0.0];
    for (k, &length) in shape.iter().enumerate() {
        let mut next = Vec::with_capacity(values.len() * length);
        for &before in &values {
            next.extend((0..length).map(|i| if ends[k].at(Mode::Constant, i).is_some() { before } else { value }));
        }
        values = next;
    }
    values
}
