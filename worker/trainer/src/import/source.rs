//! What a file holds: named tensors, and whose names they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use m2t_common::Step;
use m2t_common::recipe::Recipe;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::{Import, ImportError};
use crate::pth::{self, Archive, Node};
use crate::state::snapshot::NamedBytes;

/// Under which keys a state dict is looked for.
const KEYS: [&str; 2] = ["model", "state_dict"];
/// Under which keys the published implementation and its kin count epochs.
const EPOCHS: [&str; 2] = ["start_epoch", "epoch"];
/// What DistributedDataParallel puts before every name.
const WRAPPED: &str = "module.";
/// The published names of both networks, as its `M2Teacher` has them.
pub(super) const PUBLISHED: [&str; 2] = ["student_encoder.", "teacher_encoder."];
/// Ours.
const OWN: [&str; 2] = ["student.", "teacher."];

/// Whose names the tensors bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// torchvision's and timm's, of an encoder alone.
    Encoder,
    /// The published implementation's, of student and teacher with their heads.
    Published,
    /// A checkpoint's of ours: `m2t export --what all`.
    Whole,
}

/// What an export of ours says of the run it is from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Own {
    pub(super) recipe: Recipe,
    pub(super) step: Step,
    pub(super) n_samples: u64,
}

/// A file's tensors.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) kind: Kind,
    pub(super) tensors: BTreeMap<String, NamedBytes>,
    /// What is beside them, by name.
    pub(super) beside: Vec<String>,
    /// After which epoch it was saved.
    pub(super) epoch: Option<i64>,
    pub(super) own: Option<Own>,
    /// Of the file.
    pub(super) blake3: String,
}

impl Kind {
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::Encoder => "an encoder alone",
            Self::Published => "student and teacher of the published implementation",
            Self::Whole => "the whole state of a run of m2t",
        }
    }

    fn of(tensors: &BTreeMap<String, NamedBytes>) -> Self {
        let has = |prefixes: [&str; 2]| {
            prefixes
                .iter()
                .all(|prefix| tensors.keys().any(|name| name.starts_with(prefix)))
        };
        match () {
            () if has(PUBLISHED) => Self::Published,
            () if has(OWN) => Self::Whole,
            () => Self::Encoder,
        }
    }
}

impl Source {
    /// Reads the file of an order.
    pub(super) fn read(import: &Import) -> Result<Self, ImportError> {
        let file = &import.file;
        let bytes = fs::read(file).map_err(|source| ImportError::Read {
            file: file.clone(),
            source,
        })?;
        let blake3 = blake3::hash(&bytes).to_hex().to_string();
        let mut source = if pth::is_like_pth(&bytes) {
            let archive = Archive::parse(bytes).map_err(|source| pth::PthError::Refused {
                path: file.clone(),
                source,
            })?;
            Self::of_pth(import, &archive)?
        } else {
            Self::of_safetensors(file, &bytes)?
        };
        if let Some(prefix) = &import.prefix {
            source.take_part(file, prefix)?;
        } else if source.tensors.keys().all(|name| name.starts_with(WRAPPED)) {
            source.tensors = stripped(source.tensors, WRAPPED);
        }
        source.kind = Kind::of(&source.tensors);
        source.blake3 = blake3;
        if source.kind != Kind::Whole {
            source.own = None;
        }
        Ok(source)
    }

    fn of_safetensors(file: &Path, bytes: &[u8]) -> Result<Self, ImportError> {
        let unknown = |error: safetensors::SafeTensorError| ImportError::Unknown {
            file: file.to_owned(),
            problem: error.to_string(),
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unknown)?;
        let about = header.metadata().clone().unwrap_or_default();
        let tensors = SafeTensors::deserialize(bytes).map_err(unknown)?.tensors();
        let named = |(name, view): (String, TensorView<'_>)| (name, NamedBytes::from(view));
        let tensors = tensors.into_iter().map(named).collect();
        Ok(Self::new(
            tensors,
            Own::told(|key| about.get(key).map(String::as_str)),
        ))
    }

    fn of_pth(import: &Import, archive: &Archive) -> Result<Self, ImportError> {
        let root = archive.root();
        let (key, dict) = state_dict(import, root)?;
        let mut tensors = BTreeMap::new();
        let mut beside = Vec::new();
        let name = |node: Node<'_>| match (node.text(), node.number()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(number)) => number.to_string(),
            (None, None) => node.kind().to_owned(),
        };
        for (found, value) in dict.entries().into_iter().flatten() {
            match value.tensor() {
                Some(tensor) => drop(tensors.insert(name(found), tensor)),
                None => beside.push(format!("{} ({})", name(found), value.kind())),
            }
        }
        if let Some(key) = &key {
            let others = root.entries().into_iter().flatten();
            let others = others.filter(|(found, _)| found.text() != Some(key));
            beside.extend(others.map(|(found, value)| format!("{} ({})", name(found), value.kind())));
        }
        let epoch = key.and_then(|_| EPOCHS.iter().find_map(|epoch| root.get(epoch)?.number()));
        let about: BTreeMap<String, String> = archive
            .about()
            .and_then(|about| serde_json::from_slice(about).ok())
            .unwrap_or_default();
        let own = Own::told(|key| about.get(key).map(String::as_str));
        Ok(Self {
            beside,
            epoch,
            ..Self::new(tensors, own)
        })
    }

    fn new(tensors: BTreeMap<String, NamedBytes>, own: Option<Own>) -> Self {
        Self {
            kind: Kind::Encoder,
            tensors,
            beside: Vec::new(),
            epoch: None,
            own,
            blake3: String::new(),
        }
    }

    /// Keeps the tensors whose names begin with `prefix`, without it; how many others there are is told.
    fn take_part(&mut self, file: &Path, prefix: &str) -> Result<(), ImportError> {
        let n = self.tensors.len();
        let first = self.tensors.keys().next().cloned().unwrap_or_default();
        self.tensors.retain(|name, _| name.starts_with(prefix));
        if self.tensors.is_empty() {
            return Err(ImportError::NoPrefix {
                file: file.to_owned(),
                prefix: prefix.to_owned(),
                first,
            });
        }
        let n_others = n - self.tensors.len();
        if n_others > 0 {
            self.beside.push(format!("{n_others} tensors without {prefix}"));
        }
        self.tensors = stripped(std::mem::take(&mut self.tensors), prefix);
        Ok(())
    }
}

impl Own {
    /// What an export's metadata tell.
    fn told<'a>(about: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        Some(Self {
            recipe: serde_json::from_str(about("recipe_json")?).ok()?,
            step: Step(about("step")?.parse().ok()?),
            n_samples: about("n_samples")?.parse().ok()?,
        })
    }
}

fn stripped(tensors: BTreeMap<String, NamedBytes>, prefix: &str) -> BTreeMap<String, NamedBytes> {
    let strip = |(name, tensor): (String, NamedBytes)| (name[prefix.len()..].to_owned(), tensor);
    tensors.into_iter().map(strip).collect()
}

/// The dict of tensors, and the key it is under, if any.
fn state_dict<'a>(import: &Import, root: Node<'a>) -> Result<(Option<String>, Node<'a>), ImportError> {
    let has_tensors = |node: Node<'a>| {
        node.entries()
            .is_some_and(|mut all| all.any(|(_, value)| value.is_tensor()))
    };
    let under = |key: &str| root.get(key).filter(|node| has_tensors(*node));
    let asked = match &import.key {
        Some(key) => vec![key.as_str()],
        None => KEYS.to_vec(),
    };
    for key in &asked {
        if let Some(dict) = under(key) {
            return Ok((Some((*key).to_owned()), dict));
        }
    }
    if import.key.is_none() && has_tensors(root) {
        return Ok((None, root));
    }
    let found: Vec<String> = match root.entries() {
        Some(entries) => entries
            .map(|(key, _)| key.text().unwrap_or(key.kind()).to_owned())
            .collect(),
        None => vec![root.kind().to_owned()],
    };
    let found = if found.is_empty() {
        "nothing".to_owned()
    } else {
        found.join(", ")
    };
    Err(ImportError::NoStateDict {
        file: import.file.clone(),
        asked: asked.join(" or "),
        found,
    })
}
