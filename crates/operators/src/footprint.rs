//! What an operator takes of memory, before it takes it.

use std::sync::Arc;

use crate::LinearOperator;

/// Memory of an operator and of its products. Upper bounds: what is counted is what the code allocates, at its longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes that it holds, or will once all is made that it makes at first use. Not those of its [parts](LinearOperator::parts).
    pub held: usize,
    /// Bytes that are there for a moment while something is made.
    pub making: usize,
    /// Elements of the longest vector of a product, between factors and in the layout of the kernels too.
    pub longest: usize,
    /// Vectors that one product takes from a workspace at once.
    pub vectors: usize,
    /// Elements of vectors that row norms make beside those.
    pub beside: usize,
    /// Bytes of scratch memory that kernels keep in a workspace, for each thread.
    pub scratch: usize,
}

impl Footprint {
    /// Of an operator whose products need nothing but their input and output; a row of it takes one vector more.
    #[must_use]
    pub fn plain(rows: usize, cols: usize) -> Self {
        Self { longest: rows.max(cols), vectors: 1, ..Self::default() }
    }

    /// Of an operator whose products are those of its parts, one after the other, with `vectors` of its own.
    #[must_use]
    pub fn around(parts: &[Arc<dyn LinearOperator>], vectors: usize) -> Self {
        let of_parts = parts.iter().map(|part| part.footprint()).fold(Self::default(), Self::at_most);
        Self { held: size_of_val(parts), vectors: of_parts.vectors + vectors, ..of_parts }
    }

    /// The larger of each.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        Self {
            held: self.held.max(other.held),
            making: self.making.max(other.making),
            longest: self.longest.max(other.longest),
            vectors: self.vectors.max(other.vectors),
            beside: self.beside.max(other.beside),
            scratch: self.scratch.max(other.scratch),
        }
    }
}
