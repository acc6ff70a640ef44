//! What a pass does element by element: units are shown the bundle's values at them, and windows take their maxima.
//!
//! Most bundles have one vector (the Lanczos process) or as many as a search. For these the compiler knows how many, and
//! keeps the values at one element in registers; one body serves all.

use lipbound_operators::Workspace;

use super::{Arithmetic, Bundle, Join};

/// Runs `$body` with `$values`, `$x` and `$y` as arrays for the usual numbers of vectors, and as vectors for others.
macro_rules! by_rank {
    ($from:expr, $to:expr, |$values:ident, $x:ident, $y:ident| $body:expr) => {
        match $from.len() {
            1 => by_rank!(@array 1, $from, $to, |$values, $x, $y| $body),
            4 => by_rank!(@array 4, $from, $to, |$values, $x, $y| $body),
            6 => by_rank!(@array 6, $from, $to, |$values, $x, $y| $body),
            rank => {
                let $values = vec![0.0; rank];
                let $x: Vec<_> = $from.iter_mut().map(Vec::as_mut_slice).collect();
                let $y: Vec<_> = $to.iter_mut().map(Vec::as_mut_slice).collect();
                $body
            }
        }
    };
    (@array $rank:literal, $from:expr, $to:expr, |$values:ident, $x:ident, $y:ident| $body:expr) => {{
        let $values = [0.0; $rank];
        let $x = slices::<$rank>($from);
        let $y = slices::<$rank>($to);
        $body
    }};
}

fn slices<const RANK: usize>(bundle: &mut Bundle) -> [&mut [f64]; RANK] {
    let mut vectors = bundle.iter_mut();
    std::array::from_fn(|_| vectors.next().expect("as many as were counted").as_mut_slice())
}

/// Shows `unit` the values at the listed elements, numbered from `first`, and returns what it leaves in their place.
pub(super) fn at_units(
    bundle: &mut Bundle,
    elements: &[u32],
    first: usize,
    unit: &mut impl FnMut(usize, &mut [f64]),
    ws: &mut Workspace,
) -> Bundle {
    let mut left: Bundle = bundle.iter().map(|_| ws.take(elements.len())).collect();
    by_rank!(bundle, &mut left, |values, x, left| visit(values, x, left, elements, first, unit));
    left
}

#[inline]
fn visit<'a>(
    mut values: impl AsMut<[f64]>,
    x: impl AsRef<[&'a mut [f64]]>,
    mut left: impl AsMut<[&'a mut [f64]]>,
    elements: &[u32],
    first: usize,
    unit: &mut impl FnMut(usize, &mut [f64]),
) {
    let (values, x, left) = (values.as_mut(), x.as_ref(), left.as_mut());
    for (k, &element) in elements.iter().enumerate() {
        values.iter_mut().zip(x).for_each(|(v, x)| *v = x[element as usize]);
        unit(first + k, values);
        left.iter_mut().zip(&*values).for_each(|(left, v)| left[k] = *v);
    }
}

/// The windows of a pool: output `i` begins with `winners[i]` and takes in the joins `starts[i]..starts[i + 1]`.
pub(super) struct Windows<'a> {
    pub winners: &'a [u32],
    pub starts: &'a [usize],
    pub joins: &'a [Join],
}

impl Windows<'_> {
    /// `y <- ` the maxima's increments, given those of what they are taken of.
    pub fn forward(
        &self,
        x: &mut Bundle,
        y: &mut Bundle,
        arithmetic: Arithmetic,
        unit: &mut impl FnMut(usize, &mut [f64]),
    ) {
        by_rank!(x, y, |values, x, y| self.join(values, x, y, arithmetic, unit));
    }

    /// Adds to `x`, which must be zero at first, what `g`, the adjoint of the maxima, pulls back; uses up `g`.
    pub fn backward(
        &self,
        g: &mut Bundle,
        x: &mut Bundle,
        arithmetic: Arithmetic,
        unit: &mut impl FnMut(usize, &mut [f64]),
    ) {
        by_rank!(g, x, |values, g, x| self.part(values, g, x, arithmetic, unit));
    }

    #[inline]
    fn join<'a>(
        &self,
        mut values: impl AsMut<[f64]>,
        x: impl AsRef<[&'a mut [f64]]>,
        mut y: impl AsMut<[&'a mut [f64]]>,
        arithmetic: Arithmetic,
        unit: &mut impl FnMut(usize, &mut [f64]),
    ) {
        let (values, x, y) = (values.as_mut(), x.as_ref(), y.as_mut());
        for (i, (&winner, window)) in self.winners.iter().zip(self.starts.windows(2)).enumerate() {
            x.iter().zip(&mut *y).for_each(|(x, y)| y[i] = x[winner as usize]);
            for join in &self.joins[window[0]..window[1]] {
                let member = join.member as usize;
                for ((v, x), y) in values.iter_mut().zip(x).zip(&*y) {
                    *v = match arithmetic {
                        Arithmetic::Signed => x[member] - y[i],
                        _ => x[member] + y[i] + arithmetic.lost(),
                    };
                }
                y.iter_mut().zip(&*values).for_each(|(y, v)| y[i] += join.centre * v);
                if let Some(number) = join.unit {
                    unit(number as usize, values);
                    y.iter_mut().zip(&*values).for_each(|(y, e)| y[i] += e);
                }
            }
        }
    }

    #[inline]
    fn part<'a>(
        &self,
        mut values: impl AsMut<[f64]>,
        mut g: impl AsMut<[&'a mut [f64]]>,
        mut x: impl AsMut<[&'a mut [f64]]>,
        arithmetic: Arithmetic,
        unit: &mut impl FnMut(usize, &mut [f64]),
    ) {
        let (values, g, x) = (values.as_mut(), g.as_mut(), x.as_mut());
        for (i, (&winner, window)) in self.winners.iter().zip(self.starts.windows(2)).enumerate() {
            for join in self.joins[window[0]..window[1]].iter().rev() {
                match join.unit {
                    Some(number) => {
                        values.iter_mut().zip(&*g).for_each(|(v, g)| *v = g[i]);
                        unit(number as usize, values);
                    }
                    None => values.fill(0.0),
                }
                for ((v, g), x) in values.iter().zip(&mut *g).zip(&mut *x) {
                    let at_difference = join.centre * g[i] + v + arithmetic.lost();
                    x[join.member as usize] += at_difference;
                    match arithmetic {
                        Arithmetic::Signed => g[i] -= at_difference,
                        _ => g[i] += at_difference,
                    }
                }
            }
            g.iter().zip(&mut *x).for_each(|(g, x)| x[winner as usize] += g[i]);
        }
    }
}
