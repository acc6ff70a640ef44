//! Dense products at the sizes of AlexNet's, VGG-16's and smaller heads, beside the speed at which the same memory is
//! read, measured in turns. `LIPBOUND_ISA` and `LIPBOUND_THREADS` apply.

use criterion::{Criterion, Throughput};
use lipbound_kernels::aligned::{AlignedVec, Zeroable};
use lipbound_kernels::gemv::{Gemv, GemvScratch, Stored};
use lipbound_kernels::isa::Isa;
use lipbound_kernels::pool::Threads;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rows and columns.
const SIZES: [(usize, usize); 4] = [(4096, 25088), (4096, 9216), (1000, 4096), (512, 1600)];

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn read<W: Copy + Sync>(words: &[W], threads: &Threads, widen: impl Fn(W) -> u64 + Sync) {
    let part = words.len() / 64;
    threads.run(64, |_, item| {
        let mut sums = [0u64; 32];
        for chunk in words[item * part..(item + 1) * part].chunks_exact(32) {
            for (sum, &word) in sums.iter_mut().zip(chunk) {
                *sum ^= widen(word);
            }
        }
        black_box(sums);
    });
}

fn run<W: Stored + Zeroable>(
    criterion: &mut Criterion,
    name: &str,
    convert: impl Fn(f64) -> W,
    bits: impl Fn(W) -> u64 + Sync,
    isa: Isa,
    threads: &Threads,
) {
    for (rows, columns) in SIZES {
        let gemv = Gemv::new(rows, columns, isa).expect("a set that this processor has");
        let mut a = AlignedVec::<W>::zeroed(rows * columns);
        a.iter_mut().enumerate().for_each(|(i, a)| *a = convert(((i % 1999) as f64).sin()));
        let (x, mut y, mut z) = (vec![1.0; columns], vec![0.0; rows], vec![0.0; columns]);
        let mut scratch = GemvScratch::new();
        let mut group = criterion.benchmark_group(format!("{rows}x{columns}/{name}"));
        group.throughput(Throughput::Bytes((rows * columns * size_of::<W>()) as u64));
        group.bench_function("apply", |b| b.iter(|| gemv.apply(&a, &x, &mut y, threads)));
        group.bench_function("adjoint", |b| b.iter(|| gemv.apply_adjoint(&a, &y, &mut z, threads, &mut scratch)));
        group.bench_function("gram", |b| {
            b.iter(|| gemv.gram_apply(&a, None, &x, &mut y, &mut z, threads, &mut scratch));
        });
        group.finish();
        let mut best = [f64::INFINITY; 4];
        for _ in 0..10 {
            let times = [
                seconds(|| read(&a, threads, &bits)),
                seconds(|| gemv.apply(&a, &x, &mut y, threads)),
                seconds(|| gemv.apply_adjoint(&a, &y, &mut z, threads, &mut scratch)),
                seconds(|| gemv.gram_apply(&a, None, &x, &mut y, &mut z, threads, &mut scratch)),
            ];
            best.iter_mut().zip(times).for_each(|(b, t)| *b = b.min(t));
        }
        let speed = best.map(|t| (rows * columns * size_of::<W>()) as f64 / t / 1e9);
        println!(
            "{rows}x{columns} {name}, GB/s of matrix: read {:.1}, apply {:.1}, adjoint {:.1}, gram {:.1}\n",
            speed[0], speed[1], speed[2], speed[3]
        );
    }
}

fn main() {
    // Matrices of 800 MB are no test: `cargo test --benches` only makes sure that this compiles.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let isa = Isa::selected().expect("LIPBOUND_ISA");
    let threads = Threads::from_environment().expect("LIPBOUND_THREADS");
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .configure_from_args();
    run::<f64>(&mut criterion, "f64", |v| v, f64::to_bits, isa, &threads);
    run::<f32>(&mut criterion, "f32", |v| v as f32, |v| u64::from(v.to_bits()), isa, &threads);
    criterion.final_summary();
}
