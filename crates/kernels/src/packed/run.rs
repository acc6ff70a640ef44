//! Running a plan: units on threads, and in each unit the nest of loops.
//!
//! For each unit: copy the block's input (unless the thread did it for the unit before); for each pair, class and
//! chunk, all tiles of the block, so that a chunk's weights (74 kB) stay in the second-level cache while the tiles go
//! by; after the last chunk the tile's store: `y <- scale * (a * sum) - b * y`, and the squares of what was stored.
//! While the last chunk's products are computed, the lines of `y` and `scale` are fetched.

use super::Fused;
use super::element::{Element, RowCopy, Segment, Squares, TileStore, TileSum};
use super::plan::{Class, Pair, Plan, Tile, Unit};
use crate::aligned::AlignedVec;
use crate::isa::Isa;
use crate::pool::{Disjoint, Threads};
use std::ops::Range;
use std::ptr;

/// What a thread owns while it works.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Bytes of the packed block, and of partial sums.
    packed: AlignedVec<u8>,
    sums: AlignedVec<u8>,
    /// What is in `packed`.
    cached: Option<(usize, Range<usize>)>,
    calls: [u64; 3],
}

/// Working memory of the convolutions, grown at first use and kept. One scratch serves any number of convolutions of
/// both number types, one call at a time.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    slots: Vec<Slot>,
    squares: Vec<f64>,
}

impl Scratch {
    /// Empty scratch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many tiles have been computed with this scratch by the kernels of `isa`: counted inside the kernels, so it
    /// proves which ones ran.
    #[must_use]
    pub fn tiles_computed(&self, isa: Isa) -> u64 {
        self.slots.iter().map(|slot| slot.calls[isa.index()]).sum()
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slots.iter().map(|slot| slot.packed.len() + slot.sums.len()).sum::<usize>() + self.squares.len() * 8
    }

    fn prepare<T: Element>(&mut self, plan: &Plan<T>, slots: usize) {
        if self.slots.len() < slots {
            self.slots.resize_with(slots, Slot::default);
        }
        for slot in &mut self.slots[..slots] {
            let grow = |buffer: &mut AlignedVec<u8>, len: usize| {
                if buffer.len() < len * size_of::<T>() {
                    // The old one goes first: it holds nothing that is needed.
                    *buffer = AlignedVec::default();
                    *buffer = AlignedVec::zeroed(len * size_of::<T>());
                }
            };
            grow(&mut slot.packed, plan.packed_len);
            grow(&mut slot.sums, plan.sums_len);
            slot.cached = None;
        }
        if self.squares.len() < plan.units.len() {
            self.squares.resize(plan.units.len(), 0.0);
        }
    }
}

/// Addresses to prefetch for one tile, at most: all that a tile of 14 pixels by 2 blocks touches in `y` and `scale`, and
/// most of what a planar tile does.
const PREFETCHES: usize = 128;

impl<T: Element> Plan<T> {
    /// `y <- scale * (a * (A (input_scale * x))) - b * y`; the sum of squares of the new `y`. Lengths have been checked.
    pub(super) fn run(
        &self,
        x: &[T],
        y: &mut [T],
        fused: &Fused<'_, T>,
        threads: &Threads,
        scratch: &mut Scratch,
    ) -> f64 {
        let serial = Threads::serial();
        let threads = if self.parallel { threads } else { &serial };
        let prepared = threads.count().min(self.units.len());
        scratch.prepare(self, prepared);
        let y = Disjoint::new(y);
        let slots = Disjoint::new(&mut scratch.slots);
        let squares = Disjoint::new(&mut scratch.squares);
        threads.run(self.units.len(), |slot, unit| {
            assert!(slot < prepared, "a slot for each thread");
            // SAFETY: a slot is used by one task at a time, and there is one for each; each unit has its own element of
            // `squares`. Units write to disjoint parts of `y`: different blocks are different pixels, different pairs
            // different channels.
            unsafe {
                let slot = &mut *slots.get().add(slot);
                *squares.get().add(unit) = self.run_unit(&self.units[unit], x, y.get(), fused, slot);
            }
        });
        scratch.squares[..self.units.len()].iter().sum()
    }

    /// # Safety
    /// `x`, the scales and the memory behind `y` have the lengths of the plan; nobody else accesses the unit's part of
    /// `y`; the slot has been prepared for the plan.
    unsafe fn run_unit(&self, unit: &Unit, x: &[T], y: *mut T, fused: &Fused<'_, T>, slot: &mut Slot) -> f64 {
        let packed = slot.packed.as_mut_ptr().cast::<T>();
        let key = (unit.block, unit.inputs.clone());
        // SAFETY: passed on to the caller.
        unsafe {
            if slot.cached.as_ref() != Some(&key) {
                self.pack_block(unit, x, fused.input_scale, packed);
                slot.cached = Some(key);
            }
            let mut squares = Squares::ZERO;
            for pair in unit.pairs.clone() {
                for class in 0..self.classes.len() {
                    self.run_pair(unit, pair, class, packed, y, fused, slot, &mut squares);
                }
            }
            squares.total()
        }
    }

    /// # Safety
    /// As [`Self::run_unit`], and `packed` holds the unit's block.
    #[allow(clippy::too_many_arguments)]
    unsafe fn run_pair(
        &self,
        unit: &Unit,
        pair: usize,
        class: usize,
        packed: *const T,
        y: *mut T,
        fused: &Fused<'_, T>,
        slot: &mut Slot,
        squares: &mut Squares,
    ) {
        let block = &self.blocks[unit.block];
        let tiles = &self.tiles[block.tiles[class].clone()];
        let (class, pair_index, pair) = (&self.classes[class], pair, &self.pairs[pair]);
        let chunks = &class.lists[pair.list];
        let store_tile = T::store_tile(self.isa);
        let mut wanted: [*const T; PREFETCHES] = [ptr::null(); PREFETCHES];
        let scale = fused.scale.map_or(ptr::null(), <[T]>::as_ptr);
        // SAFETY: weights, segments and tiles were laid out together by `Plan::new`, within the lengths it states; the
        // rest is the caller's promise.
        unsafe {
            let input = packed.add((pair.inputs.start - unit.inputs.start) * self.block_pitch);
            for (index, chunk) in chunks.iter().enumerate() {
                let last = index + 1 == chunks.len();
                let weights = self.weights.as_ptr().add(class.weights[pair_index] + chunk.first_scalar * pair.width);
                let mut sum = slot.sums.as_mut_ptr().cast::<T>();
                for tile in tiles {
                    let at = self.output_offset(block.rows.start, block.columns.start, class, pair, tile);
                    let prefetches =
                        if last { self.wanted(tile, pair, y.add(at), scale, at, fused, &mut wanted) } else { 0 };
                    let segments = &chunk.variants[tile.variant as usize];
                    let x =
                        tile.row as usize * self.in_step[0] * self.row_pitch + tile.column as usize * self.column_pitch;
                    debug_assert!(
                        segments.iter().all(|segment| {
                            let first = (pair.inputs.start - unit.inputs.start) * self.block_pitch + x;
                            self.is_inside(
                                first,
                                class.weights[pair_index] + chunk.first_scalar * pair.width,
                                tile,
                                pair,
                                segment,
                            )
                        }),
                        "a tile leaves its block"
                    );
                    self.kernel(pair.blocks, tile)(&TileSum {
                        x: input.add(x),
                        row_step: self.in_step[0] * self.row_pitch,
                        plane_step: self.plane_pitch,
                        columns: tile.columns as usize,
                        weights,
                        segments: segments.as_ptr(),
                        segment_count: segments.len(),
                        sum,
                        add: index > 0,
                        prefetch: wanted.as_ptr(),
                        prefetch_count: prefetches,
                        calls: &raw mut slot.calls,
                    });
                    if last {
                        store_tile(
                            &TileStore {
                                sum,
                                rows: tile.rows as usize,
                                columns: tile.columns as usize,
                                blocks: pair.blocks,
                                y: y.add(at),
                                row_step: self.out_step[0] * self.out_columns * T::BLOCK,
                                column_step: self.out_step[1] * T::BLOCK,
                                block_step: self.out_rows * self.out_columns * T::BLOCK,
                                scale: if scale.is_null() { scale } else { scale.add(at) },
                                a: fused.a,
                                b: fused.b,
                            },
                            squares,
                        );
                    }
                    if chunks.len() > 1 {
                        sum = sum.add(tile.rows as usize * tile.columns as usize * pair.blocks * T::BLOCK);
                    }
                }
            }
        }
    }

    /// Whether all that a segment reads is there, for the tile whose input starts at `x` and whose weights at `w`.
    fn is_inside(&self, x: usize, w: usize, tile: &Tile, pair: &Pair, segment: &Segment) -> bool {
        let (rows, columns, lanes) = (tile.rows as usize, tile.columns as usize, segment.lanes as usize);
        let last = if self.plane_pitch > 0 {
            (lanes - 1) * self.plane_pitch + columns.next_multiple_of(T::BLOCK)
        } else {
            (rows - 1) * self.in_step[0] * self.row_pitch + columns * T::BLOCK
        };
        x + segment.x as usize - segment.x as usize % self.column_pitch + last <= self.packed_len
            && w + segment.w as usize + lanes * pair.width <= self.weights.len()
    }

    /// Where the tile's first pixel and block is in the output.
    fn output_offset(&self, row: usize, column: usize, class: &Class, pair: &Pair, tile: &Tile) -> usize {
        let y = (row + tile.row as usize) * self.out_step[0] + class.row;
        let x = (column + tile.column as usize) * self.out_step[1] + class.column;
        debug_assert!(y < self.out_rows && x < self.out_columns);
        ((pair.first_out * self.out_rows + y) * self.out_columns + x) * T::BLOCK
    }

    /// Lists the lines of `y` and `scale` that the end of the tile will touch; their (even) number.
    #[allow(clippy::too_many_arguments)]
    fn wanted(
        &self,
        tile: &Tile,
        pair: &Pair,
        y: *const T,
        scale: *const T,
        at: usize,
        fused: &Fused<'_, T>,
        wanted: &mut [*const T; PREFETCHES],
    ) -> usize {
        let _ = fused;
        let mut count = 0;
        for block in 0..pair.blocks {
            for row in 0..tile.rows as usize {
                for column in 0..tile.columns as usize {
                    let step = ((block * self.out_rows + row * self.out_step[0]) * self.out_columns
                        + column * self.out_step[1])
                        * T::BLOCK;
                    if count + 2 <= PREFETCHES {
                        wanted[count] = y.wrapping_add(step);
                        wanted[count + 1] = if scale.is_null() { wanted[count] } else { scale.wrapping_add(at + step) };
                        count += 2;
                    }
                }
            }
        }
        count
    }

    /// Copies the input of a block, with halo, into `packed`.
    ///
    /// # Safety
    /// As [`Self::run_unit`].
    unsafe fn pack_block(&self, unit: &Unit, x: &[T], scale: Option<&[T]>, packed: *mut T) {
        let block = &self.blocks[unit.block];
        let copy_row = T::copy_row(self.isa);
        let start = |axis: usize, q: usize| (q * self.in_step[axis]) as isize + self.first[axis];
        let (top, left) = (start(0, block.rows.start), start(1, block.columns.start));
        let height = (block.rows.len() - 1) * self.in_step[0] + self.span[0] + 1;
        let width = (block.columns.len() - 1) * self.in_step[1] + self.span[1] + 1;
        let step = self.in_step[1];
        for (channel, index) in unit.inputs.clone().enumerate() {
            for row in (0..height).filter(|row| self.used_rows[row % self.in_step[0]]) {
                let from = top + row as isize;
                for phase in (0..step.min(width)).filter(|&phase| self.used_columns[phase]) {
                    let lines = (width - phase).div_ceil(step);
                    // SAFETY: inside the packed block, whose pitches `Plan::new` made for the largest block; copied
                    // lines are `first..end`, which are inside the image.
                    unsafe {
                        let to =
                            packed.add(channel * self.block_pitch + row * self.row_pitch + phase * self.phase_pitch);
                        let inside = from >= 0 && from < self.in_rows as isize;
                        let column = left + phase as isize;
                        let (first, end) =
                            if inside { clip(column, step, lines, self.in_columns) } else { (lines, lines) };
                        let channels = (self.in_channels - index * T::BLOCK).min(T::BLOCK);
                        // A line of channels at a time, or each channel's pixels.
                        for plane in 0..if self.plane_pitch > 0 { channels } else { 1 } {
                            let to = to.add(plane * self.plane_pitch);
                            ptr::write_bytes(to, 0, first * self.column_pitch);
                            ptr::write_bytes(to.add(end * self.column_pitch), 0, (lines - end) * self.column_pitch);
                        }
                        if first < end {
                            let column = (column + (first * step) as isize).unsigned_abs();
                            let line = (index * self.in_rows + from.unsigned_abs()) * self.in_columns + column;
                            debug_assert!((line + (end - first - 1) * step) * T::BLOCK < x.len());
                            copy_row(&RowCopy {
                                from: x.as_ptr().add(line * T::BLOCK),
                                step: step * T::BLOCK,
                                scale: scale.map_or(ptr::null(), |s| s.as_ptr().add(line * T::BLOCK)),
                                to: to.add(first * self.column_pitch),
                                lines: end - first,
                                plane_step: self.plane_pitch,
                                channels,
                            });
                        }
                    }
                }
            }
        }
    }
}

/// The range of `i` below `count` with `0 <= start + i * step < size`; empty ranges are `(count, count)`.
fn clip(start: isize, step: usize, count: usize, size: usize) -> (usize, usize) {
    let first = (-start).max(0).unsigned_abs().div_ceil(step).min(count);
    let end = (size as isize - start).max(0).unsigned_abs().div_ceil(step).min(count);
    if first < end { (first, end) } else { (count, count) }
}

#[cfg(test)]
mod tests {
    use super::clip;

    #[test]
    fn clipping_keeps_what_is_inside() {
        for start in -7..9isize {
            for step in 1..4 {
                for count in 0..6 {
                    for size in 1..5 {
                        let inside: Vec<usize> = (0..count)
                            .filter(|&i| (0..size as isize).contains(&(start + (i * step) as isize)))
                            .collect();
                        let (first, end) = clip(start, step, count, size);
                        assert_eq!((first..end).collect::<Vec<_>>(), inside);
                    }
                }
            }
        }
    }
}
