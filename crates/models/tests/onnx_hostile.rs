//! Files that are broken or mean harm: each is refused with an error that names the place and the cause, and none makes
//! the reader allocate more than four times its size and 64 MiB.

mod proto;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    path::PathBuf,
};

use lipbound_models::{OnnxModel, OnnxOptions, load_onnx, read_onnx};
use proptest::prelude::*;
use proto::{Graph, float, floats, info, int, int_attribute, ints, len, node, tensor, tensor_attribute, varint};

/// Counts the live bytes of each thread and their peak; the reader starts no threads.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator as it came; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size() as isize);
        PEAK.set(PEAK.get().max(LIVE.get()));
        // SAFETY: as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: as it came.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads a model; the peak of what is allocated meanwhile must keep the promise. The bytes are already in memory, and
/// belong to the reader.
fn read_with(bytes: &[u8], options: &OnnxOptions) -> Result<OnnxModel, String> {
    let size = bytes.len();
    let before = LIVE.get();
    PEAK.set(before);
    let result = read_onnx(bytes.to_vec(), None, options).map_err(|error| error.to_string());
    let used = (PEAK.get() - before) as usize;
    assert!(used <= 4 * size + (64 << 20), "{used} bytes for a file of {size}");
    if let Err(error) = &result {
        assert!(error.len() < 40_000, "an error of {} bytes", error.len());
    }
    result
}

fn read(bytes: &[u8]) -> Result<OnnxModel, String> {
    read_with(bytes, &OnnxOptions::default())
}

/// The error has all these parts.
#[track_caller]
fn refused(bytes: &[u8], parts: &[&str]) {
    let error = read(bytes).map(|_| ()).expect_err("the model should be refused");
    for part in parts {
        assert!(error.contains(part), "'{part}' is not in: {error}");
    }
}

/// A model that has a little of everything that is read.
fn valid() -> Vec<u8> {
    Graph::small()
        .initializer(floats("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]))
        .initializer(ints("shape", &[4]))
        .node("Constant", "", &[], &["c"], &[tensor_attribute("value", &floats("", &[2], &[0.5, 0.25]))])
        .node("Add", "sum", &["w", "c"], &["s"], &[])
        .node("Reshape", "", &["s", "shape"], &["r"], &[])
        .node("Shape", "", &["a"], &["unused"], &[int_attribute("start", 1)])
        .node("Relu", "relu", &["a"], &["b"], &[])
        .node("Identity", "copy", &["x"], &["a"], &[])
        .node("Relu", "last", &["b"], &["logits"], &[])
        .node("Softmax", "soft", &["logits"], &["y"], &[int_attribute("axis", -1)])
        .model()
}

#[test]
fn the_model_that_is_broken_below_is_valid() {
    let model = read(&valid()).unwrap();
    assert_eq!(model.network.input_shape(), [4]);
    assert_eq!(model.network.nodes().iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["copy", "relu", "last"]);
    assert!(model.notes.iter().any(|note| note.contains("the final Softmax 'soft' is cut")), "{:?}", model.notes);
    assert_eq!((model.opset, model.producer.as_deref()), (17, Some("test")));
}

/// Weights that are widened, turned or kept as they are, in files above the allowance.
#[test]
fn large_weights_are_read_within_the_promise() {
    let n = 4096;
    let values: Vec<f32> = (0..n * n).map(|i| (i % 17) as f32 - 8.0).collect();
    let raw = || floats("w", &[n, n, 1, 1], &values);
    let typed = || {
        let mut bytes: Vec<u8> = [n, n, 1, 1].iter().flat_map(|&d| int(1, d)).collect();
        bytes.extend(int(2, 1));
        bytes.extend(len(8, "w"));
        bytes.extend(len(4, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()));
        bytes
    };
    let wide = |dims: &[i64]| {
        let raw: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
        tensor("w", 11, dims, &raw)
    };
    let image = [1, n, 1, 1];
    let cases: [(&str, Vec<u8>, &[i64], &str); 5] = [
        ("Conv, raw", raw(), &image, "Conv"),
        ("Conv, typed", typed(), &image, "Conv"),
        ("Conv, double", wide(&[n, n, 1, 1]), &image, "Conv"),
        ("ConvTranspose", raw(), &image, "ConvTranspose"),
        ("MatMul", floats("w", &[n, n], &values), &[1, n], "MatMul"),
    ];
    for (what, weight, shape, kind) in cases {
        let graph = Graph::new().input("x", shape).output("y");
        let bytes = graph.initializer(weight).node(kind, "", &["x", "w"], &["y"], &[]).model();
        let model = read(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(model.network.nodes().len(), 1, "{what}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = valid();
    for end in 0..bytes.len() {
        // The last field is the version of the operators; without it nothing is left that could be read.
        assert!(read(&bytes[..end]).is_err(), "cut to {end} of {} bytes", bytes.len());
    }
}

#[test]
fn graphs_that_are_none_are_refused() {
    let relu = |name, from, to| node("Relu", name, &[from], &[to], &[]);
    refused(&Graph::small().field(1, relu("n", "nowhere", "y")).model(), &["node 'n' (Relu)", "'nowhere'"]);
    refused(&Graph::small().model(), &["output 'y'"]);
    refused(
        &Graph::small()
            .field(1, relu("p", "q_out", "p_out"))
            .field(1, relu("q", "p_out", "q_out"))
            .field(1, relu("end", "q_out", "y"))
            .model(),
        &["cycle", "'p' (Relu)", "'q' (Relu)"],
    );
    refused(&Graph::small().field(1, relu("self", "y", "y")).model(), &["cycle", "'self'"]);
    refused(
        &Graph::small().field(1, relu("a", "x", "y")).field(1, relu("b", "x", "y")).model(),
        &["node 'b' (Relu)", "'y'", "node 'a' (Relu)"],
    );
    refused(&Graph::small().field(1, relu("a", "x", "x")).model(), &["'x'", "input"]);
    refused(&Graph::new().input("x", &[1, 4]).output("x").model(), &["'x' is the input itself"]);
    refused(
        &Graph::small()
            .node("Constant", "c", &[], &["y"], &[tensor_attribute("value", &floats("", &[1], &[1.0]))])
            .model(),
        &["'y' does not depend on the input"],
    );
    refused(
        &Graph::small().output("z").field(1, relu("a", "x", "y")).field(1, relu("b", "x", "z")).model(),
        &["2 outputs", "'y', 'z'", "option 'output'"],
    );
    refused(
        &Graph::small().input("x2", &[1, 4]).node("Add", "a", &["x", "x2"], &["y"], &[]).model(),
        &["2 inputs", "'x', 'x2'"],
    );
    refused(&[], &["empty"]);
    refused(b"not a model, but some text", &["not a valid ONNX file"]);
    refused(&[int(1, 8), len(8, int(2, 17))].concat(), &["no graph"]);
}

#[test]
fn one_of_several_outputs_is_chosen() {
    let bytes = Graph::small()
        .output("z")
        .node("Relu", "a", &["x"], &["y"], &[])
        .node("Identity", "b", &["y"], &["z"], &[])
        .model();
    let choose = |name: &str| OnnxOptions { output: Some(name.into()), ..OnnxOptions::default() };
    assert_eq!(read_with(&bytes, &choose("y")).unwrap().network.nodes().len(), 1);
    assert_eq!(read_with(&bytes, &choose("z")).unwrap().network.nodes().len(), 2);
    assert!(read_with(&bytes, &choose("q")).unwrap_err().contains("no tensor 'q'"));
}

#[test]
fn operators_that_are_not_known_are_refused_by_name() {
    let one = |kind: &str, attributes: &[Vec<u8>]| Graph::small().node(kind, "n", &["x"], &["y"], attributes).model();
    refused(&one("Frobnicate", &[]), &["node 'n' (Frobnicate)", "not supported", "Relu"]);
    refused(&one("If", &[[len(1, "then_branch"), len(6, ""), int(20, 5)].concat()]), &["node 'n' (If)"]);
    refused(&one("Relu", &[int_attribute("alpha", 1)]), &["node 'n' (Relu)", "'alpha'"]);
    refused(&one("Relu", &[[len(1, "a"), int(3, 1), int(20, 77)].concat()]), &["attribute 'a'", "type 77"]);
    refused(&one("Relu", &[[len(1, "a"), float(2, 1.0), int(20, 2)].concat()]), &["attribute 'a'", "type 2"]);
    let twice = [int_attribute("a", 1), int_attribute("a", 1)];
    refused(&one("Relu", &twice), &["attribute 'a'", "more than once"]);
    // The type of an attribute that is read.
    let constant = |attribute: Vec<u8>| {
        Graph::small()
            .node("Constant", "c", &[], &["k"], &[attribute])
            .node("Add", "n", &["x", "k"], &["y"], &[])
            .model()
    };
    refused(&constant(int_attribute("value", 3)), &["node 'c' (Constant)", "'value'"]);
    let other = [node("Relu", "n", &["x"], &["y"], &[]), len(7, "com.example")].concat();
    refused(&Graph::small().field(1, other).model(), &["node 'n' (Relu)", "com.example"]);
    let own = [Graph::small().node("Relu", "n", &["x"], &["y"], &[]).model(), len(25, len(1, "Relu"))].concat();
    refused(&own, &["node 'n' (Relu)", "function of the model"]);
    for version in [0, 6, 27, i64::MAX] {
        refused(&Graph::small().node("Relu", "n", &["x"], &["y"], &[]).of_opset(version), &["7 to 26"]);
    }
    // A softmax whose result is used is no last one.
    refused(
        &Graph::small().node("Softmax", "s", &["x"], &["p"], &[]).node("Relu", "r", &["p"], &["y"], &[]).model(),
        &["node 's' (Softmax)"],
    );
}

#[test]
fn tensors_that_cannot_be_are_refused() {
    let with = |tensor: Vec<u8>| Graph::small().initializer(tensor).node("Add", "n", &["x", "w"], &["y"], &[]).model();
    refused(&with(tensor("w", 1, &[1 << 31], &[])), &["node 'n' (Add)", "tensor 'w'", "2^31"]);
    refused(&with(tensor("w", 1, &[1 << 16, 1 << 14], &[])), &["tensor 'w'", "there are 0"]);
    refused(&with(tensor("w", 1, &[i64::MAX; 5], &[])), &["tensor 'w'", "2^31"]);
    refused(&with(tensor("w", 1, &[-4], &[0; 16])), &["tensor 'w'", "-4"]);
    refused(&with(tensor("w", 8, &[1], &[0; 4])), &["tensor 'w'", "STRING"]);
    refused(&with(tensor("w", 1, &[1; 100], &[0; 4])), &["100 axes"]);
    refused(&with(len(8, "w")), &["tensor 'w'", "UNDEFINED"]);
    let shapes = Graph::small()
        .initializer(floats("a", &[3], &[0.0; 3]))
        .initializer(floats("b", &[2], &[0.0; 2]))
        .node("Add", "n", &["a", "b"], &["w"], &[])
        .node("Add", "m", &["x", "w"], &["y"], &[])
        .model();
    refused(&shapes, &["node 'n' (Add)", "[[3], [2]]"]);
}

/// Bytes repeated to about this length.
fn repeated(bytes: &[u8], length: usize) -> Vec<u8> {
    bytes.iter().copied().cycle().take(length / bytes.len() * bytes.len()).collect()
}

#[test]
fn bombs_in_messages_are_refused_before_they_are_decoded() {
    let valid = || Graph::small().node("Relu", "n", &["x"], &["y"], &[]);
    // Empty messages of every kind of list: nodes, initialisers, inputs, outputs.
    for tag in [1, 5, 11, 12, 15] {
        let mut graph = valid();
        graph.0.extend(repeated(&len(tag, ""), 8 << 20));
        refused(&graph.model(), &[&format!("items of field {tag}")]);
    }
    for tag in [8, 25] {
        let bytes = [valid().model(), repeated(&len(tag, ""), 8 << 20)].concat();
        refused(&bytes, &[&format!("items of field {tag}")]);
    }
    // Just below the most that is allowed, of what takes the most memory.
    for count in [1 << 15, 1 << 16] {
        for tag in [1, 5, 11, 12] {
            let mut graph = valid();
            graph.0.extend(repeated(&len(tag, ""), 2 * (count - 2)));
            let _ = read(&graph.model());
        }
    }
    // A node with millions of empty inputs, outputs and attributes.
    for tag in [1, 2, 5] {
        let many = [node("Relu", "m", &["x"], &["z"], &[]), repeated(&len(tag, ""), 8 << 20)].concat();
        refused(&valid().field(1, many).model(), &["node 1"]);
    }
    // Many nodes with as many as are allowed.
    let each = node("Relu", "", &[""; 1000], &[""; 1000], &[]);
    let mut graph = valid();
    graph.0.extend(repeated(&len(1, each), 40 << 20));
    let _ = read(&graph.model());
    // Packed numbers of one byte each.
    for tag in [7, 8] {
        let numbers = [len(1, "a"), len(tag, vec![1; 64 << 20])].concat();
        let bytes = Graph::small().node("Relu", "n", &["x"], &["y"], &[numbers]).model();
        refused(&bytes, &["node 'n' (Relu)"]);
    }
    // An empty shape with many axes, declared and as dims.
    let axes = repeated(&len(1, ""), 8 << 20);
    let input = [len(1, "x"), len(2, len(1, [int(1, 1), len(2, axes)].concat()))].concat();
    refused(&Graph::new().field(11, input).output("y").model(), &["items of field 1"]);
    let dims = [len(1, vec![1; 64 << 20]), len(8, "w")].concat();
    refused(&valid().initializer(dims).model(), &["initialiser 0"]);
    // Typed numbers of one byte that are eight in memory, in one tensor.
    let whole = [len(1, varint(60 << 20)), int(2, 7), len(7, vec![1; 60 << 20]), len(8, "w")].concat();
    let bytes = Graph::small().initializer(whole).node("Add", "n", &["x", "w"], &["y"], &[]).model();
    refused(&bytes, &["tensor 'w'", "more memory"]);
    // Deep nesting, in fields that are skipped and in those that are read.
    let mut deep = Vec::new();
    for _ in 0..10_000 {
        deep = len(7, deep);
    }
    let _ = read(&deep);
    refused(&[7 << 3 | 3; 100_000], &["wire type 3"]);
    let attribute = |inner: Vec<u8>| [len(1, "then_branch"), len(6, inner), int(20, 5)].concat();
    let mut nested = Vec::new();
    for _ in 0..2000 {
        nested = len(1, len(5, attribute(nested)));
    }
    refused(&Graph::small().node("If", "n", &["x"], &["y"], &[attribute(nested)]).model(), &["node 'n' (If)"]);
    refused(&valid().node("Relu", &"n".repeat(1 << 20), &["x"], &["z"], &[]).model(), &["1048576 bytes"]);
}

#[test]
fn operators_that_ask_for_too_much_are_refused() {
    let shape = |values: &[i64]| Graph::small().initializer(ints("s", values));
    let end = |graph: Graph| graph.node("Add", "end", &["x", "k"], &["y"], &[]).model();
    for sizes in [&[1i64 << 30][..], &[1 << 24], &[1 << 15, 1 << 15], &[i64::MAX, i64::MAX], &[-1], &[1; 60]] {
        let bytes = end(shape(sizes).node("ConstantOfShape", "n", &["s"], &["k"], &[]));
        refused(&bytes, &["node 'n' (ConstantOfShape)"]);
        let one = shape(sizes).initializer(floats("one", &[], &[1.0]));
        refused(&end(one.node("Expand", "n", &["one", "s"], &["k"], &[])), &["node 'n' (Expand)"]);
    }
    let tiled = Graph::small().initializer(floats("t", &[2], &[1.0; 2])).initializer(ints("s", &[1 << 28]));
    refused(&end(tiled.node("Tile", "n", &["t", "s"], &["k"], &[])), &["node 'n' (Tile)"]);
    for [start, limit, delta] in [[0, i64::MAX, 1], [i64::MIN, i64::MAX, i64::MAX], [0, 1 << 30, 3], [0, 5, 0]] {
        let scalar = |name: &str, value: i64| tensor(name, 7, &[], &value.to_le_bytes());
        let graph = Graph::small()
            .initializer(scalar("a", start))
            .initializer(scalar("b", limit))
            .initializer(scalar("d", delta))
            .node("Range", "n", &["a", "b", "d"], &["r"], &[])
            .node("Relu", "m", &["r"], &["k"], &[]);
        let error = read(&end(graph)).map(|_| ()).unwrap_err();
        assert!(error.contains("node 'n' (Range)") || error.contains("node 'end' (Add)"), "{error}");
    }
    let padded = Graph::small().initializer(floats("t", &[1], &[1.0])).initializer(ints("s", &[1 << 29, i64::MAX]));
    refused(&end(padded.node("Pad", "n", &["t", "s"], &["k"], &[])), &["node 'n' (Pad)"]);
    // Doubling thirty times.
    let mut graph = Graph::small().initializer(floats("k0", &[1024], &[1.0; 1024]));
    for i in 0..30 {
        let (from, to) = (format!("k{i}"), if i == 29 { "k".into() } else { format!("k{}", i + 1) });
        graph = graph.node("Concat", &format!("join{i}"), &[&from, &from], &[&to], &[int_attribute("axis", 0)]);
    }
    refused(&end(graph), &["node 'join", "(Concat)", "more memory"]);
    // A long product again and again: little memory, much work.
    let side = 1500i64;
    let raw = vec![0; (4 * side * side) as usize];
    let mut graph = Graph::small().initializer(tensor("m", 1, &[side, side], &raw));
    let mut from = "m".to_string();
    for i in 0..50 {
        let to = if i == 49 { "k".to_string() } else { format!("p{i}") };
        graph = graph.node("MatMul", &to, &[&from, "m"], &[&to], &[]);
        from = to;
    }
    refused(&end(graph), &["(MatMul)", "more arithmetic"]);
    // Many nodes of one name.
    let mut graph = Graph::small();
    for i in 0..20_000 {
        let from = if i == 0 { "x".to_string() } else { format!("t{i}") };
        let to = if i == 19_999 { "y".to_string() } else { format!("t{}", i + 1) };
        graph = graph.node("Relu", "same", &[&from], &[&to], &[]);
    }
    read(&graph.model()).unwrap();
}

/// A folder that goes with its contents.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lipbound-onnx-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("model")).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A model with a constant of eight numbers in another file, and the entries that say where.
fn external(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(key, value)| len(13, [len(1, key), len(2, value)].concat()));
    let tensor: Vec<u8> = [int(1, 8), int(2, 1), len(8, "w"), int(14, 1)].concat().into_iter().chain(entries).collect();
    Graph::new()
        .input("x", &[1, 8])
        .output("y")
        .initializer(tensor)
        // Something that has no rule for a flow, so that the error tells whether the tensor was read.
        .node("Range", "use", &["w", "x"], &["y"], &[])
        .model()
}

#[test]
fn external_data_stay_in_their_folder() {
    let folder = Folder::new("external");
    let model = folder.0.join("model/model.onnx");
    fs::write(folder.0.join("secret.bin"), [0; 64]).unwrap();
    fs::write(folder.0.join("model/data.bin"), [0; 64]).unwrap();
    fs::write(folder.0.join("model/short.bin"), [0; 31]).unwrap();
    fs::create_dir(folder.0.join("model/sub")).unwrap();
    std::os::unix::fs::symlink("../secret.bin", folder.0.join("model/link.bin")).unwrap();
    std::os::unix::fs::symlink("data.bin", folder.0.join("model/inside.bin")).unwrap();
    let result = |entries: &[(&str, &str)]| {
        fs::write(&model, external(entries)).unwrap();
        load_onnx(&model, &OnnxOptions::default()).map(|_| ()).unwrap_err().to_string()
    };
    let was_read = "node 'use' (Range): the operator 'Range' is not supported";
    for entries in [
        &[("location", "data.bin")][..],
        &[("location", "./data.bin"), ("offset", "32"), ("length", "32")],
        &[("location", "inside.bin"), ("offset", "1")],
    ] {
        let error = result(entries);
        assert!(error.contains(was_read) && error.contains("model.onnx: "), "{entries:?}: {error}");
    }
    let secret = folder.0.join("secret.bin");
    for (entries, cause) in [
        (&[("location", "../secret.bin")][..], "without '..'"),
        (&[("location", "sub/../../secret.bin")], "without '..'"),
        (&[("location", "..\\secret.bin")], "without '..'"),
        (&[("location", secret.to_str().unwrap())], "below the folder"),
        (&[("location", "")], "below the folder"),
        (&[("location", "link.bin")], "outside the folder"),
        (&[("location", "sub")], "regular file"),
        (&[("location", "absent.bin")], "absent.bin"),
        (&[("location", "short.bin")], "truncated?"),
        (&[("location", "data.bin"), ("offset", "33")], "truncated?"),
        (&[("location", "data.bin"), ("offset", "18446744073709551615")], "truncated?"),
        (&[("location", "data.bin"), ("offset", "-1")], "whole number"),
        (&[("location", "data.bin"), ("length", "31")], "its length is 31"),
        (&[("location", "data.bin"), ("location", "data.bin")], "more than one 'location'"),
        (&[("offset", "0")], "no 'location'"),
    ] {
        let error = result(entries);
        assert!(error.contains("node 'use' (Range): tensor 'w'") && error.contains(cause), "{entries:?}: {error}");
    }
    // Without a folder there is nothing beside the model.
    refused(&external(&[("location", "data.bin")]), &["without a folder"]);
    assert!(load_onnx(&folder.0, &OnnxOptions::default()).unwrap_err().to_string().contains("regular file"));
}

#[test]
fn infinite_numbers_are_constants_but_no_sizes() {
    let bytes = Graph::small()
        .initializer(floats("s", &[1], &[f32::NAN]))
        .node("Cast", "n", &["s"], &["k"], &[int_attribute("to", 7)])
        .node("Add", "end", &["x", "k"], &["y"], &[])
        .model();
    refused(&bytes, &["node 'n' (Cast)", "NaN"]);
    // An input of no elements, or of a type that is not of floating point.
    refused(
        &Graph::new().input("x", &[1, 1 << 31]).output("y").node("Relu", "n", &["x"], &["y"], &[]).model(),
        &["2^31"],
    );
    let whole = [len(1, "x"), len(2, len(1, [int(1, 7), len(2, len(1, int(1, 4)))].concat()))].concat();
    let bytes = Graph::new().field(11, whole).output("y").node("Relu", "n", &["x"], &["y"], &[]).model();
    refused(&bytes, &["input 'x'", "INT64"]);
    let _ = info("x", &[]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn a_mutated_model_is_read_or_refused(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        splice in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..200)),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = valid();
        if let Some((from, to, length)) = splice {
            let from = from.index(bytes.len());
            let part = bytes[from..(from + length).min(bytes.len())].to_vec();
            let to = to.index(bytes.len());
            bytes.splice(to..to, part);
        }
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = read(&bytes);
        // The part that is computed beforehand.
        let _ = read_with(&bytes, &OnnxOptions { output: Some("r".into()), ..OnnxOptions::default() });
    }
}
