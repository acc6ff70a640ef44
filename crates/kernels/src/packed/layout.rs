//! The channel-blocked tensor layout.
//!
//! A tensor of `channels x height x width` is stored as `[ceil(channels / B)][height][width][B]` with `B` channels
//! side by side in one 64-byte line: 8 for `f64`, 16 for `f32`, on every instruction set. Lanes of channels that do
//! not exist hold zero; kernels keep them zero and never read them as input.

use super::Element;

/// Elements of a blocked tensor.
pub(super) fn blocked_len<T: Element>(channels: usize, height: usize, width: usize) -> usize {
    channels.div_ceil(T::BLOCK) * height * width * T::BLOCK
}

/// `[channels][pixels]` to `[blocks][pixels][B]`.
pub(super) fn pack<T: Element>(channels: usize, pixels: usize, plain: &[T], blocked: &mut [T]) {
    assert_eq!(plain.len(), channels * pixels, "the tensor does not have the length of the shape");
    assert_eq!(blocked.len(), blocked_len::<T>(channels, pixels, 1), "the blocked tensor has a wrong length");
    for (block, lines) in blocked.chunks_exact_mut(pixels * T::BLOCK).enumerate() {
        let first = block * T::BLOCK;
        let planes = &plain[first * pixels..(first + T::BLOCK).min(channels) * pixels];
        for (pixel, line) in lines.chunks_exact_mut(T::BLOCK).enumerate() {
            line.fill(T::ZERO);
            for (lane, plane) in line.iter_mut().zip(planes.chunks_exact(pixels)) {
                *lane = plane[pixel];
            }
        }
    }
}

/// `[blocks][pixels][B]` to `[channels][pixels]`.
pub(super) fn unpack<T: Element>(channels: usize, pixels: usize, blocked: &[T], plain: &mut [T]) {
    assert_eq!(plain.len(), channels * pixels, "the tensor does not have the length of the shape");
    assert_eq!(blocked.len(), blocked_len::<T>(channels, pixels, 1), "the blocked tensor has a wrong length");
    for (channel, plane) in plain.chunks_exact_mut(pixels).enumerate() {
        let lines = &blocked[channel / T::BLOCK * pixels * T::BLOCK..];
        for (value, line) in plane.iter_mut().zip(lines.chunks_exact(T::BLOCK)) {
            *value = line[channel % T::BLOCK];
        }
    }
}
