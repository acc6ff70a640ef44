//! Pictures as tensors: PNG and JPEG files, told apart by what is in them.
//!
//! Samples become numbers from 0 to 1 and then what the network was trained on. Nothing is resized, turned or blended:
//! what a picture would need that for is refused, since how it is done changes the numbers.

mod exif;
mod jpeg;
mod png;

use std::{fs::File, io::Read, path::Path};

use lipbound_lipschitz::{ModelError, Tensor};

use crate::FileError;

/// What the tensor of a picture has to be.
#[derive(Clone, Debug)]
pub struct ImageOptions {
    /// 1 for grey, 3 for red, green and blue; as the file has them if absent.
    pub channels: Option<usize>,
    /// Height and width in pixels that the picture must have.
    pub size: Option<(usize, usize)>,
    /// Subtracted from each sample between 0 and 1: one number, or one a channel.
    pub mean: Vec<f64>,
    /// What the difference is divided by: the same.
    pub std: Vec<f64>,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self { channels: None, size: None, mean: vec![0.0], std: vec![1.0] }
    }
}

/// Pixels that are read at most: 4096 by 4096. A small file can hold far more.
const MAX_PIXELS: usize = 1 << 24;

/// Bytes of a file that are read at most; what [`MAX_PIXELS`] take without compression, and more than once again.
const MAX_BYTES: u64 = 1 << 28;

/// What a file holds once it is decoded.
struct Picture {
    /// In pixels.
    width: usize,
    /// In pixels.
    height: usize,
    /// Samples a pixel: 1 for grey, 3 for red, green and blue.
    channels: usize,
    /// `[height, width, channels]`.
    samples: Vec<u16>,
    /// The sample that is white: 255 or 65535.
    white: u16,
}

/// What is wrong with a picture, without the name of its file.
enum Problem {
    /// The file.
    File(String),
    /// The size.
    Shape(String),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::File(problem)
    }
}

/// Reads a picture from a file, as `[channels, height, width]` in double precision: each sample divided by the largest
/// possible one, less the mean, divided by the standard deviation.
///
/// Colour becomes grey by the luma of ITU-R BT.601 (0.299 red, 0.587 green, 0.114 blue), which is not rounded to a level.
/// Grey becomes colour by repetition. Gamma and colour profiles are not applied.
///
/// # Errors
/// If the file cannot be read, is neither PNG nor JPEG, is damaged, larger than 2^24 pixels, of another size than asked,
/// transparent somewhere, animated, or to be turned; or if there are as many means as neither 1 nor channels.
pub fn load_image(path: &Path, options: &ImageOptions) -> Result<Tensor, FileError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| FileError::file(path, error))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| FileError::file(path, error))?;
    read_image(&bytes, options).map_err(|error| match error {
        FileError::File(problem) => FileError::file(path, problem),
        FileError::Model(error) => FileError::Model(error.at(&path.display().to_string())),
    })
}

/// The same for bytes in memory.
///
/// # Errors
/// As [`load_image`].
pub fn read_image(bytes: &[u8], options: &ImageOptions) -> Result<Tensor, FileError> {
    let picture = decode(bytes, options).map_err(|problem| match problem {
        Problem::File(problem) => FileError::File(problem),
        Problem::Shape(problem) => FileError::Model(ModelError::shape(problem)),
    })?;
    tensor_of(&picture, options).map_err(FileError::Model)
}

fn decode(bytes: &[u8], options: &ImageOptions) -> Result<Picture, Problem> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("a picture may be at most {MAX_BYTES} bytes long").into());
    }
    let admit = |width: usize, height: usize| admit(width, height, options.size);
    if bytes.starts_with(png::SIGNATURE) {
        png::decode(bytes, admit)
    } else if bytes.starts_with(jpeg::SIGNATURE) {
        jpeg::decode(bytes, admit)
    } else if bytes.starts_with(b"\x93NUMPY") {
        Err("a .npy file, not a picture".to_string().into())
    } else {
        Err("neither a PNG nor a JPEG picture".to_string().into())
    }
}

/// Whether a picture is to be decoded at all, by what its header says.
fn admit(width: usize, height: usize, size: Option<(usize, usize)>) -> Result<(), Problem> {
    if let Some((high, wide)) = size
        && size != Some((height, width))
    {
        return Err(Problem::Shape(format!(
            "the picture is {height} pixels high and {width} wide, but has to be {high} high and {wide} wide; \
             resize it as for the network's training"
        )));
    }
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(Problem::File(format!(
            "the picture is {height} pixels high and {width} wide, but may have at most {MAX_PIXELS} pixels"
        )));
    }
    Ok(())
}

/// Refuses a picture whose metadata ask for it to be turned or mirrored.
fn upright(exif: Option<&[u8]>) -> Result<(), Problem> {
    match exif.and_then(exif::orientation) {
        Some(orientation @ 2..=8) => Err(Problem::File(format!(
            "its metadata ask to turn or mirror it (EXIF orientation {orientation}), which some programs do and others \
             do not; save it upright, without that tag"
        ))),
        _ => Ok(()),
    }
}

fn tensor_of(picture: &Picture, options: &ImageOptions) -> Result<Tensor, ModelError> {
    let &Picture { width, height, channels: stored, ref samples, white } = picture;
    let channels = options.channels.unwrap_or(stored);
    let by_channel = |what: &str, numbers: &[f64]| match numbers {
        [one] => Ok(vec![*one; channels]),
        _ if numbers.len() == channels => Ok(numbers.to_vec()),
        _ => {
            let (given, plural) = (numbers.len(), if channels == 1 { "" } else { "s" });
            Err(ModelError::shape(format!("there are {given} numbers for {what}, but {channels} channel{plural}")))
        }
    };
    let (mean, std) = (by_channel("mean", &options.mean)?, by_channel("std", &options.std)?);
    let area = width * height;
    let white = f64::from(white);
    let level = |channel: usize, pixel: usize| match (stored, channels) {
        (1, _) => f64::from(samples[pixel]) / white,
        (_, 1) => {
            let [red, green, blue] = [0, 1, 2].map(|k| f64::from(samples[3 * pixel + k]));
            // In thousandths, which are exact: grey pixels keep their level.
            (299.0 * red + 587.0 * green + 114.0 * blue) / (1000.0 * white)
        }
        _ => f64::from(samples[3 * pixel + channel]) / white,
    };
    let mut data = Vec::with_capacity(channels * area);
    for channel in 0..channels {
        data.extend((0..area).map(|pixel| (level(channel, pixel) - mean[channel]) / std[channel]));
    }
    Tensor::f64(vec![channels, height, width], data)
}

#[cfg(test)]
mod tests;
