//! JPEG: grey and colour, baseline and progressive. Decoders may differ by a few levels, as the format allows.

use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::{JpegDecoder, errors::DecodeErrors};

use super::{Picture, Problem, upright};

pub const SIGNATURE: &[u8] = b"\xff\xd8\xff";

/// Markers: a scan follows; the end.
const START_OF_SCAN: [u8; 2] = [0xff, 0xda];
const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

/// Decodes a file; `admit` sees width and height first.
pub fn decode(bytes: &[u8], admit: impl Fn(usize, usize) -> Result<(), Problem>) -> Result<Picture, Problem> {
    let invalid = |problem: String| Problem::File(format!("not a valid JPEG file: {problem}"));
    let damaged = |error: DecodeErrors| invalid(error.to_string());
    // Strict: otherwise what is missing or garbled would come out grey, without a word.
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| invalid("it has no size".into()))?;
    admit(width, height)?;
    upright(decoder.exif().map(Vec::as_slice))?;
    let (channels, space) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (1, ColorSpace::Luma),
        Some(ColorSpace::YCbCr | ColorSpace::RGB) => (3, ColorSpace::RGB),
        other => {
            let name = other.map_or("unknown colours".into(), |space| format!("colours in {space:?}"));
            return Err(format!("a JPEG file with {name}; save it as grey or RGB").into());
        }
    };
    // The decoder forgives an end that is missing after the last row has begun.
    let last = |marker: [u8; 2]| bytes.windows(2).rposition(|pair| pair == marker);
    if last(END_OF_IMAGE) < last(START_OF_SCAN) {
        return Err(invalid("its end is missing (truncated?)".into()));
    }
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let samples = decoder.decode().map_err(damaged)?;
    if samples.len() != width * height * channels {
        return Err(invalid(format!("{} samples for {width} x {height} pixels", samples.len())));
    }
    Ok(Picture { width, height, channels, samples: samples.into_iter().map(u16::from).collect(), white: 255 })
}
