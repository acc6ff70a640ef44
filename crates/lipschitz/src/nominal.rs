//! The network at its nominal input, and what rounding did there.

use lipbound_operators::{Workspace, rounding};
use lipbound_spectral::{Cancelled, Monitor};

use crate::{
    Affine, Bias,
    plan::{Action, Plan},
    trace::Trace,
};

/// Values at x0, computed once for all epsilons.
#[derive(Debug)]
pub(crate) struct Nominal {
    pub trace: Trace,
    /// By how much what a stage computes before its unit may differ from the exact image of the computed input, element
    /// by element.
    pub local: Vec<Vec<f64>>,
}

impl Nominal {
    /// The first stage at which a value, or what is known of its error, is no number. Units hide such values: the ReLU
    /// of NaN is zero.
    pub fn overflow(&self) -> Option<usize> {
        let finite = |values: &[f64]| values.iter().all(|v| v.is_finite());
        let Trace { values, pre } = &self.trace;
        (0..pre.len()).find(|&s| !(finite(&pre[s]) && finite(&self.local[s]) && finite(&values[s + 1])))
    }

    pub fn new(plan: &Plan, input: &[f64], monitor: &dyn Monitor, ws: &mut Workspace) -> Result<Self, Cancelled> {
        let mut this = Self { trace: Trace { values: vec![input.to_vec()], pre: Vec::new() }, local: Vec::new() };
        for stage in &plan.stages {
            poll(monitor)?;
            let values = &this.trace.values;
            let x = &values[stage.inputs[0]];
            let (pre, local, output) = match &stage.action {
                Action::Affine { maps, unit, .. } => {
                    let (pre, local) = affine_with_error(maps, x, monitor, ws)?;
                    let output = match unit {
                        Some(unit) => pre.iter().enumerate().map(|(i, &y)| unit.at(i).value(y)).collect(),
                        None => pre.clone(),
                    };
                    (pre, local, output)
                }
                Action::Pool(pool) => {
                    let mut output = vec![0.0; pool.outputs()];
                    pool.apply(x, &mut output);
                    (Vec::new(), Vec::new(), output)
                }
                Action::Add => {
                    let mut sum = x.clone();
                    let mut size: Vec<f64> = x.iter().map(|v| v.abs()).collect();
                    for &other in &stage.inputs[1..] {
                        for ((s, size), v) in sum.iter_mut().zip(&mut size).zip(&values[other]) {
                            *s += v;
                            *size += v.abs();
                        }
                    }
                    let gamma = rounding::gamma(stage.inputs.len());
                    let local = size.into_iter().map(|s| rounding::mul_up(gamma, s)).collect();
                    (Vec::new(), local, sum)
                }
                Action::Concat => (Vec::new(), Vec::new(), stage.gather(values)),
            };
            this.trace.pre.push(pre);
            this.trace.values.push(output);
            this.local.push(local);
        }
        Ok(this)
    }
}

/// Ends work that nobody wants any more; asked between any two products with an operator.
pub(crate) fn poll(monitor: &dyn Monitor) -> Result<(), Cancelled> {
    if monitor.cancelled() { Err(Cancelled) } else { Ok(()) }
}

/// More than underflow can take from a sum of products, and large enough to stay a number when it is multiplied by the
/// smallest weight there is.
const TINY: f64 = 1e-250;

/// Not zero where a value is not: a product that underflows must not look exact.
fn tiny(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { TINY }
}

/// `A_n(... A_1 x + b_1 ...) + b_n` as computed, and a bound of the rounding error of each element.
fn affine_with_error(
    maps: &[Affine],
    x: &[f64],
    monitor: &dyn Monitor,
    ws: &mut Workspace,
) -> Result<(Vec<f64>, Vec<f64>), Cancelled> {
    let mut y = x.to_vec();
    let mut error = vec![0.0; x.len()];
    for map in maps {
        (y, error) = map_with_error(map, &y, error, monitor, ws)?;
    }
    Ok((y, error))
}

/// `A x + b` as computed, and a bound of how far each element is from that of an x with errors of its own:
/// `|A| (e + gamma |x|) + u |y| + bias error` (Higham, section 3.1).
pub(crate) fn map_with_error(
    Affine { operator, bias }: &Affine,
    x: &[f64],
    mut error: Vec<f64>,
    monitor: &dyn Monitor,
    ws: &mut Workspace,
) -> Result<(Vec<f64>, Vec<f64>), Cancelled> {
    let gamma = rounding::gamma(operator.rounding_length());
    error
        .iter_mut()
        .zip(x)
        .for_each(|(e, x)| *e = rounding::add_up(*e, rounding::mul_up(gamma, x.abs()).max(tiny(*x))));
    let mut y = vec![0.0; operator.rows()];
    let mut y_error = vec![0.0; operator.rows()];
    operator.apply(x, &mut y, ws);
    poll(monitor)?;
    operator.apply_abs(&error, &mut y_error, ws);
    // Underflow is absolute: a row that reads anything but exact zeros may have lost as much.
    y_error.iter_mut().filter(|e| **e != 0.0).for_each(|e| *e += TINY);
    if let Some(Bias { values, errors }) = bias {
        for i in 0..y.len() {
            // A sum with an exact zero is exact: units that read nothing but zeros have the value of their bias.
            let exact = y_error[i] == 0.0 && y[i] == 0.0;
            y[i] += values[i];
            let from_bias = errors.as_ref().map_or(0.0, |e| e[i]);
            let from_sum = if exact { 0.0 } else { rounding::mul_up(2.0 * rounding::UNIT_ROUNDOFF, y[i].abs()) };
            y_error[i] = rounding::add_up(y_error[i], rounding::add_up(from_bias, from_sum));
        }
    }
    poll(monitor)?;
    Ok((y, y_error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Quiet, example::doubtful};

    #[test]
    fn errors_of_biases_travel_through_the_maps_behind_them() {
        let maps = [
            doubtful(&[vec![1.0, -2.0], vec![0.5, 0.0]], &[1.0, 3.0], &[0.5, 0.25]),
            doubtful(&[vec![3.0, -4.0]], &[10.0], &[2.0]),
        ];
        let (y, error) = affine_with_error(&maps, &[2.0, 1.0], &Quiet, &mut Workspace::new()).unwrap();
        assert_eq!(y, [-3.0]);
        // The biases [1.5, 2.75] and [12] give 1.5: the errors are 3 * 0.5 + 4 * 0.25 + 2.
        assert!(error[0] >= 4.5 && error[0] <= 4.5 + 1e-12, "{error:?}");
    }
}
