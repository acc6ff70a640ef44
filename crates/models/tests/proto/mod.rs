//! A writer of protocol buffers, which can write what no library would.
#![allow(dead_code, reason = "each test uses a part")]

/// A number of seven bits a byte.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field that is a number.
pub fn int(tag: u64, value: i64) -> Vec<u8> {
    [varint(tag << 3), varint(value as u64)].concat()
}

/// A field with a length: text, a message, packed numbers.
pub fn len(tag: u64, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [varint(tag << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A field of four bytes.
pub fn float(tag: u64, value: f32) -> Vec<u8> {
    [varint(tag << 3 | 5), value.to_le_bytes().to_vec()].concat()
}

pub fn node(kind: &str, name: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    inputs.iter().for_each(|input| bytes.extend(len(1, input)));
    outputs.iter().for_each(|output| bytes.extend(len(2, output)));
    bytes.extend(len(3, name));
    bytes.extend(len(4, kind));
    attributes.iter().for_each(|attribute| bytes.extend(len(5, attribute)));
    bytes
}

/// An attribute that is a whole number.
pub fn int_attribute(name: &str, value: i64) -> Vec<u8> {
    [len(1, name), int(3, value), int(20, 2)].concat()
}

/// An attribute that is a tensor.
pub fn tensor_attribute(name: &str, tensor: &[u8]) -> Vec<u8> {
    [len(1, name), len(5, tensor), int(20, 4)].concat()
}

pub fn tensor(name: &str, kind: i64, dims: &[i64], raw: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = dims.iter().flat_map(|&d| int(1, d)).collect();
    bytes.extend(int(2, kind));
    bytes.extend(len(8, name));
    bytes.extend(len(9, raw));
    bytes
}

pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> Vec<u8> {
    tensor(name, 1, dims, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

pub fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    tensor(name, 7, &[values.len() as i64], &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

/// An input or output of floats.
pub fn info(name: &str, dims: &[i64]) -> Vec<u8> {
    let shape: Vec<u8> = dims.iter().flat_map(|&d| len(1, int(1, d))).collect();
    [len(1, name), len(2, len(1, [int(1, 1), len(2, shape)].concat()))].concat()
}

/// A graph in the making.
#[derive(Default)]
pub struct Graph(pub Vec<u8>);

impl Graph {
    pub fn new() -> Self {
        Self::default()
    }

    /// With an input `x` of shape [1, 4] and an output `y`.
    pub fn small() -> Self {
        Self::new().input("x", &[1, 4]).output("y")
    }

    pub fn field(mut self, tag: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend(len(tag, bytes));
        self
    }

    pub fn input(self, name: &str, dims: &[i64]) -> Self {
        self.field(11, info(name, dims))
    }

    pub fn output(self, name: &str) -> Self {
        self.field(12, info(name, &[]))
    }

    pub fn initializer(self, tensor: Vec<u8>) -> Self {
        self.field(5, tensor)
    }

    pub fn node(self, kind: &str, name: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Self {
        self.field(1, node(kind, name, inputs, outputs, attributes))
    }

    pub fn model(&self) -> Vec<u8> {
        self.of_opset(17)
    }

    pub fn of_opset(&self, version: i64) -> Vec<u8> {
        [int(1, 8), len(2, "test"), len(7, &self.0), len(8, [len(1, ""), int(2, version)].concat())].concat()
    }
}
