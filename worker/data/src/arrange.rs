//! Arranges a flat folder of labelled images, as ImageNet's validation set ships, into a folder for each class.
//!
//! Labels are read and checked whole before anything is touched. No file is ever overwritten or lost: an image that is
//! already in its place is left there, one that would lie where another file is stops the work, so a second call
//! finishes what a first one began.

mod labels;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::index::is_image;
pub use labels::LabelError;

/// How an image comes into its class folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// As a second name of the same file, which takes no space; as a copy where the file system has no such thing.
    Link,
    /// As a copy.
    Copy,
    /// From where it was.
    Move,
}

/// What to arrange.
#[derive(Clone, Debug)]
pub struct Arrange {
    /// The flat folder.
    pub from: PathBuf,
    /// The folder of class folders; made if it is not there.
    pub to: PathBuf,
    /// The file of labels.
    pub labels: PathBuf,
    /// How.
    pub transfer: Transfer,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arranged {
    /// Classes that have an image.
    pub n_classes: usize,
    /// Images brought to their place.
    pub n_new: u64,
    /// Images that were there before.
    pub n_there: u64,
    /// Images without a label, left where they are; sorted.
    pub unlabelled: Vec<String>,
    /// Labels without an image; sorted.
    pub missing: Vec<String>,
}

/// Why nothing, or not all, was arranged.
#[derive(Debug, thiserror::Error)]
pub enum ArrangeError {
    /// The flat folder holds no image.
    #[error("the folder {} holds no .jpg, .jpeg or .png file; name the folder of the flat images", .0.display())]
    NoImage(PathBuf),
    /// The labels are refused; nothing was touched.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// No label is that of an image; nothing was touched.
    #[error(
        "no label of {} is that of an image in {}; the first label is of {label}, the first image is {image}",
        labels.display(),
        from.display()
    )]
    Strangers {
        /// The file of labels.
        labels: PathBuf,
        /// The flat folder.
        from: PathBuf,
        /// The first name that is labelled.
        label: String,
        /// The first image.
        image: String,
    },
    /// Another file is where an image belongs.
    #[error("{} exists and is not {}; move one of them away and call again", there.display(), image.display())]
    Occupied {
        /// The other file.
        there: PathBuf,
        /// The image.
        image: PathBuf,
    },
    /// A folder or file cannot be read or written. A second call goes on from there.
    #[error("{} cannot be {verb}; check permissions and space and call again", path.display())]
    Access {
        /// Which.
        path: PathBuf,
        /// What failed: "read", "written".
        verb: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Arranges, and tells `progress` how many images are done of how many.
pub fn arrange(what: &Arrange, progress: &dyn Fn(u64, u64)) -> Result<Arranged, ArrangeError> {
    let flat = images(&what.from)?;
    // A call before this one may have moved some already.
    let placed = placed(&what.to)?;
    let all: BTreeSet<&String> = flat.iter().chain(placed.keys()).collect();
    let Some(first) = all.first() else {
        return Err(ArrangeError::NoImage(what.from.clone()));
    };
    let labels = labels::read(&what.labels, &all)?;

    let mut done = Arranged::default();
    let mut plan = Vec::new();
    for name in &all {
        match labels.class_of(name) {
            Some(class) => plan.push((*name, class)),
            None if flat.contains(*name) => done.unlabelled.push((*name).clone()),
            None => {}
        }
    }
    done.missing = labels.without_image(&all);
    if plan.is_empty() {
        return Err(ArrangeError::Strangers {
            labels: what.labels.clone(),
            from: what.from.clone(),
            label: done.missing.swap_remove(0),
            image: (*first).clone(),
        });
    }
    let total = plan.len() as u64;
    for (name, class) in &plan {
        let (image, there) = (what.from.join(name), what.to.join(class).join(name));
        let is_new = match (flat.contains(*name), fs::symlink_metadata(&there).is_ok()) {
            (true, true) => {
                settle(&image, there, what.transfer)?;
                false
            }
            (true, false) => {
                bring(&image, &there, what.transfer)?;
                true
            }
            (false, true) => false,
            (false, false) => {
                // It lies in another class's folder, where a call with other labels brought it.
                let image = what.to.join(&placed[*name]).join(name);
                return Err(ArrangeError::Occupied {
                    there: image,
                    image: there,
                });
            }
        };
        *(if is_new {
            &mut done.n_new
        } else {
            &mut done.n_there
        }) += 1;
        progress(done.n_new + done.n_there, total);
    }
    done.n_classes = plan.iter().map(|(_, class)| class).collect::<BTreeSet<_>>().len();
    Ok(done)
}

/// The names of the images in a folder.
fn images(folder: &Path) -> Result<BTreeSet<String>, ArrangeError> {
    let error = |source| access(folder, "read", source);
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        // A name that is not text is no image of a labelled set.
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
            && is_image(Path::new(&name))
            && entry.path().is_file()
        {
            names.insert(name);
        }
    }
    Ok(names)
}

/// The images in class folders, with their class.
fn placed(to: &Path) -> Result<BTreeMap<String, String>, ArrangeError> {
    let mut placed = BTreeMap::new();
    if !to.exists() {
        return Ok(placed);
    }
    let error = |source| access(to, "read", source);
    for entry in fs::read_dir(to).map_err(error)? {
        let entry = entry.map_err(error)?;
        if let Ok(class) = entry.file_name().into_string()
            && entry.path().is_dir()
        {
            placed.extend(
                images(&entry.path())?
                    .into_iter()
                    .map(|name| (name, class.clone())),
            );
        }
    }
    Ok(placed)
}

/// The image is in its place already: then a move has only to take the first one away.
fn settle(image: &Path, there: PathBuf, transfer: Transfer) -> Result<(), ArrangeError> {
    // A link there may lead back to the very image that a move would take away.
    let leads_back = transfer == Transfer::Move && there.is_symlink();
    let is_equal = same_content(image, &there).map_err(|source| access(&there, "read", source))?;
    if leads_back || !is_equal {
        let image = image.to_owned();
        return Err(ArrangeError::Occupied { there, image });
    }
    if transfer == Transfer::Move {
        fs::remove_file(image).map_err(|source| access(image, "removed", source))?;
    }
    Ok(())
}

fn bring(image: &Path, there: &Path, transfer: Transfer) -> Result<(), ArrangeError> {
    let folder = there.parent().expect("it lies in its class's folder");
    fs::create_dir_all(folder).map_err(|source| access(folder, "written", source))?;
    // Links are refused for many reasons, and a copy is as good; if that fails too, its reason counts. A link to an
    // image elsewhere would lead nowhere from another folder, so it is the image that comes.
    let link = || fs::hard_link(fs::canonicalize(image)?, there).or_else(|_| copy(image, there));
    let brought = match transfer {
        Transfer::Link => link(),
        Transfer::Copy => copy(image, there),
        Transfer::Move if image.is_symlink() => link().and_then(|()| fs::remove_file(image)),
        Transfer::Move => fs::rename(image, there).or_else(|error| match error.kind() {
            io::ErrorKind::CrossesDevices => copy(image, there).and_then(|()| fs::remove_file(image)),
            _ => Err(error),
        }),
    };
    brought.map_err(|source| access(there, "written", source))
}

/// Beside it first, so that half a copy never lies in an image's place; what appeared there meanwhile stays.
fn copy(image: &Path, there: &Path) -> io::Result<()> {
    let folder = there.parent().expect("it lies in its class's folder");
    let mut beside = tempfile::Builder::new()
        .prefix(".arranging-")
        .tempfile_in(folder)?;
    let mut source = fs::File::open(image)?;
    io::copy(&mut source, beside.as_file_mut())?;
    beside
        .as_file()
        .set_permissions(source.metadata()?.permissions())?;
    beside.persist_noclobber(there)?;
    Ok(())
}

fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (of_a, of_b) = (fs::metadata(a)?, fs::metadata(b)?);
    if (of_a.dev(), of_a.ino()) == (of_b.dev(), of_b.ino()) {
        return Ok(true);
    }
    Ok(of_a.len() == of_b.len() && fs::read(a)? == fs::read(b)?)
}

fn access(path: &Path, verb: &'static str, source: io::Error) -> ArrangeError {
    let path = path.to_owned();
    ArrangeError::Access { path, verb, source }
}

#[cfg(test)]
mod tests;
