//! Reads and decodes every file of a data folder and tells what is there: what a run would find out epoch by epoch.
//!
//! It changes nothing and stops at nothing: a file that cannot be read or decoded is one more line of the report.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

pub use m2t_common::recipe::REPLACED_LIMIT;
use m2t_common::shard::Sample;
use serde::Serialize;

use crate::decode::{Kind, decode, kind};
use crate::index::{Index, IndexError};
use crate::parallel;

/// Classes of ImageNet.
const IMAGENET_CLASSES: u32 = 1_000;
/// Images of its training and validation set of 2012.
const IMAGENET: [(&str, u64); 2] = [("training", 1_281_167), ("validation", 50_000)];

/// What a data folder holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Class folders.
    pub n_classes: usize,
    /// N.
    pub n_samples: u64,
    /// What a run is bound to.
    pub fingerprint: String,
    /// Of all images.
    pub bytes: u64,
    /// Width and height by number of pixels; nothing if no file decodes.
    pub pixels: Option<Pixels>,
    /// How many images there are of each kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// Files whose name says another kind than their content; they are read by their content.
    pub misnamed: Vec<PathBuf>,
    /// Files that a run would replace, in the order of the index.
    pub damaged: Vec<Damaged>,
    /// Files below the folder that are no images by their names, hidden ones apart.
    pub ignored: Vec<PathBuf>,
    /// Files with the content of a file before them.
    pub n_twins: u64,
    /// Of these, those whose first is of another class.
    pub n_twins_across: u64,
    /// Set if the classes are those of ImageNet.
    pub imagenet: Option<ImageNet>,
}

/// Width and height of the smallest, the middle and the largest image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Pixels {
    pub min: (u32, u32),
    pub median: (u32, u32),
    pub max: (u32, u32),
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damaged {
    /// Path below the data folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Which part of ImageNet it is, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ImageNet {
    /// "training" or "validation".
    pub part: &'static str,
    /// How many images that part has.
    pub complete: u64,
}

impl Report {
    /// Share of the files that a run would replace.
    pub fn damaged_share(&self) -> f64 {
        self.damaged.len() as f64 / self.n_samples.max(1) as f64
    }
}

/// What one file turned out to be.
struct Looked {
    sample: Sample,
    content: Option<blake3::Hash>,
    kind: Option<Kind>,
    picture: Result<(u32, u32), String>,
}

/// Reads every file of `index` on `threads` threads; `progress` is told of each.
pub fn check(index: &Index, threads: usize, progress: &(dyn Fn() + Sync)) -> Result<Report, IndexError> {
    let ignored = index.ignored()?;
    let packed = index.shards().map(|shards| shards.hashes(index.columns()));
    let packed = packed.transpose()?;
    let looked = parallel::map(threads.max(1), index.n_samples(), Vec::new, |bytes, sample| {
        let packed = packed.as_ref().map(|packed| &packed[sample as usize]);
        let looked = look(index, Sample(sample), packed, bytes);
        progress();
        looked
    });
    Ok(report(index, ignored, looked))
}

/// Looks at one file; `packed` is its hash when it was packed, if it was.
fn look(index: &Index, sample: Sample, packed: Option<&[u8; 32]>, bytes: &mut Vec<u8>) -> Looked {
    if let Err(error) = index.read_file(sample, bytes) {
        return Looked {
            sample,
            content: None,
            kind: None,
            picture: Err(format!("the file cannot be read: {error}")),
        };
    }
    let content = blake3::hash(bytes);
    let picture = if packed.is_some_and(|packed| packed != content.as_bytes()) {
        Err("its bytes are not those that were packed".to_owned())
    } else {
        let picture = decode(bytes).map(|image| (image.width, image.height));
        picture.map_err(|error| error.with_causes())
    };
    Looked {
        sample,
        content: Some(content),
        kind: kind(bytes),
        picture,
    }
}

fn report(index: &Index, ignored: Vec<PathBuf>, looked: Vec<Looked>) -> Report {
    let facts = index.facts();
    let mut report = Report {
        n_classes: index.n_classes() as usize,
        n_samples: facts.n_samples,
        fingerprint: facts.fingerprint,
        bytes: index.entries().map(|entry| entry.size).sum(),
        pixels: None,
        kinds: BTreeMap::new(),
        misnamed: Vec::new(),
        damaged: Vec::new(),
        ignored,
        n_twins: 0,
        n_twins_across: 0,
        imagenet: imagenet(index.classes(), index.n_samples()),
    };
    let mut sizes = Vec::new();
    let mut seen: HashMap<blake3::Hash, Sample> = HashMap::new();
    for file in looked {
        let entry = index.entry(file.sample);
        if let Some(content) = file.content {
            let first = *seen.entry(content).or_insert(file.sample);
            if first != file.sample {
                report.n_twins += 1;
                report.n_twins_across += u64::from(index.entry(first).class != entry.class);
            }
        }
        if let Some(kind) = file.kind {
            let says_png = entry
                .below
                .extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("png"));
            if says_png != (kind == Kind::Png) {
                report.misnamed.push(entry.path());
            }
        }
        match file.picture {
            Ok(size) => {
                sizes.push(size);
                *report.kinds.entry(file.kind.unwrap_or(Kind::Jpeg)).or_default() += 1;
            }
            Err(reason) => report.damaged.push(Damaged {
                path: entry.path(),
                reason,
            }),
        }
    }
    sizes.sort_unstable_by_key(|&(width, height)| (u64::from(width) * u64::from(height), width));
    if let (Some(&min), Some(&max)) = (sizes.first(), sizes.last()) {
        let median = sizes[sizes.len() / 2];
        report.pixels = Some(Pixels { min, median, max });
    }
    report
}

/// Known by a thousand folders called as `WordNet` calls its nouns, and by which part it is nearest to.
fn imagenet<'a>(classes: impl Iterator<Item = &'a str>, n_samples: u64) -> Option<ImageNet> {
    let is_noun = |name: &str| {
        let digits = name.strip_prefix('n');
        digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut n_classes = 0;
    for name in classes {
        n_classes += 1;
        if n_classes > IMAGENET_CLASSES || !is_noun(name) {
            return None;
        }
    }
    if n_classes != IMAGENET_CLASSES {
        return None;
    }
    let (part, complete) = *IMAGENET
        .iter()
        .rev()
        .find(|(_, complete)| n_samples <= complete * 2)
        .unwrap_or(&IMAGENET[0]);
    Some(ImageNet { part, complete })
}

#[cfg(test)]
mod tests;
