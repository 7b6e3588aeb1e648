//! What a run's encoder makes of a data set: a map of the features, and pictures with those most like them.
//!
//! Features are computed by `m2t-trainer features`, or read from a file that it wrote. Photographs are looked at only where the data
//! folder is named, and what goes into the page are small pictures of a few of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use m2t_data::{Cache, Index, decode};

use super::features::Features;
use super::{pca, thumbnail};
use crate::operator::{Refused, beside};

/// Dots of a map; more would only lie on each other.
const MOST_DOTS: usize = 2000;
/// Images whose features are computed for a page: a gigabyte or two of memory.
const MOST_IMAGES: u64 = 200_000;
/// Pictures whose neighbours are shown.
const QUERIES: usize = 8;
/// Neighbours of each.
const NEIGHBOURS: usize = 5;

/// Where features come from, and where the photographs are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// A file of features; without one they are computed.
    pub(super) features: Option<&'a Path>,
    /// The data folder, or a pack.
    pub(super) data: Option<&'a Path>,
}

/// The plane in which features differ most.
#[derive(Clone, Debug)]
pub(super) struct Map {
    /// The stem of its files' names.
    pub(super) id: String,
    pub(super) title: String,
    /// Behind the title, in small.
    pub(super) note: String,
    pub(super) dots: Vec<Dot>,
    pub(super) classes: Vec<String>,
}

/// An image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dot {
    pub(super) at: (f64, f64),
    /// Its place among the classes.
    pub(super) class: usize,
}

/// A picture and those most like it.
#[derive(Clone, Debug)]
pub(super) struct Example {
    pub(super) query: Picture,
    /// The most like first.
    pub(super) neighbours: Vec<Picture>,
}

/// A photograph.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) class: String,
    /// A `data:` address, or why there is none.
    pub(super) address: Result<String, String>,
}

/// What is shown of a run's features.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) map: Map,
    /// None without the photographs.
    pub(super) examples: Vec<Example>,
}

/// The view of the run in `folder`, called `name`.
///
/// # Errors
/// [`Refused`] where file or folder hold no features or other images; and where something cannot be read or computed.
pub(super) fn view(folder: &Path, name: &str, source: Source<'_>) -> anyhow::Result<View> {
    let features = match (source.features, source.data) {
        (Some(file), _) => Features::read(file)?,
        (None, Some(data)) => computed(folder, data)?,
        (None, None) => unreachable!("a view is asked for with one of them"),
    };
    let examples = source
        .data
        .map_or(Ok(Vec::new()), |data| examples(&features, data))?;
    Ok(View {
        map: map(&features, name),
        examples,
    })
}

/// Has them computed beside this program.
fn computed(folder: &Path, data: &Path) -> anyhow::Result<Features> {
    let n = open(data)?.n_samples();
    if n > MOST_IMAGES {
        return Err(Refused::new(format!(
            "--data {} has {n} images, too many to look at; give at most {MOST_IMAGES}, such as the held-out ones",
            data.display()
        ))
        .into());
    }
    let place = tempfile::tempdir().context("could not make a folder for the features")?;
    let file: PathBuf = place.path().join("features.safetensors");
    let trainer = beside("m2t-trainer")?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let status = Command::new(&trainer)
        .arg("features")
        .arg(folder)
        .arg("--data")
        .arg(data)
        .arg("--to")
        .arg(&file)
        .arg("--threads")
        .arg(threads.to_string())
        .stdout(Stdio::null())
        .status()
        .with_context(|| {
            format!(
                "cannot run {}; build it with cargo build --release -p m2t-trainer",
                trainer.display()
            )
        })?;
    ensure!(
        status.success(),
        "m2t-trainer features, which computes the features for --data, ended with {status}"
    );
    Ok(Features::read(&file)?)
}

fn map(features: &Features, name: &str) -> Map {
    let images = features.spread(MOST_DOTS);
    let plane = pca::plane(features, &images);
    let each = images.iter().zip(&plane.points);
    let dots = each.map(|(&image, &at)| Dot {
        at,
        class: features.labels[image],
    });
    let [first, second] = plane.shares.map(|share| share * 100.0);
    let n = super::axis::grouped(images.len() as i64);
    Map {
        id: format!("features-{}", name.replace(['/', '\\'], "-")),
        title: format!("Features of {name}"),
        note: format!("{n} images; {first:.0} % + {second:.0} % of the variance"),
        dots: dots.collect(),
        classes: features.classes.clone(),
    }
}

fn examples(features: &Features, data: &Path) -> anyhow::Result<Vec<Example>> {
    let index = open(data)?;
    require_same(features, &index)?;
    let picture = |image: usize| Picture {
        class: features.class(image).to_owned(),
        address: address(&index, image),
    };
    let queries = features.spread(QUERIES).into_iter();
    Ok(queries
        .map(|query| Example {
            query: picture(query),
            neighbours: features
                .neighbours(query, NEIGHBOURS)
                .into_iter()
                .map(picture)
                .collect(),
        })
        .collect())
}

fn open(data: &Path) -> Result<Index, Refused> {
    Index::open(data, &Cache::usual()).map_err(|error| Refused::new(error.to_string()))
}

fn address(index: &Index, image: usize) -> Result<String, String> {
    let mut bytes = Vec::new();
    index
        .read_file(Features::sample(image), &mut bytes)
        .map_err(|error| error.to_string())?;
    let image = decode(&bytes).map_err(|error| error.with_causes())?;
    thumbnail::address(&image)
}

/// The features are those of the folder's images.
fn require_same(features: &Features, index: &Index) -> Result<(), Refused> {
    let (theirs, ours) = (features.n() as u64, index.n_samples());
    let root = index.root().display();
    if theirs != ours {
        return Err(Refused::new(format!(
            "--data {root} has {ours} images and the features are of {theirs}; give the folder that they were made of"
        )));
    }
    for (image, file) in features.files.iter().enumerate() {
        let path = index.entry(Features::sample(image)).path();
        if path != Path::new(file) {
            return Err(Refused::new(format!(
                "--data {root} has {} where the features are of {file}; give the folder that they were made of",
                path.display()
            )));
        }
    }
    Ok(())
}
