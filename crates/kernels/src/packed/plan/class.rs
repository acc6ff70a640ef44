//! A residue of the output grid: its taps as lists of offsets, and its weights in the order in which kernels meet them.

use super::super::element::{Element, Segment};
use super::axis::Axis;
use super::channels::{ChannelList, Pair};
use std::ops::Range;

/// Products that a chunk should have. 64 channels of a 3x3 kernel: the weights of a pair's chunk are 74 kB, and
/// handling the chunk's sums costs a percent of its multiply-adds.
const CHUNK: usize = 576;

/// A run of channels that is added up in registers.
#[derive(Clone, Debug)]
pub(in crate::packed) struct Chunk {
    /// Where its weights start, in input scalars: times [`Pair::width`] gives elements.
    pub first_scalar: usize,
    /// Taps and channels, for each set of kernel rows that lie in the image.
    pub variants: Vec<Vec<Segment>>,
}

/// A residue of the output grid.
#[derive(Clone, Debug)]
pub(in crate::packed) struct Class {
    pub row: usize,
    pub column: usize,
    /// `(row displacement, kernel row)` and the same for columns.
    pub(super) rows: Vec<(isize, usize)>,
    pub(super) columns: Vec<(isize, usize)>,
    /// By [`Pair::list`].
    pub lists: Vec<Vec<Chunk>>,
    /// For each pair, where its weights start.
    pub weights: Vec<usize>,
}

/// Distances in the packed block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pitches {
    pub column: usize,
    pub phase: usize,
    pub row: usize,
    pub block: usize,
}

impl Class {
    /// The residues that have outputs; without channels and weights as yet.
    pub(super) fn all(axes: &[Axis; 2]) -> Vec<Self> {
        let mut classes = Vec::new();
        for row in 0..axes[0].out_step {
            for column in 0..axes[1].out_step {
                if axes[0].positions(row) > 0 && axes[1].positions(column) > 0 {
                    classes.push(Self {
                        row,
                        column,
                        rows: axes[0].residues[row].clone(),
                        columns: axes[1].residues[column].clone(),
                        lists: Vec::new(),
                        weights: Vec::new(),
                    });
                }
            }
        }
        classes
    }

    /// The chunks of a channel list, and how many roundings touch a term of their sum at most.
    pub(super) fn chunks<T: Element>(
        &self,
        list: &ChannelList,
        variants: &[Vec<bool>],
        axes: &[Axis; 2],
        lanewise: bool,
        pitches: Pitches,
    ) -> (Vec<Chunk>, usize) {
        let per_tap = if lanewise { 1 } else { T::BLOCK };
        let products = (self.rows.len() * self.columns.len() * per_tap).max(1);
        let count = list.blocks.div_ceil(((CHUNK + products / 2) / products).max(1)).max(1);
        let (mut chunks, mut scalars, mut accumulation) = (Vec::new(), 0, 1);
        for chunk in 0..count {
            let blocks = chunk * list.blocks / count..(chunk + 1) * list.blocks / count;
            let first_scalar = scalars;
            let mut all = Vec::new();
            for variant in variants {
                let (segments, end) = self.segments(list, blocks.clone(), variant, axes, lanewise, pitches);
                scalars = first_scalar + end;
                let length: usize = segments.iter().map(|s| s.lanes as usize).sum();
                accumulation = accumulation.max(length + count - 1);
                all.push(segments);
            }
            chunks.push(Chunk { first_scalar, variants: all });
        }
        (chunks, accumulation)
    }

    /// The segments of a run of channel blocks with the kernel rows of `variant`, and how many scalars all rows have.
    fn segments(
        &self,
        list: &ChannelList,
        blocks: Range<usize>,
        variant: &[bool],
        axes: &[Axis; 2],
        lanewise: bool,
        pitches: Pitches,
    ) -> (Vec<Segment>, usize) {
        let narrow = |n: usize| u32::try_from(n).expect("a packed block has fewer than 2^32 elements");
        let mut segments = Vec::new();
        let mut scalars = 0;
        for block in blocks {
            let lanes = if lanewise { 0..1 } else { list.lanes(block) };
            for (&(dy, _), &inside) in self.rows.iter().zip(variant) {
                for &(dx, _) in &self.columns {
                    let right = (dx - axes[1].first).unsigned_abs();
                    let x = block * pitches.block
                        + (dy - axes[0].first).unsigned_abs() * pitches.row
                        + right % axes[1].in_step * pitches.phase
                        + right / axes[1].in_step * pitches.column
                        + lanes.start;
                    if inside && !lanes.is_empty() {
                        segments.push(Segment {
                            x: narrow(x),
                            w: narrow(scalars * list.width),
                            lanes: narrow(lanes.len()),
                        });
                    }
                    scalars += lanes.len();
                }
            }
        }
        (segments, scalars)
    }

    /// Hands out the weights of a pair, in the order of [`Self::segments`] over all chunks.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn pack_weights<T: Element>(
        &self,
        pair: &Pair,
        list: &ChannelList,
        in_channels: usize,
        out_channels: usize,
        lanewise: bool,
        weight: &impl Fn(usize, usize, usize, usize) -> T,
        mut push: impl FnMut(T),
    ) {
        let first_out = pair.first_out * T::BLOCK;
        for block in 0..list.blocks {
            let lanes = if lanewise { 0..1 } else { list.lanes(block) };
            for &(_, ky) in &self.rows {
                for &(_, kx) in &self.columns {
                    for lane in lanes.clone() {
                        let input = (pair.inputs.start + block) * T::BLOCK + lane;
                        for out in first_out..first_out + pair.width {
                            let input = if lanewise { out } else { input };
                            push(if out < out_channels && input < in_channels {
                                weight(out, input, ky, kx)
                            } else {
                                T::ZERO
                            });
                        }
                    }
                }
            }
        }
    }
}
