//! Any bytes are a picture or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lipbound_models::{ImageOptions, read_image};

fuzz_target!(|bytes: &[u8]| {
    let _ = read_image(bytes, &ImageOptions { channels: Some(1), ..ImageOptions::default() });
});
