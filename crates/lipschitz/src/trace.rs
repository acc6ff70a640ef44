//! The network at one input as computed, and its Jacobian there by the slopes of computed values. Nothing is claimed of
//! rounding: [`crate::nominal`] is for what must hold.

use lipbound_operators::Workspace;
use lipbound_spectral::Cancelled;

use crate::{
    Affine, Bias, BoundMonitor, MaxPool, Units,
    nominal::poll,
    plan::{Action, Plan, Stage},
};

/// What the network computes at an input.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Every source: the input, then the output of each stage.
    pub values: Vec<Vec<f64>>,
    /// What each stage with a unit or an operator computes before its unit; empty for others.
    pub pre: Vec<Vec<f64>>,
}

impl Trace {
    pub fn new(plan: &Plan, input: &[f64], monitor: &dyn BoundMonitor, ws: &mut Workspace) -> Result<Self, Cancelled> {
        let mut this = Self { values: vec![input.to_vec()], pre: Vec::new() };
        for stage in &plan.stages {
            poll(monitor)?;
            let x = &this.values[stage.inputs[0]];
            let (pre, output) = match &stage.action {
                Action::Affine { maps, unit, .. } => {
                    let pre = pre_activation(maps, x, ws);
                    let output = match unit {
                        Some(unit) => pre.iter().enumerate().map(|(i, &y)| unit.at(i).value(y)).collect(),
                        None => pre.clone(),
                    };
                    (pre, output)
                }
                Action::Pool(pool) => {
                    let mut output = vec![0.0; pool.outputs()];
                    pool.apply(x, &mut output);
                    (Vec::new(), output)
                }
                Action::Add => (Vec::new(), sum(stage, &this.values)),
                Action::Concat => (Vec::new(), stage.gather(&this.values)),
            };
            this.pre.push(pre);
            this.values.push(output);
        }
        Ok(this)
    }

    pub fn input(&self) -> &[f64] {
        &self.values[0]
    }

    pub fn output(&self) -> &[f64] {
        &self.values[self.values.len() - 1]
    }
}

/// `A_n(... A_1 x + b_1 ...) + b_n` as computed.
fn pre_activation(maps: &[Affine], x: &[f64], ws: &mut Workspace) -> Vec<f64> {
    let mut y = x.to_vec();
    for Affine { operator, bias } in maps {
        let mut next = vec![0.0; operator.rows()];
        operator.apply(&y, &mut next, ws);
        if let Some(Bias { values, .. }) = bias {
            next.iter_mut().zip(&values[..]).for_each(|(y, b)| *y += b);
        }
        y = next;
    }
    y
}

/// The sum of what a stage reads.
fn sum(stage: &Stage, values: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = values[stage.inputs[0]].clone();
    for &other in &stage.inputs[1..] {
        sum.iter_mut().zip(&values[other]).for_each(|(a, b)| *a += b);
    }
    sum
}

/// The Jacobian at an input.
pub(crate) struct Jacobian<'a> {
    plan: &'a Plan,
    at: &'a Trace,
    /// For each stage that is a pool, the index of each window's largest element.
    winners: Vec<Vec<usize>>,
    monitor: &'a dyn BoundMonitor,
}

impl<'a> Jacobian<'a> {
    pub fn new(plan: &'a Plan, at: &'a Trace, monitor: &'a dyn BoundMonitor) -> Self {
        let winners = plan
            .stages
            .iter()
            .map(|stage| match &stage.action {
                Action::Pool(pool) => winners(pool, &at.values[stage.inputs[0]]),
                _ => Vec::new(),
            })
            .collect();
        Self { plan, at, winners, monitor }
    }

    pub fn outputs(&self) -> usize {
        self.at.output().len()
    }

    fn scale_by_slopes(&self, stage: usize, units: &Units, y: &mut [f64]) {
        let pre = &self.at.pre[stage];
        y.iter_mut().zip(pre).enumerate().for_each(|(i, (y, &at))| *y *= units.at(i).slope_at(at));
    }

    /// `J v`, and on the way what it is up to every source.
    pub fn forward(&self, v: &[f64], ws: &mut Workspace) -> Result<Vec<Vec<f64>>, Cancelled> {
        let mut values = vec![v.to_vec()];
        for (index, stage) in self.plan.stages.iter().enumerate() {
            poll(self.monitor)?;
            let x = &values[stage.inputs[0]];
            let output = match &stage.action {
                Action::Affine { operator, unit, .. } => {
                    let mut y = match operator {
                        Some(operator) => {
                            let mut y = vec![0.0; operator.rows()];
                            operator.apply(x, &mut y, ws);
                            y
                        }
                        None => x.clone(),
                    };
                    if let Some(unit) = unit {
                        self.scale_by_slopes(index, unit, &mut y);
                    }
                    y
                }
                Action::Pool(_) => self.winners[index].iter().map(|&j| x[j]).collect(),
                Action::Add => sum(stage, &values),
                Action::Concat => stage.gather(&values),
            };
            values.push(output);
        }
        Ok(values)
    }

    pub fn apply(&self, v: &[f64], ws: &mut Workspace) -> Result<Vec<f64>, Cancelled> {
        Ok(self.forward(v, ws)?.pop().expect("there is at least the input"))
    }

    /// `J^T w`.
    pub fn apply_adjoint(&self, w: &[f64], ws: &mut Workspace) -> Result<Vec<f64>, Cancelled> {
        let stages = &self.plan.stages;
        let mut pulled: Vec<Option<Vec<f64>>> = vec![None; stages.len() + 1];
        pulled[stages.len()] = Some(w.to_vec());
        for (index, stage) in stages.iter().enumerate().rev() {
            poll(self.monitor)?;
            let Some(mut g) = pulled[index + 1].take() else { continue };
            let back = match &stage.action {
                Action::Affine { operator, unit, .. } => {
                    if let Some(unit) = unit {
                        self.scale_by_slopes(index, unit, &mut g);
                    }
                    match operator {
                        Some(operator) => {
                            let mut x = vec![0.0; operator.cols()];
                            operator.apply_adjoint(&g, &mut x, ws);
                            x
                        }
                        None => g,
                    }
                }
                Action::Pool(pool) => {
                    let mut x = vec![0.0; pool.inputs()];
                    for (g, &j) in g.iter().zip(&self.winners[index]) {
                        x[j] += g;
                    }
                    x
                }
                Action::Add | Action::Concat => g,
            };
            let mut start = 0;
            for &input in &stage.inputs {
                let part = match &stage.action {
                    Action::Concat => {
                        let length = self.at.values[input].len();
                        start += length;
                        &back[start - length..start]
                    }
                    _ => &back[..],
                };
                match &mut pulled[input] {
                    Some(sum) => sum.iter_mut().zip(part).for_each(|(a, b)| *a += b),
                    empty => *empty = Some(part.to_vec()),
                }
            }
        }
        Ok(pulled[0].take().unwrap_or_else(|| vec![0.0; self.at.values[0].len()]))
    }
}

fn winners(pool: &MaxPool, values: &[f64]) -> Vec<usize> {
    (0..pool.outputs())
        .map(|i| {
            let best = pool.window(i).iter().max_by(|&&a, &&b| values[a as usize].total_cmp(&values[b as usize]));
            *best.expect("a window has an element") as usize
        })
        .collect()
}
