//! The packed convolution against the textbook loop, on every instruction set of this processor.

use lipbound_kernels::isa::Isa;
use lipbound_kernels::packed::{Element, Fused, PackError, PackedConv, Scratch};
use lipbound_kernels::pool::Threads;
use lipbound_kernels::{ConvShape, reference};

/// A small linear congruential generator: the same shapes and numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Numbers that `f32` holds exactly, so that both number types see the same problem.
    fn vector(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0).collect()
    }
}

trait Number: Element {
    fn from_f64(value: f64) -> Self;
}

impl Number for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
}

impl Number for f32 {
    fn from_f64(value: f64) -> Self {
        value as Self
    }
}

fn narrow<T: Number>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&v| T::from_f64(v)).collect()
}

fn widen<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.widen()).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// One random problem with its exact answers (to f64), and the sums of absolute products that bound the errors.
struct Problem {
    shape: ConvShape,
    weights: Vec<f64>,
    x: Vec<f64>,
    y: Vec<f64>,
    input_scale: Vec<f64>,
    output_scale: Vec<f64>,
    /// `A (D x)`, `A^T (R y)`, and the same with absolute values.
    forward: Vec<f64>,
    adjoint: Vec<f64>,
    forward_size: Vec<f64>,
    adjoint_size: Vec<f64>,
}

impl Problem {
    fn new(shape: ConvShape, random: &mut Random) -> Self {
        let weights = random.vector(shape.weight_len());
        let x = random.vector(shape.input_len());
        let y = random.vector(shape.output_len());
        // Masks, and scales that are no masks.
        let mut scale = |n: usize| (0..n).map(|_| random.pick(&[0.0, 1.0, 1.0, 0.5, 0.75])).collect::<Vec<_>>();
        let (input_scale, output_scale) = (scale(x.len()), scale(y.len()));
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
        let abs = |a: &[f64]| a.iter().map(|a| a.abs()).collect::<Vec<_>>();
        let (dx, ry) = (product(&x, &input_scale), product(&y, &output_scale));
        let mut problem = Self {
            forward: vec![0.0; y.len()],
            forward_size: vec![0.0; y.len()],
            adjoint: vec![0.0; x.len()],
            adjoint_size: vec![0.0; x.len()],
            shape,
            weights,
            x,
            y,
            input_scale,
            output_scale,
        };
        reference::forward(&shape, &problem.weights, &dx, &mut problem.forward);
        reference::adjoint(&shape, &problem.weights, &ry, &mut problem.adjoint);
        reference::forward(&shape, &abs(&problem.weights), &abs(&dx), &mut problem.forward_size);
        reference::adjoint(&shape, &abs(&problem.weights), &abs(&ry), &mut problem.adjoint_size);
        problem
    }

    fn check<T: Number>(&self, isa: Isa, threads: &Threads, scratch: &mut Scratch) {
        let name = format!("{:?} on {isa}, blocks of {}", self.shape, T::BLOCK);
        let conv = PackedConv::<T>::new(&self.shape, &narrow::<T>(&self.weights), isa).expect(&name);
        let input = |chw: &[f64]| {
            let mut out = vec![T::from_f64(f64::NAN); conv.input_len()];
            conv.pack_input(&narrow(chw), &mut out);
            out
        };
        let output = |chw: &[f64]| {
            let mut out = vec![T::from_f64(f64::NAN); conv.output_len()];
            conv.pack_output(&narrow(chw), &mut out);
            out
        };
        let (x, y) = (input(&self.x), output(&self.y));
        let (d, r) = (input(&self.input_scale), output(&self.output_scale));
        // Everything exact in both number types but the products and sums.
        let (a, b) = (0.5, 0.25);
        let bound = (conv.accumulation_length() + 4) as f64 * T::UNIT_ROUNDOFF * 1.01;

        // Plain forward into NaN, then with everything fused over an old output.
        let mut plain = vec![T::from_f64(f64::NAN); y.len()];
        let masked = Fused { input_scale: Some(&d[..]), ..Fused::default() };
        let squares = conv.forward(&x, &mut plain, &masked, threads, scratch);
        self.compare(&name, &conv_unpack(&conv, &plain, true), &self.forward, &self.forward_size, bound);
        check_squares(&name, squares, &plain, conv.square_sum_length());
        let all = Fused { input_scale: Some(&d[..]), scale: Some(&r[..]), a: T::from_f64(a), b: T::from_f64(b) };
        let mut fused = y.clone();
        let squares = conv.forward(&x, &mut fused, &all, threads, scratch);
        let expected: Vec<_> =
            (0..self.y.len()).map(|i| self.output_scale[i] * a * self.forward[i] - b * self.y[i]).collect();
        let size: Vec<_> = (0..self.y.len()).map(|i| self.forward_size[i] + self.y[i].abs()).collect();
        self.compare(&name, &conv_unpack(&conv, &fused, true), &expected, &size, bound);
        check_squares(&name, squares, &fused, conv.square_sum_length());

        // The same backwards.
        let mut plain_adjoint = vec![T::from_f64(f64::NAN); x.len()];
        let masked = Fused { input_scale: Some(&r[..]), ..Fused::default() };
        let squares = conv.adjoint(&y, &mut plain_adjoint, &masked, threads, scratch);
        self.compare(&name, &conv_unpack(&conv, &plain_adjoint, false), &self.adjoint, &self.adjoint_size, bound);
        check_squares(&name, squares, &plain_adjoint, conv.square_sum_length());
        let all = Fused { input_scale: Some(&r[..]), scale: Some(&d[..]), a: T::from_f64(a), b: T::from_f64(b) };
        let mut fused = x.clone();
        let squares = conv.adjoint(&y, &mut fused, &all, threads, scratch);
        let expected: Vec<_> =
            (0..self.x.len()).map(|i| self.input_scale[i] * a * self.adjoint[i] - b * self.x[i]).collect();
        let size: Vec<_> = (0..self.x.len()).map(|i| self.adjoint_size[i] + self.x[i].abs()).collect();
        self.compare(&name, &conv_unpack(&conv, &fused, false), &expected, &size, bound);
        check_squares(&name, squares, &fused, conv.square_sum_length());

        // <R A D x, y> = <x, D A^T R y>, from what the kernels gave.
        let (ax, aty) = (widen(&plain), widen(&plain_adjoint));
        let left: f64 = ax.iter().zip(&widen(&y)).zip(&widen(&r)).map(|((a, y), r)| a * y * r).sum();
        let right: f64 = aty.iter().zip(&widen(&x)).zip(&widen(&d)).map(|((a, x), d)| a * x * d).sum();
        let tolerance = if T::BLOCK == 8 { 1e-12 } else { 1e-4 };
        let size = norm(&ax) * norm(&self.y) + norm(&aty) * norm(&self.x) + 1e-300;
        assert!((left - right).abs() <= tolerance * size, "{name}: {left} and {right}");
    }

    fn compare(&self, name: &str, given: &[f64], expected: &[f64], size: &[f64], bound: f64) {
        assert_eq!(given.len(), expected.len());
        for (i, ((given, expected), size)) in given.iter().zip(expected).zip(size).enumerate() {
            assert!((given - expected).abs() <= bound * size + 1e-13 * size, "{name}: {given} for {expected} at {i}");
        }
    }
}

fn conv_unpack<T: Number>(conv: &PackedConv<T>, blocked: &[T], output: bool) -> Vec<f64> {
    let shape = conv.shape();
    if output {
        let mut chw = vec![T::ZERO; shape.output_len()];
        conv.unpack_output(blocked, &mut chw);
        let mut again = vec![T::ONE; blocked.len()];
        conv.pack_output(&chw, &mut again);
        assert_eq!(again, blocked, "lanes without a channel are zero");
        widen(&chw)
    } else {
        let mut chw = vec![T::ZERO; shape.input_len()];
        conv.unpack_input(blocked, &mut chw);
        let mut again = vec![T::ONE; blocked.len()];
        conv.pack_input(&chw, &mut again);
        assert_eq!(again, blocked, "lanes without a channel are zero");
        widen(&chw)
    }
}

fn check_squares<T: Element>(name: &str, given: f64, values: &[T], length: usize) {
    let expected: f64 = values.iter().map(|v| v.widen() * v.widen()).sum();
    let bound = (length + values.len()) as f64 * f64::EPSILON;
    assert!((given - expected).abs() <= bound * expected, "{name}: sum of squares {given}, not {expected}");
}

fn random_shape(random: &mut Random) -> ConvShape {
    loop {
        let groups = random.pick(&[1, 1, 1, 1, 2, 3, 4, 9, 20]);
        let (per_in, per_out) = match random.below(4) {
            0 => (1, 1),
            1 => (1 + random.below(3), 1 + random.below(3)),
            2 if groups <= 4 => (1 + random.below(40), 1 + random.below(40)),
            _ => (1 + random.below(12), 1 + random.below(12)),
        };
        let size = |random: &mut Random| match random.below(5) {
            0 => 1,
            1 => 1 + random.below(30),
            _ => 1 + random.below(9),
        };
        let kernel = |random: &mut Random| match random.below(8) {
            0 | 1 => 1,
            2 => 1 + random.below(11),
            3 | 4 => 3,
            _ => 1 + random.below(5),
        };
        let pad = |random: &mut Random| if random.below(8) == 0 { random.below(14) } else { random.below(4) };
        let shape = ConvShape {
            in_channels: groups * per_in,
            in_height: size(random),
            in_width: size(random),
            out_channels: groups * per_out,
            kernel: [kernel(random), kernel(random)],
            stride: [1 + random.below(4), 1 + random.below(4)],
            padding: [pad(random), pad(random), pad(random), pad(random)],
            dilation: [random.pick(&[1, 1, 1, 2, 3]), random.pick(&[1, 1, 1, 2, 3])],
            groups,
        };
        if shape.validate().is_ok() && shape.multiply_adds() < 300_000 && shape.output_len() < 40_000 {
            return shape;
        }
    }
}

fn conv(channels: [usize; 2], size: [usize; 2], kernel: usize, stride: usize, padding: usize) -> ConvShape {
    ConvShape {
        in_channels: channels[0],
        in_height: size[0],
        in_width: size[1],
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [padding; 4],
        dilation: [1; 2],
        groups: 1,
    }
}

/// How many random shapes: thousands by default, `LIPBOUND_TEST_SHAPES` for more or fewer.
fn shapes() -> usize {
    std::env::var("LIPBOUND_TEST_SHAPES").ok().and_then(|n| n.parse().ok()).unwrap_or(2000)
}

#[test]
fn random_shapes_in_f64() {
    for isa in Isa::supported() {
        let (mut random, mut scratch) = (Random(1), Scratch::new());
        for _ in 0..shapes() {
            let shape = random_shape(&mut random);
            Problem::new(shape, &mut random).check::<f64>(isa, &Threads::serial(), &mut scratch);
        }
    }
}

#[test]
fn random_shapes_in_f32() {
    for isa in Isa::supported() {
        let (mut random, mut scratch) = (Random(2), Scratch::new());
        for _ in 0..shapes() {
            let shape = random_shape(&mut random);
            Problem::new(shape, &mut random).check::<f32>(isa, &Threads::serial(), &mut scratch);
        }
    }
}

#[test]
fn chosen_shapes() {
    let mut chosen = vec![
        // AlexNet's first layer on smaller images, and its others with fewer channels.
        conv([3, 64], [67, 63], 11, 4, 2),
        conv([1, 8], [35, 40], 11, 4, 2),
        conv([33, 20], [27, 27], 5, 1, 2),
        conv([70, 50], [13, 13], 3, 1, 1),
        // Several chunks of channels, several blocks, tall and flat images.
        conv([200, 17], [5, 15], 3, 1, 1),
        conv([600, 9], [2, 3], 1, 1, 0),
        conv([8, 16], [3, 200], 3, 1, 1),
        conv([8, 16], [200, 3], 3, 1, 1),
        conv([16, 40], [1, 57], 1, 1, 0),
        conv([16, 40], [57, 1], 1, 1, 0),
        conv([5, 33], [90, 1], 3, 2, 1),
        conv([9, 20], [40, 2], 2, 1, 0),
        // A few channels on one side or on both, wide enough for vectors along rows.
        conv([1, 6], [28, 28], 5, 1, 2),
        conv([2, 33], [5, 67], 3, 1, 1),
        conv([3, 40], [6, 150], 3, 2, 1),
        conv([4, 4], [7, 131], 3, 1, 0),
        conv([100, 2], [4, 65], 3, 1, 1),
        conv([4, 70], [12, 49], 4, 3, 2),
        // A fully connected layer in disguise; a stride larger than the kernel; padding larger than the kernel.
        conv([20, 30], [6, 6], 6, 1, 0),
        conv([20, 30], [17, 19], 1, 4, 0),
        conv([20, 30], [17, 19], 2, 3, 0),
        conv([3, 5], [4, 4], 3, 1, 9),
        conv([3, 5], [4, 4], 2, 3, 7),
    ];
    let three = conv([48, 48], [14, 14], 3, 1, 1);
    for groups in [2, 3, 6, 12, 16, 24, 48] {
        chosen.push(ConvShape { groups, ..three });
        chosen.push(ConvShape { groups, stride: [2, 2], ..three });
    }
    chosen.push(ConvShape { dilation: [5, 2], padding: [5, 2, 5, 2], ..three });
    chosen.push(ConvShape { dilation: [2, 3], stride: [2, 3], padding: [0, 1, 7, 2], ..three });
    chosen.push(ConvShape { groups: 48, out_channels: 96, ..three });
    chosen.push(ConvShape { kernel: [1, 7], padding: [0, 3, 0, 3], ..three });
    chosen.push(ConvShape { kernel: [7, 1], padding: [3, 0, 3, 0], ..three });
    let (mut random, mut scratch) = (Random(3), Scratch::new());
    let threads = Threads::new(3).unwrap();
    for shape in chosen {
        let problem = Problem::new(shape, &mut random);
        for isa in Isa::supported() {
            problem.check::<f64>(isa, &threads, &mut scratch);
            problem.check::<f32>(isa, &threads, &mut scratch);
        }
    }
}

#[test]
fn the_forced_instruction_set_is_the_one_that_runs() {
    let shape = conv([40, 40], [20, 20], 3, 1, 1);
    let mut random = Random(4);
    let weights = random.vector(shape.weight_len());
    for isa in Isa::supported() {
        let conv = PackedConv::<f64>::new(&shape, &weights, isa).unwrap();
        assert_eq!(conv.isa(), isa);
        let (x, mut y) = (vec![1.0; conv.input_len()], vec![0.0; conv.output_len()]);
        let mut scratch = Scratch::new();
        conv.forward(&x, &mut y, &Fused::default(), &Threads::serial(), &mut scratch);
        for other in Isa::ALL {
            assert_eq!(scratch.tiles_computed(other) > 0, other == isa, "{other} ran when {isa} was asked for");
        }
    }
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_supported()) {
        assert!(matches!(PackedConv::<f64>::new(&shape, &weights, isa), Err(PackError::Isa(_))));
    }
    // The process-wide choice is the best one unless the environment says otherwise.
    if std::env::var_os("LIPBOUND_ISA").is_none() {
        assert_eq!(Isa::selected(), Ok(Isa::detect()));
    }
}

fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.widen().to_bits()).collect()
}

fn same_for_any_number_of_threads<T: Number>() {
    let shapes = [
        conv([64, 96], [30, 30], 3, 1, 1),
        conv([3, 64], [64, 64], 11, 4, 2),
        conv([200, 64], [9, 9], 3, 1, 1),
        ConvShape { groups: 64, ..conv([64, 64], [120, 120], 3, 1, 1) },
    ];
    let mut random = Random(5);
    for shape in shapes {
        let weights = narrow::<T>(&random.vector(shape.weight_len()));
        let (x, y) = (random.vector(shape.input_len()), random.vector(shape.output_len()));
        for isa in Isa::supported() {
            let conv = PackedConv::<T>::new(&shape, &weights, isa).unwrap();
            let mut blocked_x = vec![T::ZERO; conv.input_len()];
            let mut blocked_y = vec![T::ZERO; conv.output_len()];
            conv.pack_input(&narrow(&x), &mut blocked_x);
            conv.pack_output(&narrow(&y), &mut blocked_y);
            let mut answers = Vec::new();
            for count in [1, 2, 3, 7] {
                let threads = Threads::new(count).unwrap();
                let mut scratch = Scratch::new();
                let fused = Fused { b: T::from_f64(0.3), ..Fused::default() };
                let (mut x, mut y) = (blocked_x.clone(), blocked_y.clone());
                let forward = conv.forward(&x, &mut y, &fused, &threads, &mut scratch);
                let adjoint = conv.adjoint(&blocked_y, &mut x, &fused, &threads, &mut scratch);
                answers.push((forward.to_bits(), adjoint.to_bits(), bits(&x), bits(&y)));
            }
            assert!(answers.windows(2).all(|w| w[0] == w[1]), "{shape:?} on {isa}");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    same_for_any_number_of_threads::<f64>();
    same_for_any_number_of_threads::<f32>();
}

/// The process that the module documentation describes, on `M = R A D`: its bidiagonal matrix has the norm of `M`.
#[test]
fn the_documented_lanczos_process_finds_the_norm() {
    let shape = ConvShape { stride: [2, 1], ..conv([5, 11], [7, 15], 3, 1, 1) };
    let mut random = Random(6);
    let weights = random.vector(shape.weight_len());
    let mut slopes = |n: usize| (0..n).map(|_| random.pick(&[0.0, 1.0, 0.3, 0.7])).collect::<Vec<f64>>();
    let (r, d) = (slopes(shape.output_len()), slopes(shape.input_len()));
    // The norm by plain power iteration.
    let (mut x, mut y) = (vec![1.0; d.len()], vec![0.0; r.len()]);
    let mut expected = 0.0;
    for _ in 0..3000 {
        x.iter_mut().zip(&d).for_each(|(x, d)| *x *= d);
        reference::forward(&shape, &weights, &x, &mut y);
        y.iter_mut().zip(&r).for_each(|(y, r)| *y *= r * r);
        reference::adjoint(&shape, &weights, &y, &mut x);
        x.iter_mut().zip(&d).for_each(|(x, d)| *x *= d);
        expected = norm(&x).sqrt();
        let size = norm(&x);
        x.iter_mut().for_each(|x| *x /= size);
    }
    for isa in Isa::supported() {
        let conv = PackedConv::<f64>::new(&shape, &weights, isa).unwrap();
        let (threads, mut scratch) = (Threads::new(2).unwrap(), Scratch::new());
        let blocked = |chw: &[f64], output: bool| {
            let mut out = vec![0.0; if output { conv.output_len() } else { conv.input_len() }];
            if output {
                conv.pack_output(chw, &mut out)
            } else {
                conv.pack_input(chw, &mut out)
            }
            out
        };
        let (r, d) = (blocked(&r, true), blocked(&d, false));
        let start: Vec<f64> = (0..shape.input_len()).map(|i| (i as f64 * 0.7).sin()).collect();
        let (mut v, mut u) = (blocked(&start, false), vec![f64::NAN; conv.output_len()]);
        let (mut alpha, mut beta) = (1.0, norm(&v));
        let (mut alphas, mut betas) = (Vec::new(), Vec::new());
        for step in 0..200 {
            let b = if step == 0 { 0.0 } else { beta / alpha };
            let forth = Fused { input_scale: Some(&d[..]), scale: Some(&r[..]), a: 1.0 / beta, b };
            alpha = conv.forward(&v, &mut u, &forth, &threads, &mut scratch).sqrt();
            let back = Fused { input_scale: Some(&r[..]), scale: Some(&d[..]), a: 1.0 / alpha, b: alpha / beta };
            beta = conv.adjoint(&u, &mut v, &back, &threads, &mut scratch).sqrt();
            alphas.push(alpha);
            betas.push(beta);
        }
        // Norm of the upper bidiagonal matrix, by power iteration again.
        let n = alphas.len();
        let mut c = vec![1.0; n];
        let mut found = 0.0;
        for _ in 0..20_000 {
            let e: Vec<f64> =
                (0..n).map(|j| alphas[j] * c[j] + if j + 1 < n { betas[j] * c[j + 1] } else { 0.0 }).collect();
            c = (0..n).map(|j| alphas[j] * e[j] + if j > 0 { betas[j - 1] * e[j - 1] } else { 0.0 }).collect();
            found = norm(&c).sqrt();
            let size = norm(&c);
            c.iter_mut().for_each(|c| *c /= size);
        }
        assert!((found - expected).abs() < 1e-8 * expected, "{found} for {expected} on {isa}");
    }
}

#[test]
fn single_precision_weights_are_widened_exactly() {
    let shape = conv([9, 10], [8, 8], 3, 1, 1);
    let weights: Vec<f32> = (0..shape.weight_len()).map(|i| (i as f32).sin()).collect();
    let wide: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
    let isa = Isa::detect();
    let (from_narrow, from_wide) =
        (PackedConv::<f64>::new(&shape, &weights, isa).unwrap(), PackedConv::<f64>::new(&shape, &wide, isa).unwrap());
    let x: Vec<f64> = (0..from_wide.input_len()).map(|i| (i as f64).cos()).collect();
    let mut results = [vec![0.0; from_wide.output_len()], vec![0.0; from_wide.output_len()]];
    for (conv, y) in [from_narrow, from_wide].iter().zip(&mut results) {
        conv.forward(&x, y, &Fused::default(), &Threads::serial(), &mut Scratch::new());
    }
    assert_eq!(results[0], results[1]);
}

#[test]
fn accumulation_is_blocked() {
    let shape = conv([512, 512], [14, 14], 3, 1, 1);
    let conv = PackedConv::<f32>::new(&shape, &vec![0.0f32; shape.weight_len()], Isa::detect()).unwrap();
    assert!(conv.accumulation_length() < 700, "{}", conv.accumulation_length());
}

#[test]
fn wrong_lengths_are_refused() {
    let shape = conv([3, 4], [5, 5], 3, 1, 1);
    let isa = Isa::detect();
    assert_eq!(
        PackedConv::<f64>::new(&shape, &[0.0; 5], isa).unwrap_err(),
        PackError::Weights { expected: 108, given: 5 }
    );
    let bad = ConvShape { groups: 2, ..shape };
    assert!(matches!(PackedConv::<f64>::new(&bad, &[0.0; 108], isa), Err(PackError::Shape(_))));
    let conv = PackedConv::<f64>::new(&shape, &[0.0; 108], isa).unwrap();
    let run = |input: usize, output: usize, scale: usize| {
        std::panic::catch_unwind(|| {
            let (x, mut y, s) = (vec![0.0; input], vec![0.0; output], vec![0.0; scale]);
            let fused = Fused { scale: Some(&s[..]), ..Fused::default() };
            conv.forward(&x, &mut y, &fused, &Threads::serial(), &mut Scratch::new())
        })
    };
    let (input, output) = (conv.input_len(), conv.output_len());
    assert!(run(input, output, output).is_ok());
    assert!(run(input - 1, output, output).is_err());
    assert!(run(input, output + 1, output).is_err());
    assert!(run(input, output, 1).is_err());
}
