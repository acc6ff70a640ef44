//! Every rule against a slow evaluator of the same operator, written from the specification with indices alone.

mod elementwise;
mod layout;
mod products;
mod windows;

use std::{collections::BTreeMap, sync::Arc};

use lipbound_lipschitz::{ModelError, Tensor};

use super::{
    super::{
        Array, Flow, Importer, Op, Value,
        array::Numbers,
        budget::Budget,
        graph::{Attribute, Attributes},
    },
    RULES,
};

/// Random numbers that only depend on a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    fn size(&mut self, low: usize, high: usize) -> usize {
        self.range(low as i64, high as i64) as usize
    }

    fn coin(&mut self) -> bool {
        self.next() % 2 == 1
    }

    /// A number of single precision.
    fn value(&mut self) -> f64 {
        f64::from((self.next() >> 40) as f32 / (1u32 << 22) as f32 - 2.0)
    }

    fn tensor(&mut self, shape: &[usize]) -> T {
        T { shape: shape.to_vec(), values: (0..shape.iter().product()).map(|_| self.value()).collect() }
    }

    fn shape(&mut self, rank: usize, most: usize) -> Vec<usize> {
        (0..rank).map(|_| self.size(1, most)).collect()
    }
}

/// A tensor of the reference evaluator.
#[derive(Clone, Debug, PartialEq)]
struct T {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl T {
    /// Element by element, all indices in order.
    fn of(shape: &[usize], mut value: impl FnMut(&[usize]) -> f64) -> Self {
        let mut values = Vec::new();
        let mut index = vec![0; shape.len()];
        for _ in 0..shape.iter().product::<usize>() {
            values.push(value(&index));
            for k in (0..shape.len()).rev() {
                index[k] += 1;
                if index[k] < shape[k] {
                    break;
                }
                index[k] = 0;
            }
        }
        Self { shape: shape.to_vec(), values }
    }

    fn place(&self, index: &[usize]) -> usize {
        assert_eq!(index.len(), self.shape.len());
        index.iter().zip(&self.shape).fold(0, |at, (&i, &d)| {
            assert!(i < d);
            at * d + i
        })
    }

    fn at(&self, index: &[usize]) -> f64 {
        self.values[self.place(index)]
    }

    /// The element that stands at `index` of a tensor this one is broadcast to.
    fn broadcast_at(&self, index: &[usize]) -> f64 {
        let index = &index[index.len() - self.shape.len()..];
        let own: Vec<usize> = index.iter().zip(&self.shape).map(|(&i, &d)| if d == 1 { 0 } else { i }).collect();
        self.at(&own)
    }

    /// The same elements in another shape.
    fn seen(&self, shape: &[usize]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), self.values.len());
        Self { shape: shape.to_vec(), values: self.values.clone() }
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { shape: self.shape.clone(), values: self.values.iter().map(|&v| f(v)).collect() }
    }
}

/// An input of an operator under test.
#[derive(Clone, Debug)]
enum In {
    /// Depends on the input.
    Flow(T),
    /// A constant in single precision.
    Single(T),
    /// A constant in double precision.
    Double(T),
    /// Whole numbers in a row.
    Whole(Vec<i64>),
    /// Whole numbers in a shape.
    Shaped(Vec<usize>, Vec<i64>),
    /// Left out.
    Absent,
}

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&v| v as i64).collect())
}

/// An empty network for inputs of this full shape, and its input.
fn importer_of(shape: &[usize]) -> (Importer, Flow) {
    let importer = Importer::new(shape, Budget::of_file(1 << 20)).expect("a test has a valid input");
    (importer, Flow { source: 0, shape: shape.to_vec() })
}

/// An operator under test.
struct Case {
    kind: &'static str,
    opset: i64,
    attributes: Vec<(&'static str, Attribute)>,
    inputs: Vec<In>,
    outputs: usize,
}

fn case(kind: &'static str, opset: i64, attributes: Vec<(&'static str, Attribute)>, inputs: Vec<In>) -> Case {
    Case { kind, opset, attributes, inputs, outputs: 1 }
}

impl Case {
    /// The outputs of the network that the rule makes.
    fn run(&self) -> Result<Vec<T>, ModelError> {
        let text = format!("{} of opset {} with {:?}", self.kind, self.opset, self.attributes);
        let flows: Vec<&T> =
            self.inputs.iter().filter_map(|i| if let In::Flow(t) = i { Some(t) } else { None }).collect();
        let total: usize = flows.iter().map(|t| t.values.len()).sum();
        let (mut importer, input) = match flows[..] {
            [one] => importer_of(&one.shape),
            _ => importer_of(&[1, total]),
        };
        let plain = Op {
            name: "part".into(),
            kind: "Slice".into(),
            opset: self.opset,
            inputs: vec![],
            outputs: vec!["part".into()],
            attributes: Attributes::default(),
        };
        let (mut start, mut values) = (0, Vec::new());
        let constant = |shape: Vec<usize>, numbers| Some(Value::Constant(Array { shape, numbers }));
        for input_of_op in &self.inputs {
            values.push(match input_of_op {
                In::Flow(_) if flows.len() == 1 => Some(Value::Flow(input.clone())),
                In::Flow(t) => {
                    let from = start;
                    start += t.values.len();
                    Some(Value::Flow(importer.select(
                        &plain,
                        &input,
                        &[t.values.len()],
                        &|_, i| Some(from + i),
                        t.shape.clone(),
                    )?))
                }
                In::Single(t) => constant(t.shape.clone(), Numbers::F32(t.values.iter().map(|&v| v as f32).collect())),
                In::Double(t) => constant(t.shape.clone(), Numbers::F64(t.values.clone().into())),
                In::Whole(v) => constant(vec![v.len()], Numbers::I64(v.clone().into())),
                In::Shaped(shape, v) => constant(shape.clone(), Numbers::I64(v.clone().into())),
                In::Absent => None,
            });
        }
        let attributes: BTreeMap<_, _> = self.attributes.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        let mut op = Op {
            name: "op".into(),
            kind: self.kind.into(),
            opset: self.opset,
            inputs: vec![],
            outputs: (0..self.outputs).map(|i| format!("y{i}")).collect(),
            attributes: Attributes::new(attributes),
        };
        let rule = RULES.iter().find(|(kind, _)| *kind == self.kind).expect("there is a rule").1;
        let outputs = rule(&mut importer, &mut op, &values)?;
        std::mem::take(&mut op.attributes).finish().unwrap_or_else(|error| panic!("{text}: {error}"));
        let outputs: Vec<Flow> = outputs
            .into_iter()
            .map(|value| match value {
                Value::Flow(flow) => flow,
                Value::Constant(_) => panic!("{text}: a constant output"),
            })
            .collect();
        let count: usize = outputs.iter().map(Flow::elements).sum();
        // The last node is the output of the network.
        let output = importer.joined(&plain, &outputs, vec![1, count]);
        let output = output.unwrap_or_else(|error| panic!("{text}: {error}"));
        let network = importer.finish(&output).unwrap_or_else(|error| panic!("{text}: {error}"));
        let all: Vec<f64> = flows.iter().flat_map(|t| t.values.iter().copied()).collect();
        let x = Tensor::f64(network.input_shape().to_vec(), all)?;
        let mut y = network.evaluate(&x)?.to_f64().into_iter();
        Ok(outputs
            .into_iter()
            .map(|flow| T { values: y.by_ref().take(flow.elements()).collect(), shape: flow.shape })
            .collect())
    }

    /// The rule gives what is expected, up to roundings of the evaluation.
    fn gives_all(&self, expected: &[T]) {
        let text = format!("{} of opset {} with {:?} on {:?}", self.kind, self.opset, self.attributes, self.inputs);
        let got = self.run().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(got.len(), expected.len(), "{text}");
        for (got, expected) in got.iter().zip(expected) {
            assert_eq!(got.shape, expected.shape, "{text}");
            let size = expected.values.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
            for (i, (a, b)) in got.values.iter().zip(&expected.values).enumerate() {
                assert!((a - b).abs() <= 1e-12 * size, "{text}: element {i} is {a}, expected {b}");
            }
        }
    }

    fn gives(&self, expected: &T) {
        self.gives_all(std::slice::from_ref(expected));
    }

    /// The rule refuses, and says so with `part`.
    fn refuses(&self, part: &str) {
        let text = format!("{} with {:?}", self.kind, self.attributes);
        let error = self.run().expect_err(&text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// A constant in one of the two precisions.
fn fixed(random: &mut Random, t: &T) -> In {
    if random.coin() { In::Single(t.clone()) } else { In::Double(t.clone()) }
}

#[test]
fn a_budget_is_kept() {
    let (mut importer, flow) = importer_of(&[1, 4]);
    let op = Op {
        name: "op".into(),
        kind: "Expand".into(),
        opset: 13,
        inputs: vec![],
        outputs: vec!["y".into()],
        attributes: Attributes::default(),
    };
    let shape = Array { shape: vec![2], numbers: Numbers::I64(Arc::new([1 << 28, 4])) };
    let rule = RULES.iter().find(|(kind, _)| *kind == "Expand").unwrap().1;
    let inputs = [Some(Value::Flow(flow)), Some(Value::Constant(shape))];
    let error = rule(&mut importer, &mut op.clone(), &inputs).unwrap_err().to_string();
    assert!(error.contains("more memory"), "{error}");
}
