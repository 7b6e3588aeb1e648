//! Reads the forms in which the labels of ImageNet's validation images go around.
//!
//! ```text
//! ILSVRC2012_val_00000001.JPEG n01751748      a name and a class, between them space or a comma
//! ImageId,PredictionString                    Kaggle's LOC_val_solution.csv: class and boxes
//! ILSVRC2012_val_00048981,n03995372 85 1 499 272
//! n01751748                                   a class a line, in the order of the images' names
//! ```
//! Class *numbers* (`ILSVRC2012_validation_ground_truth.txt`) are refused: which class a number is, another file says.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// The class of each name; names stand without their extension.
#[derive(Debug)]
pub(super) struct Labels(BTreeMap<String, String>);

/// A file of labels that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// It cannot be read as text.
    #[error("the labels {} cannot be read; pass a text file with --labels", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It has no line.
    #[error("the labels {} are empty; pass a file with a line for each image", .0.display())]
    Empty(PathBuf),
    /// Its classes are numbers.
    #[error(
        "line {line} of {} gives the class as the number {number}, which says nothing without the development kit's \
         table; pass labels with class names such as n01751748 (LOC_val_solution.csv has them)",
        path.display()
    )]
    Number {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// The class.
        number: String,
    },
    /// A line that is no label.
    #[error("line {line} of {} is no label: {text:?}; a label is an image's name and its class", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Its text.
        text: String,
    },
    /// An image with two classes.
    #[error("line {line} of {} gives {name} another class than a line before; remove the wrong one", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// The image.
        name: String,
    },
    /// A class a line, but not for each image.
    #[error(
        "{} gives a class a line, {labels} of them, and there are {images} images; such a list must have a line for \
         each image",
        path.display()
    )]
    Count {
        /// The file.
        path: PathBuf,
        /// Lines.
        labels: usize,
        /// Images.
        images: usize,
    },
}

/// Reads the labels of these images.
pub(super) fn read(path: &Path, images: &BTreeSet<&String>) -> Result<Labels, LabelError> {
    let text = std::fs::read_to_string(path).map_err(|source| LabelError::Read {
        path: path.to_owned(),
        source,
    })?;
    let lines: Vec<(usize, &str)> = (1..)
        .zip(text.trim_start_matches('\u{feff}').lines())
        .map(|(number, line)| (number, line.trim()))
        .filter(|(number, line)| !(line.is_empty() || *number == 1 && is_header(line)))
        .collect();
    let Some((_, first)) = lines.first() else {
        return Err(LabelError::Empty(path.to_owned()));
    };
    // A class a line: neither space nor comma in it.
    if fields(first).count() == 1 {
        if lines.len() != images.len() {
            return Err(LabelError::Count {
                path: path.to_owned(),
                labels: lines.len(),
                images: images.len(),
            });
        }
        let mut labels = BTreeMap::new();
        for ((line, class), image) in lines.into_iter().zip(images) {
            labels.insert(stem(image).to_owned(), class_name(path, line, class, class)?);
        }
        return Ok(Labels(labels));
    }
    let mut labels = BTreeMap::new();
    for (line, text) in lines {
        let mut fields = fields(text);
        let (name, class) = (
            fields.next().unwrap_or_default(),
            fields.next().unwrap_or_default(),
        );
        let class = class_name(path, line, class, text)?;
        let before = labels.insert(stem(name).to_owned(), class.clone());
        if before.is_some_and(|before| before != class) {
            return Err(LabelError::Twice {
                path: path.to_owned(),
                line,
                name: name.to_owned(),
            });
        }
    }
    Ok(Labels(labels))
}

impl Labels {
    pub(super) fn class_of(&self, image: &str) -> Option<&String> {
        self.0.get(stem(image))
    }

    /// The labelled names that are no image's.
    pub(super) fn without_image(&self, images: &BTreeSet<&String>) -> Vec<String> {
        let stems: BTreeSet<&str> = images.iter().map(|image| stem(image)).collect();
        let missing = self.0.keys().filter(|name| !stems.contains(name.as_str()));
        missing.cloned().collect()
    }
}

fn is_header(line: &str) -> bool {
    line.to_ascii_lowercase().starts_with("imageid,")
}

fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.split([',', ' ', '\t', ';'])
        .filter(|field| !field.is_empty())
}

/// A name without an image's extension.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, _)) if crate::index::is_image(Path::new(name)) => stem,
        _ => name,
    }
}

/// The class in a line, if a folder can be called so.
fn class_name(path: &Path, line: usize, class: &str, text: &str) -> Result<String, LabelError> {
    let path = path.to_owned();
    if !class.is_empty() && class.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = class.to_owned();
        return Err(LabelError::Number { path, line, number });
    }
    let is_folder_name = !class.is_empty()
        && !class.starts_with('.')
        && !class.contains([',', ' ', '\t', '/', '\\', '\0'])
        && !crate::index::is_image(Path::new(class));
    if !is_folder_name {
        let text = text.to_owned();
        return Err(LabelError::Line { path, line, text });
    }
    Ok(class.to_owned())
}
