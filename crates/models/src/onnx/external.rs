//! Tensors outside the model's file, in files beside it.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

use lipbound_lipschitz::ModelError;

use super::{budget::Budget, schema::StringStringEntryProto};

/// The folder of a model, and which files in it have been counted.
#[derive(Debug)]
pub(super) struct ExternalFiles {
    folder: Option<PathBuf>,
    counted: HashSet<PathBuf>,
}

/// Where a tensor is.
struct Place<'a> {
    location: &'a str,
    offset: u64,
    length: Option<u64>,
}

impl<'a> Place<'a> {
    fn new(entries: &'a [StringStringEntryProto]) -> Result<Self, ModelError> {
        let value = |key: &str| -> Result<Option<&'a str>, ModelError> {
            let mut found = entries.iter().filter(|entry| entry.key == key);
            let value = found.next().map(|entry| entry.value.as_str());
            match found.next() {
                None => Ok(value),
                Some(_) => Err(ModelError::model(format!("its external data has more than one '{key}'"))),
            }
        };
        let number = |key: &str| -> Result<Option<u64>, ModelError> {
            let Some(text) = value(key)? else { return Ok(None) };
            text.parse().map(Some).map_err(|_| {
                ModelError::model(format!("the {key} of its external data must be a whole number, got '{text}'"))
            })
        };
        let location = value("location")?
            .ok_or_else(|| ModelError::model("its external data has no 'location', the name of a file"))?;
        Ok(Self { location, offset: number("offset")?.unwrap_or(0), length: number("length")? })
    }
}

impl ExternalFiles {
    pub fn beside(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_path_buf), counted: HashSet::new() }
    }

    /// The `needed` bytes of a tensor. They are taken from the budget, and the caller gives them back.
    pub fn read(
        &mut self,
        entries: &[StringStringEntryProto],
        needed: usize,
        budget: &mut Budget,
    ) -> Result<Vec<u8>, ModelError> {
        let place = Place::new(entries)?;
        let at = |problem: String| ModelError::model(format!("external data '{}': {problem}", place.location));
        let (path, size) = self.locate(place.location).map_err(at)?;
        if self.counted.insert(path.clone()) {
            budget.extend(usize::try_from(size).unwrap_or(usize::MAX));
        }
        if let Some(length) = place.length.filter(|&length| length != needed as u64) {
            return Err(at(format!("its length is {length} bytes, but the shape and type need {needed}")));
        }
        if place.offset.checked_add(needed as u64).is_none_or(|end| end > size) {
            return Err(at(format!(
                "{needed} bytes from byte {} are needed, but the file has {size} (truncated?)",
                place.offset
            )));
        }
        budget.take(needed)?;
        let mut bytes = vec![0; needed];
        File::open(&path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(place.offset))?;
                file.read_exact(&mut bytes)
            })
            .map_err(|error| at(error.to_string()))?;
        Ok(bytes)
    }

    /// The real path of a regular file inside the model's folder, and its size.
    fn locate(&self, location: &str) -> Result<(PathBuf, u64), String> {
        let Some(folder) = &self.folder else {
            return Err("the model came without a folder, so there is nothing beside it".into());
        };
        // Backslashes separate folders where some models come from.
        let relative = location.replace('\\', "/");
        let relative = Path::new(&relative);
        let inside = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || location.contains('\0') || !inside {
            return Err("must be a path below the folder of the model, without '..'".into());
        }
        let folder = fs::canonicalize(folder).map_err(|error| format!("the folder of the model: {error}"))?;
        // Symbolic links are followed to where they lead, which must be inside too.
        let path = fs::canonicalize(folder.join(relative))
            .map_err(|error| format!("{error}; the file must lie beside the model, under this name"))?;
        if !path.starts_with(&folder) {
            return Err("leads outside the folder of the model".into());
        }
        let metadata = fs::metadata(&path).map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("is not a regular file".into());
        }
        Ok((path, metadata.len()))
    }
}
