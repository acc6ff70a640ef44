//! Max pooling: windows, and how many of them an input element is in.

use lipbound_operators::Description;

use crate::ModelError;

/// Geometry of a 2-D max pool over `[channels, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolGeometry {
    /// Channels, input height, input width.
    pub input: [usize; 3],
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right. Padding never wins.
    pub padding: [usize; 4],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// Whether a last, incomplete window counts.
    pub ceil_mode: bool,
}

impl PoolGeometry {
    /// Output size along an axis (0 vertical, 1 horizontal), by the rule that PyTorch and ONNX share: in ceil mode a
    /// last window counts if it starts inside the input or the leading padding.
    ///
    /// # Errors
    /// If the window does not fit or an attribute is zero.
    pub fn out_size(&self, axis: usize) -> Result<usize, ModelError> {
        let name = ["height", "width"][axis];
        let (size, before, after) = (self.input[axis + 1], self.padding[axis], self.padding[axis + 2]);
        for (what, value) in
            [("kernel", self.kernel[axis]), ("stride", self.stride[axis]), ("dilation", self.dilation[axis])]
        {
            if value == 0 {
                return Err(ModelError::model(format!("{what} {name} must be at least 1, got 0")));
            }
        }
        let too_large = || ModelError::shape(format!("the pool's {name} overflows"));
        let reach = (self.kernel[axis] - 1)
            .checked_mul(self.dilation[axis])
            .and_then(|r| r.checked_add(1))
            .ok_or_else(too_large)?;
        let padded = size.checked_add(before).and_then(|p| p.checked_add(after)).ok_or_else(too_large)?;
        if reach > padded {
            return Err(ModelError::shape(format!(
                "a window that spans {reach} does not fit into the padded input {name} {padded}"
            )));
        }
        let free = padded - reach;
        let mut out = free / self.stride[axis] + 1;
        if self.ceil_mode && !free.is_multiple_of(self.stride[axis]) && out * self.stride[axis] < size + before {
            out += 1;
        }
        Ok(out)
    }
}

/// A max pool as its windows.
#[derive(Debug)]
pub struct MaxPool {
    inputs: usize,
    /// Window `i` has the members `starts[i]..starts[i + 1]`.
    starts: Vec<usize>,
    members: Vec<u32>,
    multiplicity: usize,
}

impl MaxPool {
    /// The windows of a geometry; output shape `[channels, out height, out width]`.
    ///
    /// # Errors
    /// If the geometry is impossible, or a window has no element of the input.
    pub fn new(geometry: &PoolGeometry) -> Result<(Self, [usize; 3]), ModelError> {
        let [channels, height, width] = geometry.input;
        let (oh, ow) = (geometry.out_size(0)?, geometry.out_size(1)?);
        let inputs = channels * height * width;
        if inputs >= 1 << 31 || channels.saturating_mul(oh).saturating_mul(ow) >= 1 << 31 {
            return Err(ModelError::shape("a pool of 2^31 elements or more"));
        }
        let taps = |axis: usize, p: usize, size: usize| -> Vec<usize> {
            (0..geometry.kernel[axis])
                .filter_map(|k| {
                    (p * geometry.stride[axis] + k * geometry.dilation[axis]).checked_sub(geometry.padding[axis])
                })
                .filter(|&position| position < size)
                .collect()
        };
        let rows: Vec<Vec<usize>> = (0..oh).map(|p| taps(0, p, height)).collect();
        let cols: Vec<Vec<usize>> = (0..ow).map(|p| taps(1, p, width)).collect();
        if let Some(p) = rows.iter().position(Vec::is_empty) {
            return Err(ModelError::shape(format!("the window of output row {p} lies wholly in the padding")));
        }
        if let Some(p) = cols.iter().position(Vec::is_empty) {
            return Err(ModelError::shape(format!("the window of output column {p} lies wholly in the padding")));
        }
        let mut starts = vec![0];
        let mut members = Vec::new();
        for c in 0..channels {
            for rows in &rows {
                for cols in &cols {
                    for &y in rows {
                        members.extend(cols.iter().map(|&x| ((c * height + y) * width + x) as u32));
                    }
                    starts.push(members.len());
                }
            }
        }
        let mut pool = Self { inputs, starts, members, multiplicity: 0 };
        pool.multiplicity = pool.largest_multiplicity(|_, _| true);
        Ok((pool, [channels, oh, ow]))
    }

    /// Any windows: window `i` is `members[starts[i]..starts[i + 1]]`.
    ///
    /// # Errors
    /// If there is no window, one is empty or has an element twice, or a member is no input.
    pub fn from_windows(inputs: usize, starts: Vec<usize>, mut members: Vec<u32>) -> Result<Self, ModelError> {
        let whole = starts.first() == Some(&0) && starts.last() == Some(&members.len()) && starts.len() > 1;
        if !whole || starts.windows(2).any(|w| w[0] >= w[1]) {
            return Err(ModelError::shape("the windows of a pool must not be empty, and hold all members in order"));
        }
        for window in starts.windows(2) {
            let window = &mut members[window[0]..window[1]];
            window.sort_unstable();
            if window.windows(2).any(|pair| pair[0] == pair[1]) || window[window.len() - 1] as usize >= inputs {
                return Err(ModelError::shape("the members of a window must be different inputs of the pool"));
            }
        }
        let mut pool = Self { inputs, starts, members, multiplicity: 0 };
        pool.multiplicity = pool.largest_multiplicity(|_, _| true);
        Ok(pool)
    }

    /// The largest of what stands at the same place of each of several branches, which lie behind each other: window `i`
    /// has element `i` of every branch.
    ///
    /// # Errors
    /// If there is no branch, or no element.
    pub fn across(branches: usize, elements: usize) -> Result<Self, ModelError> {
        let starts = (0..=elements).map(|i| i * branches).collect();
        let members = (0..elements).flat_map(|i| (0..branches).map(move |b| (b * elements + i) as u32)).collect();
        Self::from_windows(branches * elements, starts, members)
    }

    /// Number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.starts.capacity() * size_of::<usize>() + self.members.capacity() * size_of::<u32>()
    }

    /// Tells what the pool is made of.
    pub(crate) fn describe(&self, description: &mut Description<'_>) {
        description.size(self.inputs);
        description.sizes(&self.starts);
        description.size(self.members.len());
        self.members.iter().for_each(|&j| description.size(j as usize));
    }

    /// The input elements of window `i`, in ascending order.
    #[must_use]
    pub fn window(&self, i: usize) -> &[u32] {
        &self.members[self.starts[i]..self.starts[i + 1]]
    }

    /// The largest number of windows that one input element is in: the square of the pool's Lipschitz constant, since
    /// `|max a - max b| <= max |a_j - b_j|` in each window, and each element counts once a window.
    #[must_use]
    pub fn multiplicity(&self) -> usize {
        self.multiplicity
    }

    /// The same, counting element `j` in window `i` only where `counts(i, j)`.
    #[must_use]
    pub fn largest_multiplicity(&self, counts: impl Fn(usize, usize) -> bool) -> usize {
        let mut windows = vec![0u32; self.inputs];
        for i in 0..self.outputs() {
            for &j in self.window(i) {
                windows[j as usize] += u32::from(counts(i, j as usize));
            }
        }
        windows.into_iter().max().unwrap_or(0) as usize
    }

    /// `output_i = max of input over window i`.
    ///
    /// # Panics
    /// If a slice has another length than the pool.
    pub fn apply(&self, input: &[f64], output: &mut [f64]) {
        assert_eq!(input.len(), self.inputs, "a pool's input has another length");
        assert_eq!(output.len(), self.outputs(), "a pool's output has another length");
        for (i, out) in output.iter_mut().enumerate() {
            *out = self.window(i).iter().fold(f64::NEG_INFINITY, |m, &j| m.max(input[j as usize]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(h: usize, w: usize, k: usize, s: usize, p: usize, d: usize, ceil_mode: bool) -> PoolGeometry {
        PoolGeometry { input: [1, h, w], kernel: [k; 2], stride: [s; 2], padding: [p; 4], dilation: [d; 2], ceil_mode }
    }

    #[test]
    fn known_multiplicities() {
        for (g, m) in [
            (geometry(8, 8, 2, 2, 0, 1, false), 1),
            (geometry(13, 13, 3, 2, 0, 1, false), 4),
            (geometry(8, 8, 3, 1, 1, 1, false), 9),
            (geometry(8, 8, 2, 1, 0, 1, false), 4),
            (geometry(3, 3, 3, 2, 0, 1, false), 1),
        ] {
            assert_eq!(MaxPool::new(&g).unwrap().0.multiplicity(), m, "{g:?}");
        }
    }

    /// All small geometries against a count that walks the padded input instead of the windows.
    #[test]
    fn multiplicity_equals_a_brute_force_count() {
        let mut tried = 0;
        for h in 1..7 {
            for k in 1..4 {
                for s in 1..4 {
                    for p in 0..2 {
                        for d in 1..3 {
                            for ceil_mode in [false, true] {
                                let g = geometry(h, h + 1, k, s, p, d, ceil_mode);
                                let Ok((pool, [_, oh, ow])) = MaxPool::new(&g) else { continue };
                                tried += 1;
                                let along = |position: usize, out: usize| {
                                    (0..out)
                                        .flat_map(|o| (0..k).map(move |t| o * s + t * d))
                                        .filter(|&at| at == position + p)
                                        .count()
                                };
                                let rows = (0..h).map(|y| along(y, oh)).max().unwrap();
                                let cols = (0..=h).map(|x| along(x, ow)).max().unwrap();
                                assert_eq!(pool.multiplicity(), rows * cols, "{g:?}");
                            }
                        }
                    }
                }
            }
        }
        assert!(tried > 200, "{tried}");
    }

    /// A pool by its definition: every window looks through its taps, and what lies in the padding is not there.
    fn windows_of(g: &PoolGeometry) -> Vec<Vec<u32>> {
        let [channels, height, width] = g.input;
        let (oh, ow) = (g.out_size(0).unwrap(), g.out_size(1).unwrap());
        let mut windows = Vec::new();
        for c in 0..channels {
            for oy in 0..oh {
                for ox in 0..ow {
                    let mut window = Vec::new();
                    for ky in 0..g.kernel[0] {
                        for kx in 0..g.kernel[1] {
                            let y = (oy * g.stride[0] + ky * g.dilation[0]) as i64 - g.padding[0] as i64;
                            let x = (ox * g.stride[1] + kx * g.dilation[1]) as i64 - g.padding[1] as i64;
                            if (0..height as i64).contains(&y) && (0..width as i64).contains(&x) {
                                window.push((c as i64 * (height * width) as i64 + y * width as i64 + x) as u32);
                            }
                        }
                    }
                    windows.push(window);
                }
            }
        }
        windows
    }

    #[test]
    fn windows_are_those_of_the_definition() {
        let mut tried = 0;
        for (kernel, stride, dilation) in [
            ([2, 2], [2, 2], [1, 1]),
            ([3, 2], [2, 1], [1, 2]),
            ([1, 3], [1, 3], [2, 1]),
            ([2, 3], [3, 2], [2, 2]),
            ([3, 3], [1, 1], [1, 1]),
        ] {
            for padding in [[0; 4], [1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 1, 0]] {
                for (h, w) in [(4, 5), (5, 4), (7, 6), (3, 8)] {
                    for ceil_mode in [false, true] {
                        let g = PoolGeometry { input: [2, h, w], kernel, stride, padding, dilation, ceil_mode };
                        let Ok((pool, shape)) = MaxPool::new(&g) else { continue };
                        tried += 1;
                        let windows = windows_of(&g);
                        assert_eq!(shape, [2, g.out_size(0).unwrap(), g.out_size(1).unwrap()]);
                        assert_eq!((pool.inputs(), pool.outputs()), (2 * h * w, windows.len()), "{g:?}");
                        let input: Vec<f64> = (0..2 * h * w).map(|i| ((i * i) as f64 * 0.7).sin() - 2.0).collect();
                        let mut output = vec![0.0; windows.len()];
                        pool.apply(&input, &mut output);
                        for (i, window) in windows.iter().enumerate() {
                            assert_eq!(pool.window(i), window, "{g:?}, window {i}");
                            let largest = window.iter().map(|&j| input[j as usize]).reduce(f64::max).unwrap();
                            assert_eq!(output[i], largest);
                        }
                        // Counting only some elements, or only some windows.
                        let counts = |i: usize, j: usize| (i + j).is_multiple_of(3);
                        let most = (0..2 * h * w)
                            .map(|j| {
                                (0..windows.len()).filter(|&i| windows[i].contains(&(j as u32)) && counts(i, j)).count()
                            })
                            .max();
                        assert_eq!(Some(pool.largest_multiplicity(counts)), most);
                    }
                }
            }
        }
        assert!(tried > 100, "{tried}");
    }

    /// The sizes that PyTorch gives (`torch.nn.MaxPool2d`): the last window of ceil mode begins inside the input or the
    /// leading padding.
    #[test]
    fn out_sizes_are_those_of_the_rule() {
        for (size, kernel, stride, padding, ceil, expected) in [
            (7, 3, 2, 0, false, 3),
            (7, 3, 2, 0, true, 3),
            (8, 3, 2, 0, false, 3),
            (8, 3, 2, 0, true, 4),
            (4, 1, 3, 0, true, 2),
            (5, 2, 3, 0, true, 2),
            (3, 1, 2, 1, true, 3),
            (2, 1, 3, 1, true, 2),
            (3, 1, 4, 1, true, 2),
            (2, 1, 4, 1, true, 1),
            (5, 1, 5, 1, true, 2),
            (3, 2, 4, 1, true, 1),
            (3, 3, 3, 1, true, 2),
            (1, 1, 1, 0, false, 1),
        ] {
            let g = geometry(size, size, kernel, stride, padding, 1, ceil);
            // A window of one element may lie wholly in the padding: the size is one thing, such a pool another.
            assert_eq!((g.out_size(0).unwrap(), g.out_size(1).unwrap()), (expected, expected), "{g:?}");
        }
        // Trailing padding lets windows fit, and none begin.
        let one_sided = PoolGeometry { padding: [0, 0, 2, 1], ..geometry(4, 4, 3, 3, 0, 1, true) };
        assert_eq!((one_sided.out_size(0).unwrap(), one_sided.out_size(1).unwrap()), (2, 2));
    }

    #[test]
    fn impossible_pools_say_what_is_wrong() {
        let error = |g: PoolGeometry| MaxPool::new(&g).unwrap_err().to_string();
        let ok = geometry(4, 4, 2, 2, 0, 1, false);
        assert!(error(PoolGeometry { kernel: [0, 2], ..ok }).contains("kernel height must be at least 1"));
        assert!(error(PoolGeometry { stride: [2, 0], ..ok }).contains("stride width must be at least 1"));
        assert!(error(PoolGeometry { dilation: [0, 1], ..ok }).contains("dilation height must be at least 1"));
        assert!(error(PoolGeometry { kernel: [5, 2], ..ok }).contains("spans 5"));
        assert!(error(PoolGeometry { kernel: [2, 2], dilation: [1, 4], ..ok }).contains("spans 5"));
        assert!(MaxPool::new(&PoolGeometry { kernel: [4, 4], ..ok }).is_ok());
        assert!(MaxPool::new(&PoolGeometry { kernel: [2, 2], dilation: [3, 3], ..ok }).is_ok());
        for (kernel, dilation) in [([usize::MAX; 2], [2; 2]), ([2; 2], [usize::MAX; 2])] {
            assert!(error(PoolGeometry { kernel, dilation, ..ok }).contains("overflows"));
        }
        assert!(error(PoolGeometry { padding: [usize::MAX, 0, 0, 0], ..ok }).contains("overflows"));
        assert!(error(PoolGeometry { padding: [0, 0, 0, usize::MAX], ..ok }).contains("overflows"));
        // More elements than indices of 32 bits with a sign can tell apart.
        assert!(error(PoolGeometry { input: [1 << 11, 1 << 10, 1 << 10], ..ok }).contains("2^31"));
        let spread = PoolGeometry { kernel: [1, 1], stride: [1, 1], padding: [1 << 16, 1 << 16, 0, 0], ..ok };
        assert!(error(spread).contains("2^31"));
        let (first, last) = ([2, 0, 0, 0], [0, 0, 0, 2]);
        let small = PoolGeometry { kernel: [1, 1], stride: [1, 1], ..ok };
        assert!(error(PoolGeometry { padding: first, ..small }).contains("output row 0"));
        assert!(error(PoolGeometry { padding: last, ..small }).contains("output column 4"));
    }

    #[test]
    fn windows_of_any_kind_are_checked() {
        let pool = MaxPool::from_windows(5, vec![0, 2, 5], vec![4, 1, 0, 4, 2]).unwrap();
        assert_eq!((pool.window(0), pool.window(1)), (&[1, 4][..], &[0, 2, 4][..]));
        assert_eq!((pool.inputs(), pool.outputs(), pool.multiplicity()), (5, 2, 2));
        for (starts, members, word) in [
            (vec![], vec![], "must not be empty"),
            (vec![0], vec![], "must not be empty"),
            (vec![1, 2], vec![0, 1], "must not be empty"),
            (vec![0, 1], vec![0, 1], "must not be empty"),
            (vec![0, 1, 1, 2], vec![0, 1], "must not be empty"),
            (vec![0, 2, 1, 3], vec![0, 1, 2], "must not be empty"),
            (vec![0, 2], vec![3, 3], "different inputs"),
            (vec![0, 2], vec![0, 5], "different inputs"),
            (vec![0, 1, 2], vec![0, 7], "different inputs"),
        ] {
            let error = MaxPool::from_windows(5, starts.clone(), members).unwrap_err().to_string();
            assert!(error.contains(word), "{starts:?}: {error}");
        }
        let across = MaxPool::across(3, 4).unwrap();
        assert_eq!((across.inputs(), across.outputs(), across.multiplicity()), (12, 4, 1));
        assert_eq!((across.window(0), across.window(3)), (&[0, 4, 8][..], &[3, 7, 11][..]));
        assert!(MaxPool::across(0, 4).is_err() && MaxPool::across(3, 0).is_err());
        // 8 bytes a start, 4 a member, and the pool itself.
        assert!(pool.bytes() >= size_of::<MaxPool>() + 3 * 8 + 5 * 4 && pool.bytes() < size_of::<MaxPool>() + 80);
    }

    #[test]
    #[should_panic(expected = "a pool's input has another length")]
    fn a_longer_input_is_no_input_of_a_pool() {
        MaxPool::across(2, 2).unwrap().apply(&[0.0; 5], &mut [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "a pool's output has another length")]
    fn a_longer_output_is_no_output_of_a_pool() {
        MaxPool::across(2, 2).unwrap().apply(&[0.0; 4], &mut [0.0; 3]);
    }
}
