//! Features of images as `m2t-trainer features` writes them: a safetensors file with `features`, `[N, D]` in float32, `labels`, `[N]` in
//! int64, and in its metadata the classes and the files as JSON arrays.

use std::collections::BTreeSet;
use std::path::Path;

use m2t_common::shard::Sample;
use safetensors::{Dtype, SafeTensors};

use crate::operator::Refused;

/// Features of a data set's images, each of unit length, so that the product of two is the cosine between them.
pub(super) struct Features {
    /// D.
    pub(super) width: usize,
    /// N · D numbers, image by image.
    rows: Vec<f32>,
    /// The class of each image, as a place in `classes`.
    pub(super) labels: Vec<usize>,
    pub(super) classes: Vec<String>,
    /// Below the data folder, in the order of the images; empty where the file does not tell them.
    pub(super) files: Vec<String>,
}

impl Features {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Refused`] says what is missing or does not fit.
    pub(super) fn read(path: &Path) -> Result<Self, Refused> {
        let shown = path.display();
        let bytes = std::fs::read(path)
            .map_err(|error| Refused::new(format!("--features {shown} cannot be read: {error}")))?;
        Self::parse(&bytes).map_err(|problem| {
            Refused::new(format!(
                "{shown} does not hold features as m2t features writes them: {problem}"
            ))
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let tensor = |name: &str| tensors.tensor(name).map_err(|error| error.to_string());
        let (features, labels) = (tensor("features")?, tensor("labels")?);
        let (&[n, width], Dtype::F32) = (features.shape(), features.dtype()) else {
            return Err("features is no matrix of float32".to_owned());
        };
        if n == 0 || width == 0 {
            return Err("there is no image in it".to_owned());
        }
        if labels.shape() != [n] || labels.dtype() != Dtype::I64 {
            return Err(format!("labels are not {n} numbers of int64"));
        }
        let texts = |key: &str| -> Vec<String> {
            let text = metadata.metadata().as_ref().and_then(|all| all.get(key));
            text.and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default()
        };
        let labels: Vec<i64> = labels
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|bytes| i64::from_le_bytes(*bytes))
            .collect();
        let (classes, labels) = named(texts("classes"), &labels);
        let files = Some(texts("files"))
            .filter(|files| files.len() == n)
            .unwrap_or_default();
        let numbers = features.data().as_chunks().0.iter();
        let mut rows: Vec<f32> = numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        for (i, row) in rows.chunks_exact_mut(width).enumerate() {
            to_unit_length(row).map_err(|()| format!("a feature of image {i} is no finite number"))?;
        }
        Ok(Self {
            width,
            rows,
            labels,
            classes,
            files,
        })
    }

    /// N.
    pub(super) fn n(&self) -> usize {
        self.labels.len()
    }

    /// The features of an image: D numbers of unit length.
    pub(super) fn row(&self, image: usize) -> &[f32] {
        &self.rows[image * self.width..][..self.width]
    }

    /// The name of an image's class.
    pub(super) fn class(&self, image: usize) -> &str {
        &self.classes[self.labels[image]]
    }

    /// At most `n` images, evenly spread over the data set, which goes class by class.
    pub(super) fn spread(&self, n: usize) -> Vec<usize> {
        let n = n.min(self.n());
        (0..n).map(|i| (i * self.n() + self.n() / 2) / n).collect()
    }

    /// The images most like `image`, itself left out, the most like first.
    pub(super) fn neighbours(&self, image: usize, n: usize) -> Vec<usize> {
        let own = self.row(image);
        let likeness = |other: usize| -> f32 { own.iter().zip(self.row(other)).map(|(a, b)| a * b).sum() };
        let mut nearest: Vec<(f32, usize)> = Vec::with_capacity(n + 1);
        for other in (0..self.n()).filter(|&other| other != image) {
            let found = likeness(other);
            let place = nearest.partition_point(|&(like, _)| like >= found);
            if place < n {
                nearest.insert(place, (found, other));
                nearest.truncate(n);
            }
        }
        nearest.into_iter().map(|(_, other)| other).collect()
    }

    /// The sample that an image is in the data folder.
    pub(super) fn sample(image: usize) -> Sample {
        Sample(image as u64)
    }
}

/// Names for classes, and labels as places among them; numbers stand in where names are missing.
fn named(names: Vec<String>, labels: &[i64]) -> (Vec<String>, Vec<usize>) {
    let fits = |&label: &i64| usize::try_from(label).is_ok_and(|label| label < names.len());
    if labels.iter().all(fits) {
        return (names, labels.iter().map(|&label| label as usize).collect());
    }
    let numbers: Vec<i64> = labels
        .iter()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let place = |label: &i64| numbers.partition_point(|number| number < label);
    let places = labels.iter().map(place).collect();
    (
        numbers.iter().map(|number| format!("class {number}")).collect(),
        places,
    )
}

fn to_unit_length(row: &mut [f32]) -> Result<(), ()> {
    let length = row
        .iter()
        .map(|&number| f64::from(number).powi(2))
        .sum::<f64>()
        .sqrt();
    if !length.is_finite() {
        return Err(());
    }
    let by = if length > 0.0 { 1.0 / length } else { 0.0 };
    for number in row {
        *number = (f64::from(*number) * by) as f32;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use safetensors::tensor::TensorView;

    use super::*;

    /// A file as `m2t features` writes it.
    pub(in crate::operator::report) fn file(
        rows: &[Vec<f32>],
        labels: &[i64],
        texts: &[(&str, &str)],
    ) -> Vec<u8> {
        let numbers: Vec<u8> = rows
            .iter()
            .flatten()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let label_bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        let width = rows.first().map_or(0, Vec::len);
        let views = [
            (
                "features",
                TensorView::new(Dtype::F32, vec![rows.len(), width], &numbers).unwrap(),
            ),
            (
                "labels",
                TensorView::new(Dtype::I64, vec![labels.len()], &label_bytes).unwrap(),
            ),
        ];
        let texts = texts
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        safetensors::serialize(views, Some(texts.collect::<HashMap<_, _>>())).unwrap()
    }

    pub(in crate::operator::report) fn made(
        rows: impl Iterator<Item = Vec<f32>>,
        label: impl Fn(usize) -> i64,
    ) -> Features {
        let rows: Vec<Vec<f32>> = rows.collect();
        let labels: Vec<i64> = (0..rows.len()).map(label).collect();
        Features::parse(&file(&rows, &labels, &[])).unwrap()
    }

    #[test]
    fn a_file_is_read_with_its_names() {
        let rows = [vec![3.0, 4.0], vec![0.0, 2.0]];
        let texts = [
            ("classes", r#"["cat","dog"]"#),
            ("files", r#"["cat/1.jpg","dog/2.jpg"]"#),
        ];
        let features = Features::parse(&file(&rows, &[0, 1], &texts)).unwrap();
        assert_eq!(features.row(0), [0.6, 0.8]);
        assert_eq!((features.class(0), features.class(1)), ("cat", "dog"));
        assert_eq!(features.files, ["cat/1.jpg", "dog/2.jpg"]);
        // Without names, or with too few of them, numbers stand in.
        let features = Features::parse(&file(&rows, &[7, 3], &[("classes", "[]")])).unwrap();
        assert_eq!((features.class(0), features.class(1)), ("class 7", "class 3"));
    }

    #[test]
    fn neighbours_are_the_most_like_and_never_the_image_itself() {
        let angles = [0.0_f32, 0.1, 0.3, 1.0, 3.0];
        let features = made(angles.iter().map(|angle| vec![angle.cos(), angle.sin()]), |_| 0);
        assert_eq!(features.neighbours(0, 3), [1, 2, 3]);
        assert_eq!(features.neighbours(2, 9), [1, 0, 3, 4]);
    }

    #[test]
    fn images_are_spread_over_the_whole_data_set() {
        let features = made(std::iter::repeat_n(vec![1.0], 100), |_| 0);
        assert_eq!(features.spread(4), [12, 37, 62, 87]);
        assert_eq!(features.spread(1000).len(), 100);
    }

    #[test]
    fn what_is_no_file_of_features_is_refused_by_its_fault() {
        let one = [vec![1.0, 2.0]];
        for (bytes, fault) in [
            (vec![1, 2, 3], "header"),
            (file(&[], &[], &[]), "no image"),
            (file(&one, &[1, 2], &[]), "labels"),
            (file(&[vec![f32::NAN]], &[0], &[]), "no finite number"),
        ] {
            let refused = Features::parse(&bytes).err().unwrap();
            assert!(refused.to_lowercase().contains(fault), "{refused}");
        }
    }
}
