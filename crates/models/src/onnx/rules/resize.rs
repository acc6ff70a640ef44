//! Enlargements of images by whole numbers, each element the nearest one: what decoders do.

use lipbound_lipschitz::ModelError;

use super::{
    super::{Array, Importer, Op, Value, array::Numbers},
    build::{Outputs, arity, axes, check_rank, flow, one, optional_constant, strides},
};

/// Where an element of the output is in the input, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coordinates {
    /// `(i + 1/2) / s - 1/2`
    HalfPixel,
    /// `i / s`
    Asymmetric,
}

/// Which element is the nearest to a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nearest {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

/// The element of an axis of `length` that element `i` of the axis enlarged `times` is.
fn nearest(i: usize, times: usize, length: usize, coordinates: Coordinates, nearest: Nearest) -> usize {
    let (i, s) = (i as i64, times as i64);
    let (over, under) = match coordinates {
        Coordinates::HalfPixel => (2 * i + 1 - s, 2 * s),
        Coordinates::Asymmetric => (i, s),
    };
    let floor = |over: i64, under: i64| over.div_euclid(under);
    let ceil = |over: i64, under: i64| -(-over).div_euclid(under);
    let place = match nearest {
        Nearest::Floor => floor(over, under),
        Nearest::Ceil => ceil(over, under),
        Nearest::PreferCeil => floor(2 * over + under, 2 * under),
        Nearest::PreferFloor => ceil(2 * over - under, 2 * under),
    };
    place.clamp(0, length as i64 - 1) as usize
}

fn unsupported(what: &str) -> ModelError {
    ModelError::model(format!(
        "{what}, but only enlargements by whole numbers in mode 'nearest' are supported, by coordinates 'asymmetric', \
         'half_pixel', 'half_pixel_symmetric' or 'pytorch_half_pixel'"
    ))
}

/// Whole factors from a constant of scales.
fn factors(scales: &Array) -> Result<Vec<usize>, ModelError> {
    let values: Vec<f64> = match &scales.numbers {
        Numbers::F32(v) => v.iter().map(|&v| v.into()).collect(),
        Numbers::F64(v) => v.to_vec(),
        Numbers::I64(_) => return Err(ModelError::model("scales must be floating-point numbers")),
    };
    let whole = |&s: &f64| s >= 1.0 && s < f64::from(1 << 30) && s.fract() == 0.0;
    match values.iter().find(|s| !whole(s)) {
        Some(scale) => Err(unsupported(&format!("one of the scales is {scale}"))),
        None => Ok(values.into_iter().map(|s| s as usize).collect()),
    }
}

pub(super) fn resize(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    let old = op.kind == "Upsample" || op.opset < 11;
    arity(inputs, 1, if old { 2 } else { 4 })?;
    let input = flow(inputs, 0, "the input")?;
    let rank = input.shape.len();
    check_rank(rank)?;
    let mode = op.attributes.string("mode", "nearest")?;
    if mode != "nearest" {
        return Err(unsupported(&format!("mode is '{mode}'")));
    }
    let (mut coordinates, mut rounding) = (Coordinates::Asymmetric, Nearest::Floor);
    let mut which: Vec<usize> = (0..rank).collect();
    let scales: Option<Array>;
    let mut sizes = None;
    if old {
        let attribute = op.attributes.floats("scales")?;
        let given = optional_constant(inputs, 1, "scales")?.cloned();
        scales = given.or(attribute.map(|v| Array { shape: vec![v.len()], numbers: Numbers::F32(v.into()) }));
    } else {
        coordinates = match op.attributes.string("coordinate_transformation_mode", "half_pixel")?.as_str() {
            // Symmetric where the output is as long as the scale says, which it is.
            "half_pixel" | "half_pixel_symmetric" => Coordinates::HalfPixel,
            // Another only for an output of one element, which an enlargement has if nothing is enlarged.
            "pytorch_half_pixel" => Coordinates::HalfPixel,
            "asymmetric" => Coordinates::Asymmetric,
            other => return Err(unsupported(&format!("coordinate_transformation_mode is '{other}'"))),
        };
        rounding = match op.attributes.string("nearest_mode", "round_prefer_floor")?.as_str() {
            "round_prefer_floor" => Nearest::PreferFloor,
            "round_prefer_ceil" => Nearest::PreferCeil,
            "floor" => Nearest::Floor,
            "ceil" => Nearest::Ceil,
            other => return Err(unsupported(&format!("nearest_mode is '{other}'"))),
        };
        // These say how other modes go about it.
        for name in ["cubic_coeff_a", "exclude_outside", "extrapolation_value"] {
            op.attributes.take(name);
        }
        if op.attributes.int("antialias", 0)? != 0 {
            return Err(unsupported("antialias is set"));
        }
        let policy = op.attributes.string("keep_aspect_ratio_policy", "stretch")?;
        if policy != "stretch" {
            return Err(unsupported(&format!("keep_aspect_ratio_policy is '{policy}'")));
        }
        if let Some(list) = op.attributes.ints("axes")? {
            which = axes(&list, rank)?;
        }
        // An empty constant is one that is left out.
        let given = |i, what| optional_constant(inputs, i, what).map(|found| found.filter(|a| a.len() > 0).cloned());
        scales = given(2, "scales")?;
        sizes = given(3, "sizes")?;
    }
    let times = match (&scales, &sizes) {
        (Some(scales), None) => factors(scales)?,
        (None, Some(sizes)) => {
            let sizes = sizes.integers()?;
            if sizes.len() != which.len() {
                return Err(ModelError::shape(format!("sizes are {sizes:?}, but there are {} axes", which.len())));
            }
            let whole = |(&size, &k): (&i64, &usize)| {
                let (size, length) = (usize::try_from(size).unwrap_or(0), input.shape[k]);
                let fits = size > 0 && length > 0 && size.is_multiple_of(length);
                fits.then(|| size / length).ok_or_else(|| unsupported(&format!("an axis of {length} becomes {size}")))
            };
            sizes.iter().zip(&which).map(whole).collect::<Result<_, _>>()?
        }
        _ => return Err(ModelError::model("needs either scales or sizes, as constants")),
    };
    if times.len() != which.len() {
        return Err(ModelError::shape(format!("scales are {times:?}, but there are {} axes", which.len())));
    }
    let mut factor = vec![1; rank];
    which.iter().zip(&times).for_each(|(&k, &s)| factor[k] = s);
    let shape: Vec<usize> = input
        .shape
        .iter()
        .zip(&factor)
        .map(|(&d, &s)| d.checked_mul(s).filter(|&d| d < 1 << 31).ok_or_else(|| ModelError::shape("too many elements")))
        .collect::<Result<_, _>>()?;
    let steps = strides(&input.shape);
    let place = |k: usize, i: usize| Some(nearest(i, factor[k], input.shape[k], coordinates, rounding) * steps[k]);
    one(importer.select(op, input, &shape, &place, shape.clone())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With one way of rounding or the other, whole enlargements repeat each element: the tables of the specification's
    /// examples, and what a tie does.
    #[test]
    fn elements_are_repeated() {
        let row = |times, length, coordinates, mode| -> Vec<usize> {
            (0..times * length).map(|i| nearest(i, times, length, coordinates, mode)).collect()
        };
        use Coordinates::{Asymmetric, HalfPixel};
        for mode in [Nearest::PreferFloor, Nearest::PreferCeil] {
            assert_eq!(row(2, 3, HalfPixel, mode), [0, 0, 1, 1, 2, 2]);
            assert_eq!(row(3, 2, HalfPixel, mode), [0, 0, 0, 1, 1, 1]);
        }
        assert_eq!(row(2, 3, Asymmetric, Nearest::Floor), [0, 0, 1, 1, 2, 2]);
        assert_eq!(row(2, 3, Asymmetric, Nearest::Ceil), [0, 1, 1, 2, 2, 2]);
        assert_eq!(row(2, 3, Asymmetric, Nearest::PreferFloor), [0, 0, 1, 1, 2, 2]);
        assert_eq!(row(2, 3, Asymmetric, Nearest::PreferCeil), [0, 1, 1, 2, 2, 2]);
        assert_eq!(row(3, 2, Asymmetric, Nearest::PreferFloor), [0, 0, 1, 1, 1, 1]);
        assert_eq!(row(3, 2, HalfPixel, Nearest::Floor), [0, 0, 0, 0, 1, 1]);
        assert_eq!(row(3, 2, HalfPixel, Nearest::Ceil), [0, 0, 1, 1, 1, 1]);
    }
}
