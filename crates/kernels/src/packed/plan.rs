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

use super::dispatch::{TileLimits, blocks_at_once, planar_lanes};
use super::element::{Element, MAX_BLOCKS, MAX_PLANES, Segment, Squares, Style, SumTile, TileShape};
use crate::ConvShape;
use crate::aligned::AlignedVec;
use crate::isa::Isa;
use std::ops::Range;

/// Which way a plan maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Adjoint,
}

/// Products that a chunk should have. 64 channels of a 3x3 kernel: the weights of a pair's chunk are 74 kB, and
/// handling the chunk's sums costs a percent of its multiply-adds.
const CHUNK: usize = 576;
/// Bytes of packed input that a block may have without penalty: half of a common second-level cache.
const BLOCK_BYTES: f64 = 640.0 * 1024.0;
/// Work is cut into about this many units, so that the last ones leave no thread idle for long.
const UNITS: usize = 48;
/// Vector multiply-adds below which handing work to other threads costs more than it saves (some 15 microseconds).
const PARALLEL_FROM: f64 = 50_000.0;

/// One axis of a gather.
#[derive(Clone, Debug)]
struct Axis {
    /// Size of the input and of the output.
    input: usize,
    output: usize,
    in_step: usize,
    out_step: usize,
    /// For each residue of `out_step`: `(displacement, kernel index)` of its taps.
    residues: Vec<Vec<(isize, usize)>>,
    /// Smallest displacement of all, and how far the largest is above it.
    first: isize,
    span: usize,
}

impl Axis {
    fn new(shape: &ConvShape, axis: usize, direction: Direction) -> Self {
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
    fn positions(&self, residue: usize) -> usize {
        self.output.saturating_sub(residue).div_ceil(self.out_step)
    }

    /// Positions `q` of all residues together: those of residue 0.
    fn grid(&self) -> usize {
        self.positions(0)
    }

    /// Inputs that `count` neighbouring positions reach over.
    fn reach(&self, count: usize) -> usize {
        (count - 1) * self.in_step + self.span + 1
    }

    /// Whether an input that is `offset` from the first one of a block is read at all, by the residue of `offset`.
    fn used(&self) -> Vec<bool> {
        let mut used = vec![false; self.in_step];
        for &(d, _) in self.residues.iter().flatten() {
            used[(d - self.first).unsigned_abs() % self.in_step] = true;
        }
        used
    }
}

/// One or two blocks of output channels.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub first_out: usize,
    pub blocks: usize,
    /// Weights for each input scalar.
    pub width: usize,
    /// Blocks of input channels that it reads.
    pub inputs: Range<usize>,
    /// Index of its channel list, in every class.
    pub list: usize,
}

/// A run of channels that is added up in registers.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Where its weights start, in input scalars: times [`Pair::width`] gives elements.
    pub first_scalar: usize,
    /// Taps and channels, for each set of kernel rows that lie in the image.
    pub variants: Vec<Vec<Segment>>,
}

/// A residue of the output grid.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub row: usize,
    pub column: usize,
    /// `(row displacement, kernel row)` and the same for columns.
    rows: Vec<(isize, usize)>,
    columns: Vec<(isize, usize)>,
    /// By [`Pair::list`].
    pub lists: Vec<Vec<Chunk>>,
    /// For each pair, where its weights start.
    pub weights: Vec<usize>,
}

/// A tile of one block and class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// Position in `q`, relative to the block.
    pub row: u32,
    pub column: u32,
    pub rows: u16,
    pub columns: u16,
    /// Index into [`Chunk::variants`].
    pub variant: u32,
    /// Index into [`Plan::kernels`].
    kernel: u32,
}

/// A rectangle of `q`.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    /// For each class, its tiles.
    pub tiles: Vec<Range<usize>>,
}

/// What one thread does without interruption: some pairs of one block.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub block: usize,
    pub pairs: Range<usize>,
    pub inputs: Range<usize>,
}

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

        let mut classes = Vec::new();
        for row in 0..axes[0].out_step {
            for column in 0..axes[1].out_step {
                if axes[0].positions(row) > 0 && axes[1].positions(column) > 0 {
                    classes.push(Class {
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

        // Blocks, their tiles, and the sets of kernel rows that tiles meet.
        let mut blocks = Vec::new();
        let mut tiles = Vec::new();
        let mut variants: Vec<Vec<Vec<bool>>> = vec![Vec::new(); classes.len()];
        let mut most_tiles = 0;
        for rows in row_bounds.windows(2).map(|w| w[0]..w[1]) {
            for columns in column_bounds.windows(2).map(|w| w[0]..w[1]) {
                let mut ranges = Vec::new();
                for (class, variants) in classes.iter().zip(&mut variants) {
                    let from = tiles.len();
                    let height = axes[0].positions(class.row).min(rows.end).saturating_sub(rows.start);
                    let width = axes[1].positions(class.column).min(columns.end).saturating_sub(columns.start);
                    Self::cut_tiles(&axes[0], class, rows.start, height, width, limits, variants, &mut tiles);
                    ranges.push(from..tiles.len());
                    most_tiles = most_tiles.max(tiles.len() - from);
                }
                blocks.push(Block { rows: rows.clone(), columns, tiles: ranges });
            }
        }
        let mut shapes: Vec<(u16, u16)> = Vec::new();
        for tile in &mut tiles {
            let shape = (tile.rows, tile.columns);
            tile.kernel = shapes.iter().position(|s| *s == shape).unwrap_or_else(|| {
                shapes.push(shape);
                shapes.len() - 1
            }) as u32;
        }
        let kernels = shapes
            .iter()
            .map(|&(rows, columns)| {
                std::array::from_fn(|index| {
                    let style =
                        if let Style::Channels { .. } = style { Style::Channels { blocks: index + 1 } } else { style };
                    T::sum_tile(isa, TileShape { style, rows: rows as usize, columns: columns as usize })
                })
            })
            .collect();

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
                let per_tap = if lanewise { 1 } else { T::BLOCK };
                let products = (class.rows.len() * class.columns.len() * per_tap).max(1);
                let chunks = list.blocks.div_ceil(((CHUNK + products / 2) / products).max(1)).max(1);
                let mut done = 0;
                let mut made = Vec::new();
                for chunk in 0..chunks {
                    let range = chunk * list.blocks / chunks..(chunk + 1) * list.blocks / chunks;
                    let first_scalar = done;
                    let mut all = Vec::new();
                    for variant in variants {
                        let (segments, end) = class.segments(list, range.clone(), variant, &axes, lanewise, pitches);
                        done = first_scalar + end;
                        let length: usize = segments.iter().map(|s| s.lanes as usize).sum();
                        accumulation = accumulation.max(length + chunks - 1);
                        all.push(segments);
                    }
                    made.push(Chunk { first_scalar, variants: all });
                }
                most_chunks = most_chunks.max(chunks);
                class.lists.push(made);
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

    #[allow(clippy::too_many_arguments)]
    fn cut_tiles(
        axis: &Axis,
        class: &Class,
        first_row: usize,
        height: usize,
        width: usize,
        limits: TileLimits,
        variants: &mut Vec<Vec<bool>>,
        tiles: &mut Vec<Tile>,
    ) {
        if height == 0 || width == 0 {
            return;
        }
        let across = width.div_ceil(limits.columns());
        let mut row = 0;
        while row < height {
            let widest = width.div_ceil(across);
            let rows = limits.rows(widest, height - row);
            let inside: Vec<bool> = class
                .rows
                .iter()
                .map(|&(d, _)| {
                    (row..row + rows).any(|r| {
                        let input = ((first_row + r) * axis.in_step) as isize + d;
                        input >= 0 && input < axis.input as isize
                    })
                })
                .collect();
            let variant = variants.iter().position(|v| *v == inside).unwrap_or_else(|| {
                variants.push(inside);
                variants.len() - 1
            });
            for index in 0..across {
                let columns = index * width / across..(index + 1) * width / across;
                tiles.push(Tile {
                    row: row as u32,
                    column: columns.start as u32,
                    rows: rows as u16,
                    columns: columns.len() as u16,
                    variant: variant as u32,
                    kernel: 0,
                });
            }
            row += rows;
        }
    }
}

/// Distances in the packed block.
#[derive(Clone, Copy, Debug)]
struct Pitches {
    column: usize,
    phase: usize,
    row: usize,
    block: usize,
}

/// Which way vectors run.
fn choose_style<T: Element>(groups: usize, inputs: usize, outputs: usize, columns: &Axis, isa: Isa) -> Style {
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
fn pair_up<T: Element>(inputs: usize, outputs: usize, groups: usize, style: Style) -> (Vec<Pair>, Vec<ChannelList>) {
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

impl Tile {
    fn pixels(&self) -> usize {
        self.rows as usize * self.columns as usize
    }
}

/// The input channels of a pair, relative to the block that the first one is in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ChannelList {
    first_lane: usize,
    channels: usize,
    blocks: usize,
    block: usize,
    /// Weights for each input scalar.
    width: usize,
}

impl ChannelList {
    /// The lanes of a block that belong to the list.
    fn lanes(&self, block: usize) -> Range<usize> {
        let start = if block == 0 { self.first_lane } else { 0 };
        start..(self.first_lane + self.channels - block * self.block).min(self.block)
    }

    fn scalars(&self, lanewise: bool) -> usize {
        if lanewise { 1 } else { self.channels }
    }
}

impl Class {
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
    fn pack_weights<T: Element>(
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

/// Where to cut the grid of `q` into blocks: row and column bounds.
///
/// The smallest estimated cost of a few candidates, in cycles of the multiply-adds: halo and copying favour large
/// blocks, the cache and an even spread over threads favour small ones.
fn choose_blocks<T: Element>(
    axes: &[Axis; 2],
    pairs: usize,
    vectors: f64,
    in_channels: usize,
    limits: TileLimits,
) -> (Vec<usize>, Vec<usize>) {
    let (rows, columns) = (axes[0].grid(), axes[1].grid());
    let across = columns.div_ceil(limits.columns());
    let in_blocks = in_channels.div_ceil(T::BLOCK) as f64;
    let taps: f64 = axes.iter().map(|a| a.residues.iter().map(Vec::len).sum::<usize>() as f64).product();
    // Vector multiply-adds of one grid position, over all classes and pairs.
    let weights = vectors * taps;
    let work = weights * (rows * columns) as f64;

    let bounds = |size: usize, parts: usize| -> Vec<usize> { (0..=parts).map(|i| i * size / parts).collect() };
    let mut best = (f64::INFINITY, 1, 1);
    let mut wide = 1;
    loop {
        let mut high = 1;
        loop {
            let (tall, broad) = (rows.div_ceil(high), columns.div_ceil(wide));
            let blocks = (high * wide) as f64;
            let lines = in_blocks * (axes[0].reach(tall) * axes[1].reach(broad)) as f64;
            let bytes = lines * 64.0;
            let units = (blocks * pairs as f64).min(UNITS as f64 * 4.0);
            let copies = if blocks < UNITS as f64 && pairs > 1 { 2.0 } else { 1.0 };
            let copying = blocks * lines * copies * if bytes > BLOCK_BYTES { 8.0 } else { 5.0 };
            let streaming = blocks * weights * 0.6;
            let idle = work / units / 2.0;
            let crowding = work * 0.05 * (bytes / BLOCK_BYTES - 1.0).clamp(0.0, 8.0);
            let cost = copying + streaming + idle + crowding;
            if cost < best.0 {
                best = (cost, high, wide);
            }
            if high >= rows {
                break;
            }
            high = (high * 5 / 4).max(high + 1).min(rows);
        }
        if wide >= across {
            break;
        }
        wide = (wide * 2).min(across);
    }
    (bounds(rows, best.1), bounds(columns, best.2))
}

/// Units of about equal work, and the most input blocks that one of them packs.
fn cut_units(blocks: &[Block], pairs: &[Pair]) -> (Vec<Unit>, usize) {
    let per_unit = (blocks.len() * pairs.len() / UNITS).clamp(1, pairs.len().max(1));
    let parts = pairs.len().div_ceil(per_unit);
    let mut units = Vec::new();
    let mut most = 0;
    for block in 0..blocks.len() {
        for part in 0..parts {
            let range = part * pairs.len() / parts..(part + 1) * pairs.len() / parts;
            let inputs = &pairs[range.clone()];
            let start = inputs.iter().map(|p| p.inputs.start).min().unwrap_or(0);
            let end = inputs.iter().map(|p| p.inputs.end).max().unwrap_or(0);
            most = most.max(end - start);
            units.push(Unit { block, pairs: range, inputs: start..end });
        }
    }
    (units, most)
}
