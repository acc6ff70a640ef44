use ::png::{BitDepth, ColorType, Encoder};
use proptest::prelude::*;

use super::*;

/// A PNG file, as `prepare` has it.
fn png(width: u32, height: u32, kind: ColorType, depth: BitDepth, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(kind);
    encoder.set_depth(depth);
    if kind == ColorType::Indexed {
        encoder.set_palette(vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30]);
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    bytes
}

fn read(bytes: &[u8], options: &ImageOptions) -> Tensor {
    read_image(bytes, options).unwrap()
}

fn refusal(bytes: &[u8], options: &ImageOptions) -> String {
    read_image(bytes, options).unwrap_err().to_string()
}

#[test]
fn depths_and_palettes() {
    let plain = ImageOptions::default();
    let bits = png(4, 1, ColorType::Grayscale, BitDepth::Two, &[0b00_01_10_11]);
    assert_eq!(read(&bits, &plain), Tensor::f64(vec![1, 1, 4], vec![0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0]).unwrap());
    let deep = png(2, 1, ColorType::Grayscale, BitDepth::Sixteen, &[0x12, 0x34, 0xff, 0xff]);
    assert_eq!(read(&deep, &plain).to_f64(), [f64::from(0x1234) / 65535.0, 1.0]);
    let indexed = png(2, 1, ColorType::Indexed, BitDepth::Two, &[0b10_11_00_00]);
    let colours = [0.0, 10.0, 0.0, 20.0, 255.0, 30.0].map(|v| v / 255.0);
    assert_eq!(read(&indexed, &plain), Tensor::f64(vec![3, 1, 2], colours.to_vec()).unwrap());
}

#[test]
fn alpha_is_dropped_where_nothing_shines_through() {
    let plain = ImageOptions::default();
    let opaque = png(1, 1, ColorType::GrayscaleAlpha, BitDepth::Eight, &[51, 255]);
    assert_eq!(read(&opaque, &plain).to_f64(), [0.2]);
    let clear = png(2, 1, ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 255, 4, 5, 6, 254]);
    assert!(refusal(&clear, &plain).contains("row 0, column 1"));
}

#[test]
fn grey_and_colour() {
    let grey = png(1, 1, ColorType::Grayscale, BitDepth::Eight, &[51]);
    let colour = png(1, 1, ColorType::Rgb, BitDepth::Eight, &[255, 0, 51]);
    let (one, three) = (Some(1), Some(3));
    let options = |channels| ImageOptions { channels, ..ImageOptions::default() };
    assert_eq!(read(&grey, &options(three)).to_f64(), [0.2; 3]);
    assert_eq!(read(&colour, &options(one)).to_f64(), [(0.299 * 255.0 + 0.114 * 51.0) / 255.0]);
    // A grey pixel in colour has its level, bit for bit.
    for level in 0..=255 {
        let pixel = png(1, 1, ColorType::Rgb, BitDepth::Eight, &[level; 3]);
        assert_eq!(read(&pixel, &options(one)).to_f64(), [f64::from(level) / 255.0]);
    }
    let normalised = ImageOptions { mean: vec![0.5, 0.25, 0.0], std: vec![0.5, 1.0, 2.0], ..ImageOptions::default() };
    assert_eq!(read(&colour, &normalised).to_f64(), [1.0, -0.25, 0.1]);
    assert!(refusal(&grey, &normalised).contains("3 numbers for mean, but 1 channel"));
}

#[test]
fn sizes_are_known_before_anything_is_decoded() {
    // A header alone, which promises more than any memory.
    let mut bomb = png(1, 1, ColorType::Rgba, BitDepth::Sixteen, &[0; 8]);
    bomb[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let mut checksum = 0xffff_ffff_u32;
    for &byte in &bomb[12..29] {
        checksum ^= u32::from(byte);
        (0..8).for_each(|_| checksum = (checksum >> 1) ^ if checksum & 1 == 1 { 0xedb8_8320 } else { 0 });
    }
    bomb[29..33].copy_from_slice(&(!checksum).to_be_bytes());
    assert!(refusal(&bomb, &ImageOptions::default()).contains("at most 16777216 pixels"));
    let square = ImageOptions { size: Some((28, 28)), ..ImageOptions::default() };
    let small = png(3, 2, ColorType::Grayscale, BitDepth::Eight, &[0; 6]);
    let error = read_image(&small, &square).unwrap_err();
    assert!(matches!(error, FileError::Model(_)));
    assert!(error.to_string().contains("2 pixels high and 3 wide, but has to be 28 high and 28 wide"));
}

#[test]
fn orientations() {
    let upright = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0";
    let turned = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
    assert_eq!(exif::orientation(upright), Some(1));
    assert_eq!(exif::orientation(turned), Some(6));
    assert!((0..turned.len() - 2).all(|end| exif::orientation(&turned[..end]).is_none()));
}

proptest! {
    #[test]
    fn no_bytes_do_harm(start in 0..3_usize, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let start = [&b""[..], png::SIGNATURE, jpeg::SIGNATURE][start];
        let _ = read_image(&[start, &bytes].concat(), &ImageOptions::default());
    }

    #[test]
    fn what_is_cut_off_is_refused(end in 0..200_usize) {
        let whole = png(9, 7, ColorType::Rgb, BitDepth::Eight, &(0..189).collect::<Vec<u8>>());
        prop_assert!(read_image(&whole, &ImageOptions::default()).is_ok());
        prop_assert!(read_image(&whole[..end.min(whole.len() - 1)], &ImageOptions::default()).is_err());
    }
}
