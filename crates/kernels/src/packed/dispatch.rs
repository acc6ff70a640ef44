//! From an instruction set to its kernels, and the tiles that each set can hold in registers.

use super::element::kernels::Kernels;
use super::element::{CopyRow, StoreTile, SumTile};
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::isa::Isa;

/// The tiles of an instruction set.
#[derive(Clone, Copy, Debug)]
pub(super) struct TileLimits {
    /// Most blocks of output channels.
    pub blocks: usize,
    /// `(rows, most columns)`, most rows first; the last entry has one row.
    pub shapes: &'static [(usize, usize)],
}

impl TileLimits {
    pub(super) const fn of(isa: Isa) -> Self {
        match isa {
            Isa::Avx512 => Self { blocks: 2, shapes: &[(4, 3), (2, 7), (1, 14)] },
            Isa::Avx2 => Self { blocks: 1, shapes: &[(4, 1), (2, 3), (1, 6)] },
            Isa::Portable => Self { blocks: 1, shapes: &[(1, portable::COLUMNS)] },
        }
    }

    /// Most columns of a one-row tile.
    pub(super) const fn columns(&self) -> usize {
        self.shapes[self.shapes.len() - 1].1
    }

    /// Most rows of a tile of `columns` columns when `left` rows are left.
    pub(super) fn rows(&self, columns: usize, left: usize) -> usize {
        self.shapes.iter().find(|&&(rows, most)| rows <= left && columns <= most).map_or(1, |&(rows, _)| rows)
    }
}

macro_rules! kernels {
    ($t:ty, $module:ident) => {
        #[allow(private_interfaces)]
        impl Kernels for $t {
            fn sum_tile(isa: Isa, lanewise: bool, blocks: usize, rows: usize, columns: usize) -> Option<SumTile<$t>> {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => x86::$module::choose_avx512(lanewise, blocks, rows, columns),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => x86::$module::choose_avx2(lanewise, blocks, rows, columns),
                    _ => portable::$module::choose(lanewise, blocks, rows, columns),
                }
            }

            fn store_tile(isa: Isa) -> StoreTile<$t> {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => x86::$module::STORE_AVX512,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => x86::$module::STORE_AVX2,
                    _ => portable::$module::STORE,
                }
            }

            fn copy_row(isa: Isa) -> CopyRow<$t> {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => x86::$module::copy_avx512,
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => x86::$module::copy_avx2,
                    _ => portable::$module::copy_row,
                }
            }
        }
    };
}

kernels!(f64, double);
kernels!(f32, single);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tile_within_the_limits_has_a_kernel() {
        for isa in Isa::ALL {
            if cfg!(not(target_arch = "x86_64")) && isa != Isa::Portable {
                continue;
            }
            let limits = TileLimits::of(isa);
            for columns in 1..=limits.columns() {
                for left in 1..10 {
                    let rows = limits.rows(columns, left);
                    assert!(rows <= left);
                    for blocks in 1..=limits.blocks {
                        assert!(f64::sum_tile(isa, false, blocks, rows, columns).is_some());
                        assert!(f32::sum_tile(isa, false, blocks, rows, columns).is_some());
                    }
                    assert!(f64::sum_tile(isa, true, 1, rows, columns).is_some());
                    assert!(f32::sum_tile(isa, true, 1, rows, columns).is_some());
                }
            }
        }
    }
}
