//! Real models, where they are beside the project.

use std::path::Path;

use lipbound_models::{OnnxOptions, load_onnx};

#[test]
fn the_graphs_of_real_models_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    for name in [
        "avant-mnist/lenet.onnx",
        "cntk-mnist.onnx",
        "vnncomp/cifar_base_kw.onnx",
        "vnncomp/mnist-net_256x2.onnx",
        "vnncomp/resnet_2b.onnx",
        "vnncomp/test_small.onnx",
    ] {
        let path = folder.join(name);
        if !path.exists() {
            eprintln!("skipped: {} is not there", path.display());
            continue;
        }
        let model = load_onnx(&path, &OnnxOptions::default()).unwrap();
        assert!(!model.network.input_shape().is_empty());
    }
}
