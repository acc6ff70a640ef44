//! A fixed-length buffer on a 64-byte boundary, in huge pages where the system offers them.
//!
//! Vectors of 512 bits on such a boundary never straddle two cache lines, and a layer's weights of 19 MB take ten
//! entries of the address-translation cache instead of 4,700.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// One cache line, one 512-bit vector.
const LINE: usize = 64;
/// A huge page of x86-64 and of the usual AArch64 configuration.
const HUGE_PAGE: usize = 2 << 20;

/// Types whose all-zero bytes are the value zero.
///
/// # Safety
/// All-zero bytes must be a valid value.
pub unsafe trait Zeroable: Copy {}
// SAFETY: positive zero is all zero bytes.
unsafe impl Zeroable for f32 {}
// SAFETY: positive zero is all zero bytes.
unsafe impl Zeroable for f64 {}
// SAFETY: every byte is a valid value.
unsafe impl Zeroable for u8 {}

/// A zero-initialised slice of fixed length, aligned to 64 bytes (to 2 MiB and asking for huge pages from 2 MiB on).
#[derive(Debug)]
pub struct AlignedVec<T: Zeroable> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: an `AlignedVec` owns its memory exclusively, as `Vec` does, and its elements are plain numbers.
unsafe impl<T: Zeroable + Send> Send for AlignedVec<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Zeroable + Sync> Sync for AlignedVec<T> {}

impl<T: Zeroable> AlignedVec<T> {
    /// `len` zeros.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let layout = Self::layout(len);
        if layout.size() == 0 {
            return Self { start: NonNull::dangling(), len };
        }
        // SAFETY: the layout has a non-zero size.
        let raw = unsafe {
            if layout.align() == HUGE_PAGE {
                let raw = alloc(layout);
                if !raw.is_null() {
                    prefer_huge_pages(raw, layout.size());
                    raw.write_bytes(0, layout.size());
                }
                raw
            } else {
                alloc_zeroed(layout)
            }
        };
        let Some(start) = NonNull::new(raw.cast::<T>()) else { handle_alloc_error(layout) };
        Self { start, len }
    }

    /// A copy of `values`.
    #[must_use]
    pub fn from_slice(values: &[T]) -> Self {
        let mut copy = Self::zeroed(values.len());
        copy.copy_from_slice(values);
        copy
    }

    fn layout(len: usize) -> Layout {
        let bytes = Layout::array::<T>(len).expect("a buffer is smaller than the address space");
        let align = if bytes.size() >= HUGE_PAGE { HUGE_PAGE } else { LINE };
        bytes.align_to(align).expect("a power of two")
    }
}

/// Asks the kernel to back the range with huge pages; a refusal changes speed only.
fn prefer_huge_pages(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the range is one live allocation, and this advice never changes its contents.
    unsafe {
        libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

impl<T: Zeroable> Drop for AlignedVec<T> {
    fn drop(&mut self) {
        let layout = Self::layout(self.len);
        if layout.size() > 0 {
            // SAFETY: `start` came from `alloc` or `alloc_zeroed` with this very layout.
            unsafe { dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

impl<T: Zeroable> Deref for AlignedVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `start` points to `len` initialised elements (or dangles, aligned, with no bytes behind it).
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> DerefMut for AlignedVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zeroable> Clone for AlignedVec<T> {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl<T: Zeroable> Default for AlignedVec<T> {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zero_and_aligned() {
        for len in [0, 1, 7, 1000, 300_000] {
            let mut buffer = AlignedVec::<f64>::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|&v| v == 0.0));
            if len > 0 {
                assert_eq!(buffer.as_ptr() as usize % 64, 0);
                buffer[len - 1] = 3.0;
            }
            assert_eq!(&buffer.clone()[..], &buffer[..]);
        }
    }
}
