//! Any bytes are a .npy file or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lipbound_models::read_npy;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_npy(bytes);
});
