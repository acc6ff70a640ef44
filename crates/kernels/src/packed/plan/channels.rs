//! Which output channels are computed together, from which input channels, and which way vectors run.

use super::super::dispatch::{blocks_at_once, planar_lanes};
use super::super::element::{Element, MAX_PLANES, Style};
use super::axis::Axis;
use crate::isa::Isa;
use std::ops::Range;

/// One or two blocks of output channels.
#[derive(Clone, Debug)]
pub(in crate::packed) struct Pair {
    pub first_out: usize,
    pub blocks: usize,
    /// Weights for each input scalar.
    pub width: usize,
    /// Blocks of input channels that it reads.
    pub inputs: Range<usize>,
    /// Index of its channel list, in every class.
    pub list: usize,
}

/// The input channels of a pair, relative to the block that the first one is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChannelList {
    pub first_lane: usize,
    pub channels: usize,
    pub blocks: usize,
    pub block: usize,
    /// Weights for each input scalar.
    pub width: usize,
}

impl ChannelList {
    /// The lanes of a block that belong to the list.
    pub fn lanes(&self, block: usize) -> Range<usize> {
        let start = if block == 0 { self.first_lane } else { 0 };
        start..(self.first_lane + self.channels - block * self.block).min(self.block)
    }

    pub fn scalars(&self, lanewise: bool) -> usize {
        if lanewise { 1 } else { self.channels }
    }
}

/// Which way vectors run.
pub(super) fn choose_style<T: Element>(
    groups: usize,
    inputs: usize,
    outputs: usize,
    columns: &Axis,
    isa: Isa,
) -> Style {
    if groups > 1 && groups == inputs && groups == outputs {
        return Style::Lanewise;
    }
    if groups == 1 && outputs <= MAX_PLANES {
        // Vectors along a row, for each channel; or one vector for each pixel. The former cost a transposition.
        let vectors = columns.grid().div_ceil(planar_lanes::<T>(isa)) * outputs;
        let blocks = columns.grid() * T::BLOCK / planar_lanes::<T>(isa);
        if vectors * 3 < blocks * 2 {
            return Style::Planar { channels: outputs };
        }
    }
    // Two blocks of outputs at a time are faster, unless they belong to groups that read different inputs.
    let work = |style| -> usize {
        let (pairs, lists) = pair_up::<T>(inputs, outputs, groups, style);
        pairs.iter().map(|pair| pair.width * lists[pair.list].scalars(false)).sum()
    };
    let (wide, narrow) = (Style::Channels { blocks: blocks_at_once(isa) }, Style::Channels { blocks: 1 });
    if work(narrow) * 6 < work(wide) * 5 { narrow } else { wide }
}

/// Output channels in pairs, and the distinct sets of input channels that pairs read.
pub(super) fn pair_up<T: Element>(
    inputs: usize,
    outputs: usize,
    groups: usize,
    style: Style,
) -> (Vec<Pair>, Vec<ChannelList>) {
    let (per_in, per_out) = (inputs / groups, outputs / groups);
    let at_once = if let Style::Channels { blocks } = style { blocks } else { 1 };
    let total = outputs.div_ceil(T::BLOCK);
    let mut lists: Vec<ChannelList> = Vec::new();
    let mut pairs = Vec::new();
    let mut first_out = 0;
    while first_out < total {
        let blocks = at_once.min(total - first_out);
        let width = if let Style::Planar { channels } = style { channels } else { blocks * T::BLOCK };
        let last = ((first_out + blocks) * T::BLOCK).min(outputs) - 1;
        let channels = first_out * T::BLOCK / per_out * per_in..(last / per_out + 1) * per_in;
        let inputs = channels.start / T::BLOCK..channels.end.div_ceil(T::BLOCK);
        let list = ChannelList {
            first_lane: channels.start % T::BLOCK,
            channels: channels.len(),
            blocks: inputs.len(),
            block: T::BLOCK,
            width,
        };
        let index = lists.iter().position(|l| *l == list).unwrap_or_else(|| {
            lists.push(list);
            lists.len() - 1
        });
        pairs.push(Pair { first_out, blocks, width, inputs, list: index });
        first_out += blocks;
    }
    (pairs, lists)
}
