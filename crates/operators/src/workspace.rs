//! Scratch memory that outlives a step, and the threads that a step may use.

use std::sync::{Mutex, PoisonError};

use lipbound_kernels::{gemv::GemvScratch, isa::Isa, packed::Scratch, pool::Threads};

/// Reusable buffers and threads. [`take`](Self::take) a buffer, [`give`](Self::give) it back: after the first step of
/// an iteration nothing is allocated any more.
///
/// Threads travel here, and not in the operators, since they belong to a computation: the same operator may serve
/// several at once. They change no result, bit for bit; work that is too small for them stays on the calling thread.
#[derive(Debug)]
pub struct Workspace {
    free: Vec<Vec<f64>>,
    threads: Threads,
    conv: Scratch,
    gemv: GemvScratch,
    /// One for each thread, without threads of their own.
    shares: Vec<Mutex<Workspace>>,
}

impl Default for Workspace {
    fn default() -> Self {
        Self::with_threads(Threads::serial())
    }
}

impl Workspace {
    /// An empty workspace of one thread.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty workspace whose large products are shared between `threads`.
    #[must_use]
    pub fn with_threads(threads: Threads) -> Self {
        Self { free: Vec::new(), threads, conv: Scratch::new(), gemv: GemvScratch::new(), shares: Vec::new() }
    }

    /// The threads.
    #[must_use]
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Calls `work(item, workspace)` once for every item below `items`, in any order, on all threads: each has a workspace
    /// to itself, whose products stay on that thread. For several products that are too small to be shared well.
    pub fn share(&mut self, items: usize, work: impl Fn(usize, &mut Self) + Sync) {
        self.shares.resize_with(self.threads.count().max(self.shares.len()), Mutex::default);
        let shares = &self.shares;
        self.threads.run(items, |slot, item| {
            // What a panic leaves in a workspace is of unspecified value, like all that is in it.
            work(item, &mut shares[slot].lock().unwrap_or_else(PoisonError::into_inner));
        });
    }

    /// How many tiles of convolutions the kernels of `isa` have computed with this workspace: counted inside the
    /// kernels, so it proves which ones ran.
    #[must_use]
    pub fn tiles_computed(&self, isa: Isa) -> u64 {
        self.conv.tiles_computed(isa)
    }

    /// What the convolution kernels ask for.
    pub(crate) fn for_conv(&mut self) -> (&Threads, &mut Scratch) {
        (&self.threads, &mut self.conv)
    }

    /// What the dense kernels ask for.
    pub(crate) fn for_gemv(&mut self) -> (&Threads, &mut GemvScratch) {
        (&self.threads, &mut self.gemv)
    }

    /// A buffer of `len` elements of unspecified value.
    #[must_use]
    pub fn take(&mut self, len: usize) -> Vec<f64> {
        let fit =
            (0..self.free.len()).filter(|&i| self.free[i].capacity() >= len).min_by_key(|&i| self.free[i].capacity());
        if let Some(i) = fit {
            let mut buffer = self.free.swap_remove(i);
            buffer.resize(len, 0.0);
            return buffer;
        }
        // In place of the largest, which goes first: what is in it is of no value, and a buffer that grew would be longer.
        if let Some(largest) = (0..self.free.len()).max_by_key(|&i| self.free[i].capacity()) {
            self.free.swap_remove(largest);
        }
        vec![0.0; len]
    }

    /// Bytes that are kept for reuse, without those that are taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of_shares = self.shares.iter().map(|share| share.lock().unwrap_or_else(PoisonError::into_inner).bytes());
        let free: usize = self.free.iter().map(Vec::capacity).sum();
        free * size_of::<f64>() + self.conv.bytes() + self.gemv.bytes() + of_shares.sum::<usize>()
    }

    /// Frees everything, if more is kept than `bytes`.
    pub fn trim(&mut self, bytes: usize) {
        if self.bytes() > bytes {
            *self = Self::with_threads(self.threads.clone());
        }
    }

    /// A buffer of `len` zeros.
    #[must_use]
    pub fn zeros(&mut self, len: usize) -> Vec<f64> {
        let mut buffer = self.take(len);
        buffer.fill(0.0);
        buffer
    }

    /// Returns a buffer for reuse.
    pub fn give(&mut self, buffer: Vec<f64>) {
        self.free.push(buffer);
    }
}
