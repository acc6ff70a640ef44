//! Any bytes are a safetensors file or refused, and so are the tensors of it that a layer may ask for.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lipbound_models::{Safetensors, TensorSource};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = Safetensors::from_bytes(bytes.to_vec()) {
        for name in ["w", "i"] {
            let _ = file.tensor(name);
            let _ = file.integers(name);
        }
    }
});
