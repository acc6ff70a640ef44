//! One direction of a convolution, taken apart at build time into tiles, tap lists and packed weights.
//!
//! **Both directions are the same gather.** Write `q` for a position of a coarse output grid. The forward map has one
//! *class* of outputs, `out = q`, and tap `k` reads input `q * stride + k * dilation - padding`. In the adjoint,
//! input-space position `i` receives from output-space position `o` through tap `k` if
//! `o * stride + k * dilation - padding = i`; split `i = q * stride + r` and each residue `r` is a class of its own
//! that uses the taps with `r + padding - k * dilation` divisible by `stride`, reading `o = q + (r + padding - k *
//! dilation) / stride`. So a class is: output positions `q * out_step + r`, and for each of its taps an input position
//! `q * in_step + d`. No tap is ever multiplied by the zeros that a transposed convolution would insert.
//!
//! **A block** is a rectangle of `q`. Its input, with the halo, is first copied into scratch (`[channel block][row]
//! [column mod in_step][column / in_step][B]`), zeros where the image ends. After that no kernel knows of borders or
//! strides: neighbouring pixels are always one line apart, and a tap is an offset. The copy costs a few cycles for each
//! line that is used hundreds of times, applies the input's scale for nothing, and makes the working set contiguous.
//!
//! **A pair** is one or two blocks of output channels, which a tile computes together. With groups, its input channels
//! are those of the groups that the pair touches; weights between different groups are stored zeros. A depthwise
//! convolution (one input and one output channel a group) instead multiplies lane by lane. A map to up to four channels
//! (the adjoint of a network's first layer) would leave most lanes of an output block empty; for it the block's input
//! is transposed while it is copied (`[channel][row][column mod in_step][column / in_step]`), and vectors run along rows.
//!
//! **A chunk** is a run of input channels whose products are added up in registers, from zero; the chunks' sums are
//! then added in order. Accumulation is therefore blocked: an output's error is at most `gamma_m` times the sum of the
//! absolute products, with `m = (products of the longest chunk) + (chunks - 1)` instead of the number of products
//! (Higham, 2nd ed., section 3.1). Inside a chunk the order is: block of input channels, kernel row, kernel column,
//! channel. A fused multiply-add rounds once; without hardware for it product and sum round separately, and since the
//! first sum (with zero) is exact, the same `m` holds. Kernel rows that lie outside the image for all pixels of a tile
//! are skipped, which changes no value: they would add exact zeros.

use super::dispatch::{TileLimits, planar_lanes};
use super::element::{Element, MAX_BLOCKS, Squares, Style, SumTile, TileShape};
use crate::ConvShape;
use crate::aligned::AlignedVec;
use crate::isa::Isa;

mod axis;
mod channels;
mod class;
mod cut;

pub(super) use axis::Direction;
pub(super) use channels::Pair;
pub(super) use class::{Chunk, Class};
pub(super) use cut::{Block, Tile, Unit};

use axis::Axis;
use channels::{choose_style, pair_up};
use class::Pitches;
use cut::{Grid, choose_blocks, cut_grid, cut_units};

/// Vector multiply-adds below which handing work to other threads costs more than it saves (some 30 microseconds). With half as
/// many a LeNet's bound took a fifth more processor time for 4 % less latency.
const PARALLEL_FROM: f64 = 100_000.0;

/// One direction of a convolution, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Plan<T: Element> {
    pub isa: Isa,
    pub in_channels: usize,
    pub in_rows: usize,
    pub in_columns: usize,
    pub out_rows: usize,
    pub out_columns: usize,
    pub in_step: [usize; 2],
    pub out_step: [usize; 2],
    /// Displacement of the first packed row and column.
    pub first: [isize; 2],
    pub span: [usize; 2],
    pub used_rows: Vec<bool>,
    pub used_columns: Vec<bool>,
    /// Elements between packed rows, packed phases, and packed channel blocks.
    pub row_pitch: usize,
    pub phase_pitch: usize,
    pub block_pitch: usize,
    /// Elements between packed columns: `BLOCK`, or 1 in planar plans, where channels are `plane_pitch` apart (else 0).
    pub column_pitch: usize,
    pub plane_pitch: usize,
    /// Elements of packed input, and of partial sums, that a thread needs.
    pub packed_len: usize,
    pub sums_len: usize,
    pub blocks: Vec<Block>,
    pub tiles: Vec<Tile>,
    pub pairs: Vec<Pair>,
    pub classes: Vec<Class>,
    pub units: Vec<Unit>,
    pub weights: AlignedVec<T>,
    weight_len: usize,
    pub accumulation: usize,
    pub square_sum: usize,
    pub parallel: bool,
    /// For each tile shape, the micro-kernels for one and for two blocks of output channels.
    kernels: Vec<[Option<SumTile<T>>; MAX_BLOCKS]>,
}

impl<T: Element> Plan<T> {
    /// Plans one direction. `weight(out, in, ky, kx)` gives the weight between an output and an input channel of this
    /// direction, zero across groups.
    pub(super) fn new(
        shape: &ConvShape,
        direction: Direction,
        isa: Isa,
        weight: impl Fn(usize, usize, usize, usize) -> T,
    ) -> Self {
        Self::with_weights(shape, direction, isa, Some(weight))
    }

    /// Bytes that the plan of one direction will hold, with its weights, and how many of them are weights; and bytes of
    /// scratch memory that a thread needs for it.
    pub(super) fn measure(shape: &ConvShape, direction: Direction, isa: Isa) -> (usize, usize, usize) {
        let plan = Self::with_weights(shape, direction, isa, None::<fn(usize, usize, usize, usize) -> T>);
        let weights = plan.weight_len * size_of::<T>();
        let scratch = (plan.packed_len + plan.sums_len) * size_of::<T>() + plan.units.len() * size_of::<f64>();
        (weights + plan.outline_bytes(), weights, scratch)
    }

    /// Bytes of all but the weights.
    fn outline_bytes(&self) -> usize {
        fn of<E>(list: &Vec<E>) -> usize {
            list.capacity() * size_of::<E>()
        }
        let of_block = |block: &Block| of(&block.tiles);
        let of_chunk = |chunk: &Chunk| of(&chunk.variants) + chunk.variants.iter().map(of).sum::<usize>();
        let of_list = |list: &Vec<Chunk>| of(list) + list.iter().map(of_chunk).sum::<usize>();
        let of_class = |class: &Class| {
            let lists = of(&class.lists) + class.lists.iter().map(of_list).sum::<usize>();
            of(&class.rows) + of(&class.columns) + of(&class.weights) + lists
        };
        let blocks = of(&self.blocks) + self.blocks.iter().map(of_block).sum::<usize>();
        let classes = of(&self.classes) + self.classes.iter().map(of_class).sum::<usize>();
        let lists = of(&self.tiles) + of(&self.pairs) + of(&self.units) + of(&self.kernels);
        blocks + classes + lists + of(&self.used_rows) + of(&self.used_columns)
    }

    /// The plan with its weights, or without any.
    fn with_weights(
        shape: &ConvShape,
        direction: Direction,
        isa: Isa,
        weight: Option<impl Fn(usize, usize, usize, usize) -> T>,
    ) -> Self {
        let (in_channels, out_channels) = match direction {
            Direction::Forward => (shape.in_channels, shape.out_channels),
            Direction::Adjoint => (shape.out_channels, shape.in_channels),
        };
        let axes = [Axis::new(shape, 0, direction), Axis::new(shape, 1, direction)];
        let style = choose_style::<T>(shape.groups, in_channels, out_channels, &axes[1], isa);
        let (pairs, lists) = pair_up::<T>(in_channels, out_channels, shape.groups, style);
        let limits = TileLimits::of::<T>(isa, style);
        let lanewise = style == Style::Lanewise;
        // Vector multiply-adds for each tap and pixel.
        let scalars: usize = pairs.iter().map(|pair| pair.width * lists[pair.list].scalars(lanewise)).sum();
        let vectors =
            scalars as f64 / if let Style::Planar { .. } = style { planar_lanes::<T>(isa) } else { T::BLOCK } as f64;

        let (row_bounds, column_bounds) = choose_blocks::<T>(&axes, pairs.len(), vectors, in_channels, limits);
        let most = |bounds: &[usize]| bounds.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(1);
        let (block_rows, block_columns) = (most(&row_bounds), most(&column_bounds));
        let reach = axes[1].reach(block_columns).div_ceil(axes[1].in_step);
        let (column_pitch, phase_pitch) = match style {
            // Whole vectors are read, up to one beyond the row.
            Style::Planar { .. } => (1, (reach + planar_lanes::<T>(isa)).next_multiple_of(T::BLOCK)),
            _ => (T::BLOCK, reach * T::BLOCK),
        };
        let row_pitch = phase_pitch * axes[1].in_step;
        let packed_rows = row_pitch * axes[0].reach(block_rows);
        let (block_pitch, plane_pitch) = match style {
            Style::Planar { .. } => (packed_rows * T::BLOCK, packed_rows),
            _ => (packed_rows, 0),
        };
        let pitches = Pitches { column: column_pitch, phase: phase_pitch, row: row_pitch, block: block_pitch };

        let mut classes = Class::all(&axes);
        let Grid { blocks, mut tiles, variants, most_tiles } =
            cut_grid(&axes, &classes, (&row_bounds, &column_bounds), limits);
        let kernels = kernels_for(&mut tiles, style, isa);

        // Channel lists, and the weights in the very order in which kernels meet them.
        let mut accumulation = 1;
        let mut most_chunks = 1;
        let weight_len: usize = classes
            .iter()
            .map(|class| {
                let taps = class.rows.len() * class.columns.len();
                scalars * taps
            })
            .sum();
        let mut weights = AlignedVec::zeroed(if weight.is_some() { weight_len } else { 0 });
        let mut filled = 0;
        for (class, variants) in classes.iter_mut().zip(&variants) {
            for list in &lists {
                let (chunks, length) = class.chunks::<T>(list, variants, &axes, lanewise, pitches);
                accumulation = accumulation.max(length);
                most_chunks = most_chunks.max(chunks.len());
                class.lists.push(chunks);
            }
            for pair in &pairs {
                class.weights.push(filled);
                let Some(weight) = &weight else { continue };
                class.pack_weights(pair, &lists[pair.list], in_channels, out_channels, lanewise, weight, |value| {
                    weights[filled] = value;
                    filled += 1;
                });
            }
        }
        debug_assert!(filled == weight_len || weight.is_none());

        let (units, packed_blocks) = cut_units(&blocks, &pairs);
        let products: f64 = classes
            .iter()
            .enumerate()
            .map(|(index, class)| {
                let tiles = blocks.iter().flat_map(|block| &tiles[block.tiles[index].clone()]);
                let pixels: usize = tiles.map(Tile::pixels).sum();
                vectors * (pixels * class.rows.len() * class.columns.len()) as f64
            })
            .sum();
        let terms = units
            .iter()
            .map(|unit| {
                let block = &blocks[unit.block];
                let pixels: usize = block.tiles.iter().flat_map(|range| &tiles[range.clone()]).map(Tile::pixels).sum();
                pixels * unit.pairs.len()
            })
            .max()
            .unwrap_or(0);

        Self {
            isa,
            in_channels,
            in_rows: axes[0].input,
            in_columns: axes[1].input,
            out_rows: axes[0].output,
            out_columns: axes[1].output,
            in_step: [axes[0].in_step, axes[1].in_step],
            out_step: [axes[0].out_step, axes[1].out_step],
            first: [axes[0].first, axes[1].first],
            span: [axes[0].span, axes[1].span],
            used_rows: axes[0].used(),
            used_columns: axes[1].used(),
            row_pitch,
            phase_pitch,
            block_pitch,
            column_pitch,
            plane_pitch,
            packed_len: packed_blocks * block_pitch + T::BLOCK,
            sums_len: limits.pixels()
                * pairs.iter().map(|pair| pair.blocks).max().unwrap_or(1)
                * T::BLOCK
                * if most_chunks > 1 { most_tiles.max(1) } else { 1 },
            square_sum: 1 + terms + Squares::REDUCTION + units.len(),
            blocks,
            tiles,
            pairs,
            classes,
            units,
            weights,
            weight_len,
            accumulation,
            parallel: products >= PARALLEL_FROM,
            kernels,
        }
    }

    /// The micro-kernel for a tile.
    pub(super) fn kernel(&self, blocks: usize, tile: &Tile) -> SumTile<T> {
        self.kernels[tile.kernel as usize][blocks - 1].expect("there is a kernel for every tile within the limits")
    }
}

/// The micro-kernels for the shapes of `tiles`, which are told which is theirs.
fn kernels_for<T: Element>(tiles: &mut [Tile], style: Style, isa: Isa) -> Vec<[Option<SumTile<T>>; MAX_BLOCKS]> {
    let mut shapes: Vec<(u16, u16)> = Vec::new();
    for tile in tiles {
        let shape = (tile.rows, tile.columns);
        tile.kernel = shapes.iter().position(|s| *s == shape).unwrap_or_else(|| {
            shapes.push(shape);
            shapes.len() - 1
        }) as u32;
    }
    let kernel = |rows: u16, columns: u16, blocks: usize| {
        let style = if let Style::Channels { .. } = style { Style::Channels { blocks } } else { style };
        T::sum_tile(isa, TileShape { style, rows: rows as usize, columns: columns as usize })
    };
    shapes.iter().map(|&(rows, columns)| std::array::from_fn(|index| kernel(rows, columns, index + 1))).collect()
}
