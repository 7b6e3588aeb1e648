//! A labelled set of photograph-like JPEGs for people without a data set at hand, written as an ImageFolder.
//!
//! Classes are materials (bricks, grass, wood, …); palette, light, camera and exposure are drawn alike for all of them,
//! so that neighbours in raw pixels or in colours say little about the class. Every picture depends on (seed, split,
//! class, number) alone: any number of threads writes the same bytes. Reads nothing back, knows no augmentation.

mod develop;
mod light;
mod material;
mod noise;
mod scene;
#[cfg(test)]
mod tests;

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use m2t_common::random::Stream;

use develop::Picture;
use material::Material;
use scene::photograph;

/// How many classes there can be.
pub const MOST_CLASSES: u32 = Material::ALL.len() as u32;
/// JPEG quality of the written files.
const QUALITY: u8 = 90;

/// What to write, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synth {
    /// The folder; made if missing, refused if it holds anything.
    pub dir: PathBuf,
    /// Another seed, another set of the same kind.
    pub seed: u64,
    /// Number of classes, 2 to [`MOST_CLASSES`].
    pub classes: u32,
    /// Pictures in each folder `train/CLASS`.
    pub train_per_class: u32,
    /// Pictures in each folder `val/CLASS`.
    pub val_per_class: u32,
    /// Side of a picture, 16 to 1024.
    pub pixels: u32,
}

impl Synth {
    /// The set of the demo, in `dir`: 10 classes, 4,000 pictures to train on and 2,000 held out, of 48 pixels.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            seed: 0,
            classes: MOST_CLASSES,
            train_per_class: 400,
            val_per_class: 200,
            pixels: 48,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Names of the classes, sorted.
    pub classes: Vec<&'static str>,
    /// Pictures below `train`.
    pub train: u64,
    /// Pictures below `val`.
    pub val: u64,
}

/// Why no set was written.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// A setting is out of range.
    #[error("{setting} is {value} but must lie between {least} and {most}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// As given.
        value: u32,
        /// Smallest legal value.
        least: u32,
        /// Largest legal value.
        most: u32,
    },
    /// The folder holds something.
    #[error("{dir} is not empty; name a new folder for the data set, or empty this one first")]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder or a file in it could not be made.
    #[error("cannot write {path}; check that the disk has room and the folder is yours to write")]
    Write {
        /// What was being written.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A picture could not be encoded.
    #[error("cannot encode {path} as JPEG")]
    Encode {
        /// Which.
        path: PathBuf,
        /// The encoder's reason.
        source: jpeg_encoder::EncodingError,
    },
}

/// Writes the set, on all cores.
pub fn generate(settings: &Synth) -> Result<Summary, SynthError> {
    generate_on(settings, thread::available_parallelism().map_or(1, NonZero::get))
}

fn generate_on(settings: &Synth, n_threads: usize) -> Result<Summary, SynthError> {
    check(settings)?;
    claim(&settings.dir)?;
    let classes = &Material::ALL[..settings.classes as usize];
    let jobs = plan(settings, classes)?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), SynthError> {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            job.write(settings)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..n_threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("drawing a picture does not panic"))
    })?;
    Ok(Summary {
        classes: classes.iter().map(|class| class.name()).collect(),
        train: u64::from(settings.classes) * u64::from(settings.train_per_class),
        val: u64::from(settings.classes) * u64::from(settings.val_per_class),
    })
}

fn check(settings: &Synth) -> Result<(), SynthError> {
    let ranges = [
        ("the number of classes", settings.classes, 2, MOST_CLASSES),
        (
            "the number of training pictures a class",
            settings.train_per_class,
            1,
            1_000_000,
        ),
        (
            "the number of held-out pictures a class",
            settings.val_per_class,
            1,
            1_000_000,
        ),
        ("the side in pixels", settings.pixels, 16, 1024),
    ];
    for (setting, value, least, most) in ranges {
        if !(least..=most).contains(&value) {
            return Err(SynthError::Setting {
                setting,
                value,
                least,
                most,
            });
        }
    }
    Ok(())
}

/// Makes the folder, and refuses one that holds anything: a set mixed with another would be no set.
fn claim(dir: &Path) -> Result<(), SynthError> {
    let failed = |source| SynthError::Write {
        path: dir.to_owned(),
        source,
    };
    fs::create_dir_all(dir).map_err(failed)?;
    if fs::read_dir(dir).map_err(failed)?.next().is_some() {
        return Err(SynthError::NotEmpty { dir: dir.to_owned() });
    }
    Ok(())
}

/// One picture to write.
struct Job {
    path: PathBuf,
    material: Material,
    /// What its random stream is keyed by, with the seed: split, class, number.
    key: [u64; 3],
}

/// Makes the folders and lists the pictures.
fn plan(settings: &Synth, classes: &[Material]) -> Result<Vec<Job>, SynthError> {
    let splits = [
        ("train", settings.train_per_class),
        ("val", settings.val_per_class),
    ];
    let mut jobs = Vec::new();
    for (split, (name, count)) in (0u64..).zip(splits) {
        for (class, &material) in (0u64..).zip(classes) {
            let folder = settings.dir.join(name).join(material.name());
            fs::create_dir_all(&folder).map_err(|source| SynthError::Write {
                path: folder.clone(),
                source,
            })?;
            jobs.extend((0..count).map(|number| Job {
                path: folder.join(format!("{number:05}.jpg")),
                material,
                key: [split, class, u64::from(number)],
            }));
        }
    }
    Ok(jobs)
}

impl Job {
    fn write(&self, settings: &Synth) -> Result<(), SynthError> {
        let [split, class, number] = self.key;
        let mut stream = Stream::new("synthetic picture", &[settings.seed, split, class, number]);
        let picture = photograph(self.material, settings.pixels as usize, &mut stream);
        let jpeg = encode(&picture).map_err(|source| SynthError::Encode {
            path: self.path.clone(),
            source,
        })?;
        fs::write(&self.path, jpeg).map_err(|source| SynthError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

fn encode(picture: &Picture) -> Result<Vec<u8>, jpeg_encoder::EncodingError> {
    let side = u16::try_from(picture.pixels).expect("the side is at most 1024");
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.encode(&picture.rgb, side, side, ColorType::Rgb)?;
    Ok(jpeg)
}
