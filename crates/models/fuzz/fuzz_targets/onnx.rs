//! Any bytes are an ONNX model or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lipbound_models::{OnnxOptions, read_onnx};

fuzz_target!(|bytes: &[u8]| {
    let _ = read_onnx(bytes.to_vec(), None, &OnnxOptions::default());
});
