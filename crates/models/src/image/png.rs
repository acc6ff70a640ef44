//! PNG: grey, palette and colour, of 1 to 16 bits, interlaced or not. Lossless, so there is one right answer.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Transformations};

use super::{Picture, Problem, upright};

pub const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Decodes a file; `admit` sees width and height first.
pub fn decode(bytes: &[u8], admit: impl Fn(usize, usize) -> Result<(), Problem>) -> Result<Picture, Problem> {
    let damaged = |error: png::DecodingError| Problem::File(format!("not a valid PNG file: {error}"));
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.ignore_checksums(false);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // Palettes become colours, fewer than 8 bits become 8 (exactly: 255 is a multiple), transparent colours alpha.
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(damaged)?;
    admit(header.width as usize, header.height as usize)?;
    let mut reader = decoder.read_info().map_err(damaged)?;
    if reader.info().animation_control.is_some_and(|animation| animation.num_frames > 1) {
        return Err("an animated PNG file; save the one picture that is meant".to_string().into());
    }
    let size = reader.output_buffer_size().ok_or_else(|| damaged(png::DecodingError::LimitsExceeded))?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(damaged)?;
    reader.finish().map_err(damaged)?;
    upright(reader.info().exif_metadata.as_deref())?;
    let samples: Vec<u16> = match frame.bit_depth {
        BitDepth::Sixteen => buffer.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect(),
        _ => buffer.into_iter().map(u16::from).collect(),
    };
    let white = if frame.bit_depth == BitDepth::Sixteen { u16::MAX } else { u16::from(u8::MAX) };
    let (width, height) = (frame.width as usize, frame.height as usize);
    let (channels, alpha) = match frame.color_type {
        ColorType::Grayscale => (1, false),
        ColorType::GrayscaleAlpha => (1, true),
        ColorType::Rgba => (3, true),
        ColorType::Rgb | ColorType::Indexed => (3, false),
    };
    let samples = if alpha { opaque(&samples, channels, white, width)? } else { samples };
    Ok(Picture { width, height, channels, samples, white })
}

/// The samples without their alpha, all of which must be opaque: what shines through is not in the file.
fn opaque(samples: &[u16], channels: usize, white: u16, width: usize) -> Result<Vec<u16>, Problem> {
    let pixels = samples.chunks_exact(channels + 1);
    if let Some(pixel) = pixels.clone().position(|pixel| pixel[channels] != white) {
        return Err(Problem::File(format!(
            "the picture is transparent, at row {}, column {} for instance; put it on a background first",
            pixel / width,
            pixel % width
        )));
    }
    Ok(pixels.flat_map(|pixel| &pixel[..channels]).copied().collect())
}
