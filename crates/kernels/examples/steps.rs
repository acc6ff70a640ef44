//! Times steps of the Lanczos process for `benchmark/peers`: a convolution and its adjoint, with masks, recurrence and
//! norms fused.
//!
//! Reads lines `out in kernel stride padding height width` (square kernels), and answers each with the milliseconds of a
//! step in f64 and in f32, medians of a few.

use std::{
    io::{BufRead, Write},
    time::Instant,
};

use lipbound_kernels::{
    ConvShape,
    aligned::{AlignedVec, Zeroable},
    isa::Isa,
    packed::{Element, Fused, PackedConv, Scratch},
    pool::Threads,
};

const WARM_UP: usize = 2;
const REPEATS: usize = 9;

fn milliseconds<T: Element + Zeroable + From<f32>>(shape: &ConvShape, isa: Isa, threads: &Threads) -> f64 {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    // He's size keeps the iterates near one.
    let size = (6.0 / shape.fan_in() as f32).sqrt();
    let weights: Vec<f32> = (0..shape.weight_len()).map(|_| next() * size).collect();
    let conv = PackedConv::<T>::new(shape, &weights, isa).expect("a convolution");
    let mut filled = |len: usize| {
        let mut values = AlignedVec::<T>::zeroed(len);
        values.iter_mut().for_each(|v| *v = T::from(next()));
        values
    };
    let (mut x, mut y) = (filled(conv.input_len()), filled(conv.output_len()));
    let (inputs, outputs) = (filled(conv.input_len()), filled(conv.output_len()));
    let mut scratch = Scratch::default();
    let (a, b) = (T::from(0.25), T::from(0.125));
    let mut times = Vec::new();
    for _ in 0..WARM_UP + REPEATS {
        let begin = Instant::now();
        let to_outputs = Fused { input_scale: Some(&inputs), scale: Some(&outputs), a, b };
        conv.forward(&x, &mut y, &to_outputs, threads, &mut scratch);
        let to_inputs = Fused { input_scale: Some(&outputs), scale: Some(&inputs), a, b };
        conv.adjoint(&y, &mut x, &to_inputs, threads, &mut scratch);
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let times = &mut times[WARM_UP..];
    times.sort_by(f64::total_cmp);
    times[REPEATS / 2]
}

fn main() {
    let isa = Isa::selected().expect("LIPBOUND_ISA names what this processor has");
    let threads = Threads::from_environment().expect("LIPBOUND_THREADS is a number of threads");
    for line in std::io::stdin().lock().lines() {
        let numbers: Vec<usize> = line
            .expect("standard input can be read")
            .split_whitespace()
            .map(|word| word.parse().expect("whole numbers"))
            .collect();
        let [out_channels, in_channels, kernel, stride, padding, in_height, in_width] = numbers[..] else {
            panic!("expected: out in kernel stride padding height width");
        };
        let shape = ConvShape {
            in_channels,
            in_height,
            in_width,
            out_channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 4],
            dilation: [1; 2],
            groups: 1,
        };
        let wide = milliseconds::<f64>(&shape, isa, &threads);
        let narrow = milliseconds::<f32>(&shape, isa, &threads);
        println!("{wide} {narrow}");
        std::io::stdout().flush().expect("standard output can be written");
    }
}
