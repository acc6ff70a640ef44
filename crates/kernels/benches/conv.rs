//! The convolutions of AlexNet and VGG-16 (224 x 224 images), as the Lanczos process uses them: forward and adjoint,
//! with masks on both sides, the recurrence and the norm fused, in f64 and f32.
//!
//! `cargo bench -p lipbound-kernels --bench conv` lets criterion time each layer with all threads, then prints a table:
//! GFLOP/s (2 for each product inside or outside the image, as is usual) and the ratio to the multiply-add peak of the
//! same number of threads, measured in the same run, in turns with the layer. On a machine that does other things,
//! the best of several turns is what the machine can do; both the layer's and the peak's best are taken.
//! `LIPBOUND_ISA`, `LIPBOUND_THREADS` and criterion's filter apply; `LIPBOUND_BENCH_TURNS` (default 12) sets the turns.

use criterion::{Criterion, Throughput};
use lipbound_kernels::ConvShape;
use lipbound_kernels::aligned::{AlignedVec, Zeroable};
use lipbound_kernels::isa::Isa;
use lipbound_kernels::packed::{Element, Fused, PackedConv, Scratch};
use lipbound_kernels::pool::Threads;
use std::hint::black_box;
use std::time::{Duration, Instant};

const fn conv(input: usize, output: usize, size: usize, kernel: usize, stride: usize, padding: usize) -> ConvShape {
    ConvShape {
        in_channels: input,
        in_height: size,
        in_width: size,
        out_channels: output,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 4],
        dilation: [1; 2],
        groups: 1,
    }
}

/// Equal layers once.
const LAYERS: [(&str, ConvShape); 14] = [
    ("alexnet-1", conv(3, 64, 224, 11, 4, 2)),
    ("alexnet-2", conv(64, 192, 27, 5, 1, 2)),
    ("alexnet-3", conv(192, 384, 13, 3, 1, 1)),
    ("alexnet-4", conv(384, 256, 13, 3, 1, 1)),
    ("alexnet-5", conv(256, 256, 13, 3, 1, 1)),
    ("vgg16-1.1", conv(3, 64, 224, 3, 1, 1)),
    ("vgg16-1.2", conv(64, 64, 224, 3, 1, 1)),
    ("vgg16-2.1", conv(64, 128, 112, 3, 1, 1)),
    ("vgg16-2.2", conv(128, 128, 112, 3, 1, 1)),
    ("vgg16-3.1", conv(128, 256, 56, 3, 1, 1)),
    ("vgg16-3.2", conv(256, 256, 56, 3, 1, 1)),
    ("vgg16-4.1", conv(256, 512, 28, 3, 1, 1)),
    ("vgg16-4.2", conv(512, 512, 28, 3, 1, 1)),
    ("vgg16-5", conv(512, 512, 14, 3, 1, 1)),
];

/// Independent chains of fused multiply-adds in registers: as fast as the processor can.
mod peak {
    use super::{Element, Instant, Isa, Threads, black_box};

    const CHAINS: usize = 12;
    const ROUNDS: usize = 250_000;

    #[cfg(target_arch = "x86_64")]
    mod x86 {
        use super::{CHAINS, ROUNDS, black_box};
        use std::arch::x86_64::*;

        macro_rules! chains {
            ($name:ident, $feature:literal, $broadcast:ident, $fmadd:ident) => {
                #[target_feature(enable = $feature)]
                pub fn $name() {
                    let (x, y) = ($broadcast(black_box(0.999)), $broadcast(black_box(0.001)));
                    let mut chains = [x; CHAINS];
                    for _ in 0..ROUNDS {
                        for chain in &mut chains {
                            *chain = $fmadd(*chain, x, y);
                        }
                    }
                    black_box(chains);
                }
            };
        }
        chains!(wide, "avx512f", _mm512_set1_pd, _mm512_fmadd_pd);
        chains!(narrow, "avx2,fma", _mm256_set1_pd, _mm256_fmadd_pd);
    }

    /// Plain Rust: the peak of the portable path, which multiplies and adds separately on x86.
    fn plain() {
        let (x, y) = (black_box([0.999f64; 2]), black_box([0.001f64; 2]));
        let mut chains = [x; CHAINS];
        for _ in 0..ROUNDS {
            for chain in &mut chains {
                for lane in 0..2 {
                    chain[lane] = chain[lane] * x[lane] + y[lane];
                }
            }
        }
        black_box(chains);
    }

    /// GFLOP/s of all threads together.
    pub fn measure<T: Element>(isa: Isa, threads: &Threads) -> f64 {
        let start = Instant::now();
        threads.run(threads.count() * 4, |_, _| match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Isa::selected` gives sets that this processor has.
            Isa::Avx512 => unsafe { x86::wide() },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { x86::narrow() },
            _ => plain(),
        });
        let lanes = match isa {
            Isa::Avx512 => 8,
            Isa::Avx2 => 4,
            Isa::Portable => 2,
        } * T::BLOCK
            / 8;
        let flops = 2 * lanes * CHAINS * ROUNDS * 4 * threads.count();
        flops as f64 / start.elapsed().as_secs_f64() / 1e9
    }
}

/// One layer with its vectors and masks.
struct Layer<T: Element + Zeroable> {
    conv: PackedConv<T>,
    x: AlignedVec<T>,
    y: AlignedVec<T>,
    input_mask: AlignedVec<T>,
    output_mask: AlignedVec<T>,
    a: T,
    b: T,
    flops: f64,
}

impl<T: Element + From<f32>> Layer<T> {
    fn new(shape: &ConvShape, isa: Isa) -> Self {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        let size = (6.0 / shape.fan_in() as f32).sqrt();
        let weights: Vec<f32> = (0..shape.weight_len()).map(|_| next() * size).collect();
        let conv = PackedConv::<T>::new(shape, &weights, isa).expect("a layer of a known network");
        let mut filled = |len: usize, mask: bool| {
            let plain: Vec<T> =
                (0..len).map(|_| next()).map(|v| T::from(if mask { f32::from(v > 0.0) } else { v })).collect();
            plain
        };
        let (input, output) = (shape.input_len(), shape.output_len());
        let mut layer = Self {
            x: AlignedVec::zeroed(conv.input_len()),
            y: AlignedVec::zeroed(conv.output_len()),
            input_mask: AlignedVec::zeroed(conv.input_len()),
            output_mask: AlignedVec::zeroed(conv.output_len()),
            conv,
            a: T::from(0.5),
            b: T::from(0.25),
            flops: 2.0 * shape.multiply_adds() as f64,
        };
        layer.conv.pack_input(&filled(input, false), &mut layer.x);
        layer.conv.pack_output(&filled(output, false), &mut layer.y);
        layer.conv.pack_input(&filled(input, true), &mut layer.input_mask);
        layer.conv.pack_output(&filled(output, true), &mut layer.output_mask);
        layer
    }

    /// `u <- R (A v) a - b u`: a mask on the left is enough, `v` respects its own.
    fn forward(&mut self, threads: &Threads, scratch: &mut Scratch) -> f64 {
        let fused = Fused { scale: Some(&self.output_mask[..]), a: self.a, b: self.b, ..Fused::default() };
        self.conv.forward(&self.x, &mut self.y, &fused, threads, scratch)
    }

    /// `v <- D (A^T R u) a - b v`, as for an `R` that is no mask.
    fn adjoint(&mut self, threads: &Threads, scratch: &mut Scratch) -> f64 {
        let fused =
            Fused { input_scale: Some(&self.output_mask[..]), scale: Some(&self.input_mask[..]), a: self.a, b: self.b };
        self.conv.adjoint(&self.y, &mut self.x, &fused, threads, scratch)
    }
}

fn seconds(work: impl FnOnce() -> f64) -> f64 {
    let start = Instant::now();
    black_box(work());
    start.elapsed().as_secs_f64()
}

/// Best times of a layer against the best peak, in turns; one line of the table.
fn compare<T: Element + From<f32>>(name: &str, shape: &ConvShape, isa: Isa, all: &Threads, turns: usize) {
    let mut layer = Layer::<T>::new(shape, isa);
    let mut scratch = Scratch::new();
    print!("{name:<16}");
    for threads in [&Threads::serial(), all] {
        let (mut best, mut forward, mut adjoint) = (0.0f64, f64::INFINITY, f64::INFINITY);
        for _ in 0..turns {
            best = best.max(peak::measure::<T>(isa, threads));
            forward = forward.min(seconds(|| layer.forward(threads, &mut scratch)));
            adjoint = adjoint.min(seconds(|| layer.adjoint(threads, &mut scratch)));
        }
        let column = |time: f64| {
            let speed = layer.flops / time / 1e9;
            format!("{:8.2} ms {speed:6.1} {:4.0}%", time * 1e3, 100.0 * speed / best)
        };
        print!(" | {} thr. peak {best:5.1} | {} | {}", threads.count(), column(forward), column(adjoint));
        if all.count() == 1 {
            break;
        }
    }
    println!();
}

fn time<T: Element + From<f32>>(criterion: &mut Criterion, name: &str, shape: &ConvShape, isa: Isa, all: &Threads) {
    let mut layer = Layer::<T>::new(shape, isa);
    let mut scratch = Scratch::new();
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(layer.flops as u64));
    group.bench_function("forward", |bencher| bencher.iter(|| layer.forward(all, &mut scratch)));
    group.bench_function("adjoint", |bencher| bencher.iter(|| layer.adjoint(all, &mut scratch)));
    group.finish();
}

fn main() {
    let isa = Isa::selected().expect("LIPBOUND_ISA");
    let all = Threads::from_environment().expect("LIPBOUND_THREADS");
    let turns = std::env::var("LIPBOUND_BENCH_TURNS").ok().and_then(|t| t.parse().ok()).unwrap_or(12);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(700))
        .configure_from_args();
    for (name, shape) in &LAYERS {
        time::<f64>(&mut criterion, &format!("{name}/f64"), shape, isa, &all);
        time::<f32>(&mut criterion, &format!("{name}/f32"), shape, isa, &all);
    }
    criterion.final_summary();

    // `cargo test --benches` and `cargo bench -- --list` stop here.
    if std::env::args().any(|a| a == "--test" || a == "--list") || !std::env::args().any(|a| a == "--bench") {
        return;
    }
    println!(
        "\n{isa}: best of {turns} turns; GFLOP/s and part of the multiply-add peak, forward | adjoint, masks included"
    );
    for (name, shape) in &LAYERS {
        compare::<f64>(&format!("{name} f64"), shape, isa, &all, turns);
        compare::<f32>(&format!("{name} f32"), shape, isa, &all, turns);
    }
}
