//! Attacks: inputs of another class, as near as gradients find them. Each is an upper end for the certified radius.
//!
//! Descent with decoupled direction and norm (Rony et al., *Decoupling Direction and Norm for Efficient Gradient-Based L2
//! Adversarial Attacks and Defenses*, CVPR 2019, arXiv 1811.09600): steps along the gradient of a margin on a sphere that
//! shrinks while the class is another one and grows while it is not. What is found is pulled towards x0 and, since the
//! network is piecewise linear, moved along the margin's tangent plane to the plane's point nearest to x0. Classes are
//! decided in double precision, with a relative reserve of [`RESERVE`].

use lipbound_operators::Workspace;
use lipbound_spectral::{Cancelled, start};

use crate::{
    BoundMonitor,
    attained::distance_up,
    margins::Rivals,
    nominal::poll,
    plan::Plan,
    trace::{Jacobian, Trace},
};

/// A margin counts as negative where it is below this part of its terms, there and at x0: rounding is far smaller.
const RESERVE: f64 = 1e-9;

/// Rivals that get a descent of their own, beside the one towards whichever is nearest.
const TARGETS: usize = 2;

/// Change of the sphere's radius a step, at the beginning and at the end; steps along it as parts of that radius.
const RADIUS_CHANGE: (f64, f64) = (0.1, 0.002);
const STEP: (f64, f64) = (1.0, 0.01);

/// Halvings of the way to x0.
const HALVINGS: usize = 24;

/// Most moves along the tangent plane, and the gain in distance that is worth one.
const MOVES: usize = 30;
const WORTH_A_MOVE: f64 = 1e-4;

/// Stream of random numbers of directions.
const STREAM: u64 = u64::MAX - 20_000;

/// The box of inputs that can occur.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits<'a> {
    pub lower: &'a [f64],
    pub upper: &'a [f64],
}

/// An input of another class.
#[derive(Clone, Debug, PartialEq)]
pub struct Adversarial {
    /// The input.
    pub point: Vec<f64>,
    /// Its distance from x0, rounded up.
    pub distance: f64,
    /// The class whose output is above the label's there.
    pub class: usize,
}

pub(crate) struct Attack<'a> {
    pub plan: &'a Plan,
    /// The network at x0, whose class is the label.
    pub centre: &'a Trace,
    pub rivals: &'a Rivals,
    pub limits: Option<Limits<'a>>,
    /// Steps of each descent.
    pub steps: usize,
    pub seed: u64,
    pub monitor: &'a dyn BoundMonitor,
}

impl Attack<'_> {
    /// The nearest input of another class that was found.
    pub fn run(&self, ws: &mut Workspace) -> Result<Option<Adversarial>, Cancelled> {
        let mut best = None;
        if self.steps == 0 {
            return Ok(best);
        }
        let jacobian = Jacobian::new(self.plan, self.centre, self.monitor);
        // Where the margin would vanish if the network were linear.
        let mut near: Vec<(f64, usize)> = Vec::with_capacity(self.rivals.len());
        for (margin, k) in self.smallest_margins(TARGETS.max(8)) {
            let slope = norm(&jacobian.apply_adjoint(&self.rivals.functional(k), ws)?);
            near.push((margin / slope, k));
        }
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        let finite = |distance: f64| if distance.is_finite() && distance > 0.0 { distance } else { 1.0 };
        let distance = finite(near[0].0);
        let nowhere = vec![0.0; self.centre.input().len()];
        let somewhere = start::gaussian(&vec![true; nowhere.len()], self.seed, STREAM);
        self.descend(nowhere.clone(), distance, None, &mut best, ws)?;
        self.descend(somewhere, distance, None, &mut best, ws)?;
        for &(distance, k) in near.iter().take(TARGETS) {
            self.descend(nowhere.clone(), finite(distance), Some(k), &mut best, ws)?;
        }
        if let Some(found) = &mut best {
            self.polish(found, ws)?;
        }
        Ok(best)
    }

    /// The rivals with the smallest margins at x0.
    fn smallest_margins(&self, most: usize) -> Vec<(f64, usize)> {
        let output = self.centre.output();
        let mut margins: Vec<(f64, usize)> =
            (0..self.rivals.len()).map(|k| (self.rivals.margin(k, output), k)).collect();
        margins.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        margins.truncate(most);
        margins
    }

    /// One descent from x0 + `delta`, towards rival `target` or whichever is nearest.
    fn descend(
        &self,
        mut delta: Vec<f64>,
        distance: f64,
        target: Option<usize>,
        best: &mut Option<Adversarial>,
        ws: &mut Workspace,
    ) -> Result<(), Cancelled> {
        let mut radius = distance;
        rescale(&mut delta, radius);
        for step in 0..self.steps {
            poll(self.monitor)?;
            let at = Trace::new(self.plan, &self.point(&delta), self.monitor, ws)?;
            let found = self.adversarial(&at);
            let (mut k, _) = self.rivals.smallest(at.output());
            let missed = found.is_none();
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| found.distance < best.distance)
            {
                *best = Some(found);
            }
            k = target.unwrap_or(k);
            let mut gradient =
                Jacobian::new(self.plan, &at, self.monitor).apply_adjoint(&self.rivals.functional(k), ws)?;
            if norm(&gradient) == 0.0 {
                // Nothing moves here: anywhere else is better.
                gradient = start::gaussian(&vec![true; gradient.len()], self.seed, STREAM - 1 - step as u64);
            }
            // From a coarse search to a fine one.
            let progress = step as f64 / self.steps as f64;
            let annealed =
                |(from, to): (f64, f64)| to + (from - to) * 0.5 * (1.0 + (progress * std::f64::consts::PI).cos());
            rescale(&mut gradient, annealed(STEP) * radius);
            delta.iter_mut().zip(&gradient).for_each(|(d, g)| *d -= g);
            let change = annealed(RADIUS_CHANGE);
            radius *= if missed { 1.0 + change } else { 1.0 - change };
            rescale(&mut delta, radius);
            if !radius.is_finite() {
                break;
            }
            // Steps go on from what the box leaves.
            delta = self.delta(&self.point(&delta));
        }
        Ok(())
    }

    /// Pulls what was found towards x0, in turn straight and along the margin's tangent plane.
    fn polish(&self, found: &mut Adversarial, ws: &mut Workspace) -> Result<(), Cancelled> {
        self.pull(found, ws)?;
        for _ in 0..MOVES {
            poll(self.monitor)?;
            let before = found.distance;
            let at = Trace::new(self.plan, &found.point, self.monitor, ws)?;
            let (k, margin) = self.rivals.smallest(at.output());
            let gradient = Jacobian::new(self.plan, &at, self.monitor).apply_adjoint(&self.rivals.functional(k), ws)?;
            let delta = self.delta(&found.point);
            let slope: f64 = gradient.iter().map(|g| g * g).sum();
            let along: f64 = gradient.iter().zip(&delta).map(|(g, d)| g * d).sum();
            // The plane on which the linearised margin is as it is here, or a little less.
            let scale = (along - 1e-6 * margin.abs()) / slope;
            if !scale.is_finite() {
                break;
            }
            for share in [1.0, 0.5, 0.2, 0.05] {
                let moved: Vec<f64> =
                    delta.iter().zip(&gradient).map(|(d, g)| (1.0 - share) * d + share * scale * g).collect();
                if let Some(mut candidate) = self.nearby(&moved, before, ws)? {
                    self.pull(&mut candidate, ws)?;
                    *found = candidate;
                    break;
                }
            }
            if found.distance > before * (1.0 - WORTH_A_MOVE) {
                break;
            }
        }
        Ok(())
    }

    /// The point itself, or one a little further out, if it is of another class and nearer than `distance`.
    fn nearby(&self, delta: &[f64], distance: f64, ws: &mut Workspace) -> Result<Option<Adversarial>, Cancelled> {
        for factor in [1.0, 1.001, 1.01, 1.03] {
            let stretched: Vec<f64> = delta.iter().map(|d| d * factor).collect();
            let at = Trace::new(self.plan, &self.point(&stretched), self.monitor, ws)?;
            match self.adversarial(&at) {
                Some(found) if found.distance < distance => return Ok(Some(found)),
                Some(_) => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }

    /// Bisects the way to x0.
    fn pull(&self, found: &mut Adversarial, ws: &mut Workspace) -> Result<(), Cancelled> {
        let delta = self.delta(&found.point);
        let (mut inside, mut outside) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (inside + outside);
            let scaled: Vec<f64> = delta.iter().map(|d| d * middle).collect();
            let at = Trace::new(self.plan, &self.point(&scaled), self.monitor, ws)?;
            match self.adversarial(&at) {
                Some(nearer) => {
                    outside = middle;
                    if nearer.distance < found.distance {
                        *found = nearer;
                    }
                }
                None => inside = middle,
            }
        }
        Ok(())
    }

    /// What stands at an input, if it is of another class.
    fn adversarial(&self, at: &Trace) -> Option<Adversarial> {
        let output = at.output();
        let (k, margin) = self.rivals.smallest(output);
        // A margin of one output is all of its terms, however small; what it was at x0 shows what is nothing.
        let size = self.rivals.size(k, output) + self.rivals.size(k, self.centre.output());
        (margin < -RESERVE * size).then(|| Adversarial {
            point: at.input().to_vec(),
            distance: distance_up(at.input(), self.centre.input()),
            class: self.rivals.class(k),
        })
    }

    /// x0 + delta, moved into the box.
    fn point(&self, delta: &[f64]) -> Vec<f64> {
        let moved = self.centre.input().iter().zip(delta).map(|(x, d)| x + d);
        match self.limits {
            None => moved.collect(),
            Some(Limits { lower, upper }) => {
                moved.zip(lower.iter().zip(upper)).map(|(x, (lower, upper))| x.clamp(*lower, *upper)).collect()
            }
        }
    }

    fn delta(&self, point: &[f64]) -> Vec<f64> {
        point.iter().zip(self.centre.input()).map(|(x, x0)| x - x0).collect()
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Gives a vector a length, unless it is zero.
fn rescale(vector: &mut [f64], length: f64) {
    let size = norm(vector);
    if size > 0.0 {
        vector.iter_mut().for_each(|v| *v *= length / size);
    }
}
