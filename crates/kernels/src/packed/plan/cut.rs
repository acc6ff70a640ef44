//! How the grid of `q` is cut: into blocks that fit a cache, tiles that fit registers, and units that threads take.

use super::super::dispatch::TileLimits;
use super::super::element::Element;
use super::axis::Axis;
use super::channels::Pair;
use super::class::Class;
use std::ops::Range;

/// Bytes of packed input that a block may have without penalty: half of a common second-level cache.
const BLOCK_BYTES: f64 = 640.0 * 1024.0;
/// Work is cut into about this many units, so that the last ones leave no thread idle for long.
const UNITS: usize = 48;

/// A tile of one block and class.
#[derive(Clone, Copy, Debug)]
pub(in crate::packed) struct Tile {
    /// Position in `q`, relative to the block.
    pub row: u32,
    pub column: u32,
    pub rows: u16,
    pub columns: u16,
    /// Index into [`variants`](super::Chunk::variants).
    pub variant: u32,
    /// Index into `Plan::kernels`.
    pub(super) kernel: u32,
}

impl Tile {
    pub(super) fn pixels(&self) -> usize {
        self.rows as usize * self.columns as usize
    }
}

/// A rectangle of `q`.
#[derive(Clone, Debug)]
pub(in crate::packed) struct Block {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    /// For each class, its tiles.
    pub tiles: Vec<Range<usize>>,
}

/// What one thread does without interruption: some pairs of one block.
#[derive(Clone, Debug)]
pub(in crate::packed) struct Unit {
    pub block: usize,
    pub pairs: Range<usize>,
    pub inputs: Range<usize>,
}

/// The grid, cut.
pub(super) struct Grid {
    pub blocks: Vec<Block>,
    pub tiles: Vec<Tile>,
    /// For each class, the sets of kernel rows that its tiles meet.
    pub variants: Vec<Vec<Vec<bool>>>,
    /// Most tiles of one class in one block.
    pub most_tiles: usize,
}

/// Cuts the grid at these rows and columns into blocks, and their classes into tiles.
pub(super) fn cut_grid(axes: &[Axis; 2], classes: &[Class], bounds: (&[usize], &[usize]), limits: TileLimits) -> Grid {
    let mut blocks = Vec::new();
    let mut tiles = Vec::new();
    let mut variants: Vec<Vec<Vec<bool>>> = vec![Vec::new(); classes.len()];
    let mut most_tiles = 0;
    for rows in bounds.0.windows(2).map(|w| w[0]..w[1]) {
        for columns in bounds.1.windows(2).map(|w| w[0]..w[1]) {
            let mut ranges = Vec::new();
            for (class, variants) in classes.iter().zip(&mut variants) {
                let from = tiles.len();
                let height = axes[0].positions(class.row).min(rows.end).saturating_sub(rows.start);
                let width = axes[1].positions(class.column).min(columns.end).saturating_sub(columns.start);
                cut_tiles(&axes[0], class, rows.start, height, width, limits, variants, &mut tiles);
                ranges.push(from..tiles.len());
                most_tiles = most_tiles.max(tiles.len() - from);
            }
            blocks.push(Block { rows: rows.clone(), columns, tiles: ranges });
        }
    }
    Grid { blocks, tiles, variants, most_tiles }
}

/// Adds the tiles of a class in a block of `height` rows from `first_row` on, and the sets of kernel rows that they meet.
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

/// Where to cut the grid of `q` into blocks: row and column bounds.
///
/// The smallest estimated cost of a few candidates, in cycles of the multiply-adds: halo and copying favour large
/// blocks, the cache and an even spread over threads favour small ones.
pub(super) fn choose_blocks<T: Element>(
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
pub(super) fn cut_units(blocks: &[Block], pairs: &[Pair]) -> (Vec<Unit>, usize) {
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
