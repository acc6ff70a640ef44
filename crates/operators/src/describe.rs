//! What an operator is made of, as bytes that only it has.

use crate::{LinearOperator, Workspace};

/// Takes the description of an operator, piece by piece, as bytes for a hash.
///
/// Every piece says how long it is before it begins, so two descriptions are the same bytes only if they are the same
/// pieces. Numbers are little-endian, whatever the machine.
pub struct Description<'a> {
    write: &'a mut dyn FnMut(&[u8]),
}

impl std::fmt::Debug for Description<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Description")
    }
}

/// Numbers that are written at once.
const BLOCK: usize = 512;

impl<'a> Description<'a> {
    /// A description whose bytes go to `write`.
    pub fn new(write: &'a mut dyn FnMut(&[u8])) -> Self {
        Self { write }
    }

    /// A word that says what follows.
    pub fn tag(&mut self, word: &str) {
        self.size(word.len());
        (self.write)(word.as_bytes());
    }

    /// A whole number.
    pub fn size(&mut self, n: usize) {
        (self.write)(&(n as u64).to_le_bytes());
    }

    /// Whole numbers, and how many.
    pub fn sizes(&mut self, sizes: &[usize]) {
        self.size(sizes.len());
        sizes.iter().for_each(|&n| self.size(n));
    }

    /// A real number, bit for bit.
    pub fn number(&mut self, x: f64) {
        (self.write)(&x.to_bits().to_le_bytes());
    }

    /// Real numbers, bit for bit, and how many.
    pub fn numbers(&mut self, numbers: impl ExactSizeIterator<Item = f64>) {
        self.size(numbers.len());
        let (mut block, mut filled) = ([0; 8 * BLOCK], 0);
        for x in numbers {
            block[filled..filled + 8].copy_from_slice(&x.to_bits().to_le_bytes());
            filled += 8;
            if filled == block.len() {
                (self.write)(&block);
                filled = 0;
            }
        }
        (self.write)(&block[..filled]);
    }

    /// An operator by its matrix, for kinds that know no shorter way.
    pub(crate) fn matrix(&mut self, operator: &(impl LinearOperator + ?Sized)) {
        self.tag("matrix");
        self.sizes(&[operator.rows(), operator.cols()]);
        let (mut row, mut ws) = (vec![0.0; operator.cols()], Workspace::new());
        for i in 0..operator.rows() {
            operator.row_into(i, &mut row, &mut ws);
            self.numbers(row.iter().copied());
        }
    }
}
