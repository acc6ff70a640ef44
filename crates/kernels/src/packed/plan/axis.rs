//! One axis of a gather: which inputs its outputs read, residue by residue.

use crate::ConvShape;

/// Which way a plan maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::packed) enum Direction {
    Forward,
    Adjoint,
}

/// One axis of a gather.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// Size of the input and of the output.
    pub input: usize,
    pub output: usize,
    pub in_step: usize,
    pub out_step: usize,
    /// For each residue of `out_step`: `(displacement, kernel index)` of its taps.
    pub residues: Vec<Vec<(isize, usize)>>,
    /// Smallest displacement of all, and how far the largest is above it.
    pub first: isize,
    pub span: usize,
}

impl Axis {
    pub fn new(shape: &ConvShape, axis: usize, direction: Direction) -> Self {
        let (inner, outer) = match axis {
            0 => (shape.in_height, shape.out_height()),
            _ => (shape.in_width, shape.out_width()),
        };
        let (kernel, stride) = (shape.kernel[axis], shape.stride[axis]);
        let (dilation, padding) = (shape.dilation[axis] as isize, shape.padding[axis] as isize);
        let (input, output, in_step, out_step) = match direction {
            Direction::Forward => (inner, outer, stride, 1),
            Direction::Adjoint => (outer, inner, 1, stride),
        };
        let residues: Vec<Vec<_>> = (0..out_step as isize)
            .map(|residue| {
                let taps = (0..kernel).filter_map(|k| match direction {
                    Direction::Forward => Some((k as isize * dilation - padding, k)),
                    Direction::Adjoint => {
                        let reach = residue + padding - k as isize * dilation;
                        (reach % stride as isize == 0).then_some((reach / stride as isize, k))
                    }
                });
                // A tap that meets the image nowhere would only enlarge the halo.
                let positions = (output as isize - residue).max(0).unsigned_abs().div_ceil(out_step) as isize;
                let last = (positions - 1) * in_step as isize;
                taps.filter(|&(d, _)| positions > 0 && d < input as isize && last + d >= 0).collect()
            })
            .collect();
        let all = || residues.iter().flatten().map(|&(d, _)| d);
        let first = all().min().unwrap_or(0);
        let span = (all().max().unwrap_or(0) - first).unsigned_abs();
        Self { input, output, in_step, out_step, residues, first, span }
    }

    /// Positions `q` of a residue.
    pub fn positions(&self, residue: usize) -> usize {
        self.output.saturating_sub(residue).div_ceil(self.out_step)
    }

    /// Positions `q` of all residues together: those of residue 0.
    pub fn grid(&self) -> usize {
        self.positions(0)
    }

    /// Inputs that `count` neighbouring positions reach over.
    pub fn reach(&self, count: usize) -> usize {
        (count - 1) * self.in_step + self.span + 1
    }

    /// Whether an input that is `offset` from the first one of a block is read at all, by the residue of `offset`.
    pub fn used(&self) -> Vec<bool> {
        let mut used = vec![false; self.in_step];
        for &(d, _) in self.residues.iter().flatten() {
            used[(d - self.first).unsigned_abs() % self.in_step] = true;
        }
        used
    }
}
