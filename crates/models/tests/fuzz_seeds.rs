//! The seeds of the fuzzers, replayed; with `LIPBOUND_WRITE_SEEDS` set, written first.

mod proto;

use std::{
    fs,
    path::{Path, PathBuf},
};

use lipbound_models::{ImageOptions, OnnxOptions, Safetensors, TensorSource, read_image, read_npy, read_onnx};
use proto::{Graph, float, floats, int, int_attribute, ints, len, tensor, tensor_attribute};

fn seeds(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target)
}

fn replay(target: &str, made: &[(&str, Vec<u8>)], read: impl Fn(Vec<u8>)) {
    let folder = seeds(target);
    if std::env::var_os("LIPBOUND_WRITE_SEEDS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        made.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
    }
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        read(fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= made.len(), "{count} seeds of {target}");
}

/// An attribute that is a list of whole numbers, packed.
fn ints_attribute(name: &str, values: &[i64]) -> Vec<u8> {
    let packed: Vec<u8> = values.iter().flat_map(|&v| proto::varint(v as u64)).collect();
    [len(1, name), len(8, packed), int(20, 7)].concat()
}

fn models() -> Vec<(&'static str, Vec<u8>)> {
    let numbers = |count: usize| (0..count).map(|i| i as f32 / 7.0 - 1.0).collect::<Vec<_>>();
    let mlp = Graph::small()
        .initializer(floats("w1", &[3, 4], &numbers(12)))
        .initializer(floats("b1", &[3], &numbers(3)))
        .initializer(floats("w2", &[3, 2], &numbers(6)))
        .node("Gemm", "fc1", &["x", "w1", "b1"], &["a"], &[int_attribute("transB", 1)])
        .node("Relu", "", &["a"], &["b"], &[])
        .node("MatMul", "fc2", &["b", "w2"], &["c"], &[])
        .node("Softmax", "", &["c"], &["y"], &[int_attribute("axis", 1)]);
    let conv = Graph::new()
        .input("x", &[1, 1, 6, 6])
        .output("y")
        .initializer(floats("w", &[2, 1, 3, 3], &numbers(18)))
        .initializer(floats("s", &[2], &[1.0, 2.0]))
        .initializer(floats("v", &[2], &[1.0, 0.5]))
        .node(
            "Conv",
            "c",
            &["x", "w", "s"],
            &["a"],
            &[ints_attribute("pads", &[1; 4]), ints_attribute("strides", &[2; 2])],
        )
        .node("BatchNormalization", "bn", &["a", "s", "s", "s", "v"], &["b"], &[])
        .node("Relu", "r", &["b"], &["d"], &[])
        .node("MaxPool", "p", &["d"], &["e"], &[ints_attribute("kernel_shape", &[2, 2])])
        .node("AveragePool", "q", &["d"], &["f"], &[ints_attribute("kernel_shape", &[2, 2])])
        .node("Add", "j", &["e", "f"], &["g"], &[])
        .node("Flatten", "h", &["g"], &["k"], &[int_attribute("axis", 1)])
        .node("LeakyRelu", "l", &["k"], &["y"], &[[len(1, "alpha"), float(2, 0.1), int(20, 1)].concat()]);
    let shapes = Graph::new()
        .input("x", &[1, 2, 3])
        .output("y")
        .initializer(ints("zero", &[0]))
        .initializer(ints("one", &[1]))
        .initializer(ints("minus", &[-1]))
        .node("Identity", "i", &["x"], &["a"], &[])
        .node("Shape", "", &["a"], &["s"], &[])
        .node("Gather", "", &["s", "zero"], &["n"], &[int_attribute("axis", 0)])
        .node("Slice", "", &["s", "one", "minus"], &["t"], &[])
        .node("Concat", "", &["n", "t", "minus"], &["u"], &[int_attribute("axis", 0)])
        .node("Reshape", "", &["a", "u"], &["b"], &[])
        .node("Relu", "", &["b"], &["y"], &[]);
    let folds = |output: &str| {
        Graph::new()
            .input("x", &[1, 4])
            .output(output)
            .initializer(floats("m", &[2, 3], &numbers(6)))
            .initializer(tensor("h", 10, &[2], &[0, 0x3c, 0, 0x40]))
            .node("Constant", "", &[], &["k"], &[tensor_attribute("value", &floats("", &[1, 2], &[1.0, -2.0]))])
            .node("Transpose", "", &["m"], &["t"], &[ints_attribute("perm", &[1, 0])])
            .node("Mul", "", &["t", "k"], &["u"], &[])
            .node("ReduceSum", "", &["u"], &["r"], &[int_attribute("keepdims", 0)])
            .node("Split", "", &["k"], &["k1", "k2"], &[int_attribute("axis", 1)])
            .node("Where", "", &["e", "k1", "r"], &["w"], &[])
            .node("Greater", "", &["k1", "k2"], &["e"], &[])
            .node("Pow", "", &["w", "h"], &["p"], &[])
            .node("Unsqueeze", "", &["p", "axes"], &["q"], &[])
            .initializer(ints("axes", &[0]))
            .node("Add", "", &["x", "q"], &["z"], &[])
            .node("Relu", "", &["x"], &["y"], &[])
    };
    vec![
        ("mlp", mlp.model()),
        ("conv", conv.model()),
        ("conv-9", conv.of_opset(9)),
        ("shapes", shapes.model()),
        ("folds", folds("y").model()),
        ("folds-all", folds("z").model()),
    ]
}

#[test]
fn onnx() {
    replay("onnx", &models(), |bytes| drop(read_onnx(bytes, None, &OnnxOptions::default())));
}

#[test]
fn safetensors() {
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"i":{"dtype":"I32","shape":[1],"data_offsets":[8,12]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 12]].concat();
    replay("safetensors", &[("two", file)], |bytes| {
        if let Ok(file) = Safetensors::from_bytes(bytes) {
            for name in ["w", "i"] {
                let _ = file.tensor(name);
                let _ = file.integers(name);
            }
        }
    });
}

#[test]
fn npy() {
    let file = |order: &str, kind: &str, data: &[u8]| {
        let header = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': (2, 2), }}\n");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
    };
    let made = [("single", file("False", "<f4", &[0; 16])), ("double", file("True", "<f8", &[0; 32]))];
    replay("npy", &made, |bytes| drop(read_npy(&bytes)));
}

#[test]
fn image() {
    let file = |kind, depth, data: &[u8]| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 2, 2);
        encoder.set_color(kind);
        encoder.set_depth(depth);
        if kind == png::ColorType::Indexed {
            encoder.set_palette(vec![0, 1, 2, 3, 4, 5]);
            encoder.set_trns(vec![255, 255]);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        bytes
    };
    let made = [
        ("palette.png", file(png::ColorType::Indexed, png::BitDepth::One, &[0b0100_0000, 0b1100_0000])),
        ("deep.png", file(png::ColorType::Rgba, png::BitDepth::Sixteen, &[255; 32])),
    ];
    replay("image", &made, |bytes| drop(read_image(&bytes, &ImageOptions::default())));
}
