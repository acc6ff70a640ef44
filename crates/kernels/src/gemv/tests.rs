use super::*;

/// Sizes around every cut: lanes, groups, panels, pieces, threads.
const SIZES: [(usize, usize); 16] = [
    (0, 5),
    (5, 0),
    (1, 1),
    (3, 17),
    (4, 16),
    (9, 15),
    (13, 100),
    (100, 13),
    (257, 33),
    (1, 4000),
    (4000, 1),
    (64, 3000),
    (700, 700),
    (5000, 40),
    (37, 4111),
    (1500, 1537),
];

fn numbers(len: usize, seed: f64) -> Vec<f64> {
    (0..len).map(|i| f64::from(((i as f64 + seed) * 12.9898).sin() as f32)).collect()
}

fn close(given: &[f64], expected: &[f64], size: &[f64], m: usize) {
    assert_eq!(given.len(), expected.len());
    for ((g, e), s) in given.iter().zip(expected).zip(size) {
        assert!((g - e).abs() <= (m as f64 + 3.0) * f64::EPSILON / 2.0 * s + 2e-14 * s, "{g} for {e}");
    }
}

fn check<W: Stored>(convert: impl Fn(f64) -> W) {
    for (rows, columns) in SIZES {
        let wide = numbers(rows * columns, 0.5);
        let a: Vec<W> = wide.iter().map(|&v| convert(v)).collect();
        let (x, y, s) = (numbers(columns, 7.0), numbers(rows, 9.0), numbers(rows, 11.0));
        let at = |i: usize, j: usize| wide[i * columns + j];
        let forward = |f: &dyn Fn(f64) -> f64| -> Vec<f64> {
            (0..rows).map(|i| (0..columns).map(|j| f(at(i, j) * x[j])).sum()).collect()
        };
        let adjoint = |y: &[f64], f: &dyn Fn(f64) -> f64| -> Vec<f64> {
            (0..columns).map(|j| (0..rows).map(|i| f(at(i, j) * y[i])).sum()).collect()
        };
        let (same, abs) = (|v: f64| v, |v: f64| v.abs());
        let (ax, ax_size) = (forward(&same), forward(&abs));
        let (aty, aty_size) = (adjoint(&y, &same), adjoint(&y, &abs));
        let st: Vec<f64> = ax.iter().zip(&s).map(|(t, s)| t * s).collect();
        let st_size: Vec<f64> = ax_size.iter().zip(&s).map(|(t, s)| t * s.abs()).collect();
        let gram = adjoint(&st, &same);
        let gram_size: Vec<f64> = (0..columns).map(|j| (0..rows).map(|i| at(i, j).abs() * st_size[i]).sum()).collect();
        for isa in Isa::supported() {
            let gemv = Gemv::new(rows, columns, isa).unwrap();
            let (m, mt) = (gemv.accumulation_length(), gemv.adjoint_accumulation_length());
            let mut results = Vec::new();
            for count in [1, 2, 5] {
                let threads = Threads::new(count).unwrap();
                let mut scratch = GemvScratch::new();
                let nan = |n: usize| vec![f64::NAN; n];
                let (mut u, mut v, mut t, mut w) = (nan(rows), nan(columns), nan(rows), nan(columns));
                gemv.apply(&a, &x, &mut u, &threads);
                gemv.apply_adjoint(&a, &y, &mut v, &threads, &mut scratch);
                gemv.gram_apply(&a, Some(&s), &x, &mut t, &mut w, &threads, &mut scratch);
                close(&u, &ax, &ax_size, m);
                close(&v, &aty, &aty_size, mt);
                close(&w, &gram, &gram_size, m + gemv.gram_accumulation_length());
                assert_eq!(t, u);
                results.push([u, v, t, w].map(|v| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>()));
            }
            assert!(results.windows(2).all(|r| r[0] == r[1]), "{rows}x{columns} on {isa}: threads change bits");
            let mut plain = vec![f64::NAN; columns];
            let mut t = vec![f64::NAN; rows];
            let ones = vec![1.0; rows];
            let mut with_ones = vec![f64::NAN; columns];
            let (threads, mut scratch) = (Threads::serial(), GemvScratch::new());
            gemv.gram_apply(&a, None, &x, &mut t, &mut plain, &threads, &mut scratch);
            gemv.gram_apply(&a, Some(&ones), &x, &mut t, &mut with_ones, &threads, &mut scratch);
            assert_eq!(plain, with_ones);
        }
    }
}

#[test]
fn products_of_matrices_stored_in_f64() {
    check(|v| v);
}

#[test]
fn products_of_matrices_stored_in_f32() {
    check(|v| v as f32);
}
