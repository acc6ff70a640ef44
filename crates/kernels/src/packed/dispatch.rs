//! From an instruction set to its kernels, and the tiles that each set can hold in registers.

use super::element::kernels::Kernels;
use super::element::{CopyRow, Element, StoreTile, Style, SumTile, TileShape};
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::isa::Isa;

/// The tiles that an instruction set has in a style.
#[derive(Clone, Copy, Debug)]
pub(super) struct TileLimits {
    /// `(rows, most columns)`, most rows first; the last entry has one row.
    shapes: [(usize, usize); 3],
}

/// Blocks of output channels that a tile of an instruction set covers at best.
pub(super) const fn blocks_at_once(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 => 2,
        Isa::Avx2 | Isa::Portable => 1,
    }
}

/// Pixels that one vector of a planar tile covers.
pub(super) const fn planar_lanes<T: Element>(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 | Isa::Portable => T::BLOCK,
        Isa::Avx2 => T::BLOCK / 2,
    }
}

/// Most vectors of pixels of a planar tile.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "only vector kernels have channels"))]
const fn planar_vectors(isa: Isa, channels: usize) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => x86::PLANAR_AVX512[channels - 1],
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => x86::PLANAR_AVX2[channels - 1],
        _ => 1,
    }
}

impl TileLimits {
    pub(super) const fn of<T: Element>(isa: Isa, style: Style) -> Self {
        let shapes = match (style, isa) {
            (Style::Planar { channels }, _) => [(1, planar_vectors(isa, channels) * planar_lanes::<T>(isa)); 3],
            (_, Isa::Avx512) => [(4, 3), (2, 7), (1, 14)],
            (_, Isa::Avx2) => [(4, 1), (2, 3), (1, 6)],
            (_, Isa::Portable) => [(1, portable::COLUMNS); 3],
        };
        Self { shapes }
    }

    /// Most columns of a one-row tile.
    pub(super) const fn columns(&self) -> usize {
        self.shapes[2].1
    }

    /// Most pixels of a tile.
    pub(super) fn pixels(&self) -> usize {
        self.shapes.iter().map(|(rows, columns)| rows * columns).max().unwrap_or(1)
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
            fn sum_tile(isa: Isa, shape: TileShape) -> Option<SumTile<$t>> {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => x86::$module::choose_avx512(shape),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => x86::$module::choose_avx2(shape),
                    _ => portable::$module::choose(shape),
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
    use crate::packed::element::MAX_PLANES;

    fn check<T: Element>(isa: Isa, style: Style) {
        let limits = TileLimits::of::<T>(isa, style);
        for columns in 1..=limits.columns() {
            for left in 1..10 {
                let rows = limits.rows(columns, left);
                assert!(rows <= left && rows * columns <= limits.pixels());
                let shape = TileShape { style, rows, columns };
                assert!(T::sum_tile(isa, shape).is_some(), "{isa} has no kernel for {shape:?}");
            }
        }
    }

    #[test]
    fn every_tile_within_the_limits_has_a_kernel() {
        for isa in Isa::ALL {
            if cfg!(not(target_arch = "x86_64")) && isa != Isa::Portable {
                continue;
            }
            let channels = (1..=blocks_at_once(isa)).map(|blocks| Style::Channels { blocks });
            let planar = (1..=MAX_PLANES).map(|channels| Style::Planar { channels });
            for style in channels.chain(planar).chain([Style::Lanewise]) {
                check::<f64>(isa, style);
                check::<f32>(isa, style);
            }
        }
    }
}
