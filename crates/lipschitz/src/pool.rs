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
}
