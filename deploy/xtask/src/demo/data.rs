//! What the demo trains on: photographs that `m2t data synth` makes, or a user's `ImageFolder`.
//!
//! A user's pictures are never copied or touched. Where they are too many for a demo, or not parted into `train` and `val`,
//! folders of links are laid out beside the run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Stage;
use crate::show;

/// As many pictures as the demo's recipe is made for; more would take longer than anybody watches.
const MOST_TRAIN: usize = 4_000;
const MOST_VAL: usize = 2_500;
/// One picture of so many is held out where the user's folder has no `val`.
const HOLD_OUT_EVERY: usize = 5;

/// Two `ImageFolder`s with the same classes.
pub(super) struct Folders {
    /// Pretraining sees these, and they are the neighbours.
    pub(super) train: PathBuf,
    /// Held out.
    pub(super) val: PathBuf,
    /// Where they come from, in sentences.
    pub(super) told: String,
}

/// Pictures of each class, as paths below the folder.
type Classes = BTreeMap<String, Vec<PathBuf>>;

/// Makes photographs, or looks at the user's.
pub(super) fn prepare(stage: &Stage<'_>, user: Option<&Path>, seed: u64) -> Result<Folders> {
    let work = stage.work.join("data");
    if let Some(user) = user {
        let user = user
            .canonicalize()
            .with_context(|| format!("--data {}: there is no such folder", user.display()))?;
        return lay_out(&user, &work);
    }
    let mut command = stage.program("m2t");
    command
        .args(["data", "synth"])
        .arg(&work)
        .args(["--seed", &seed.to_string()]);
    stage.foreground(command)?;
    let (train, val) = (work.join("train"), work.join("val"));
    let told = format!(
        "{} made photographs to train on, {} held out",
        show::count(n_pictures(&read(&train)?) as u64),
        show::count(n_pictures(&read(&val)?) as u64)
    );
    Ok(Folders { train, val, told })
}

/// The user's own `train` and `val` as they are, if they are small; else folders of links.
fn lay_out(user: &Path, work: &Path) -> Result<Folders> {
    let (train, val) = (user.join("train"), user.join("val"));
    let is_parted = train.is_dir() && val.is_dir();
    let (train_classes, val_classes, dropped) = if is_parted {
        let (train_classes, val_classes) = (read(&train)?, read(&val)?);
        require_same_classes(&train_classes, &val_classes, user)?;
        (train_classes, val_classes, 0)
    } else {
        hold_out(read(user)?)
    };
    ensure!(
        !train_classes.is_empty(),
        "--data {}: no class has {HOLD_OUT_EVERY} pictures, the fewest of which one can be held out; lay them out as DIR/class/picture.jpg",
        user.display()
    );
    let found = (n_pictures(&train_classes), n_pictures(&val_classes));
    let (train_classes, val_classes) = (thin(train_classes, MOST_TRAIN), thin(val_classes, MOST_VAL));
    let taken = (n_pictures(&train_classes), n_pictures(&val_classes));
    let told = tell(user, is_parted, dropped, (found, taken));
    if is_parted && found == taken {
        return Ok(Folders { train, val, told });
    }
    let (from_train, from_val) = if is_parted {
        (train.as_path(), val.as_path())
    } else {
        (user, user)
    };
    let folders = Folders {
        train: work.join("train"),
        val: work.join("val"),
        told,
    };
    link(&train_classes, from_train, &folders.train)?;
    link(&val_classes, from_val, &folders.val)?;
    Ok(folders)
}

fn tell(user: &Path, is_parted: bool, dropped: usize, counts: ((usize, usize), (usize, usize))) -> String {
    let ((train_found, val_found), (train, val)) = counts;
    let of = |taken: usize, found: usize| {
        let taken_shown = show::count(taken as u64);
        if taken == found {
            taken_shown
        } else {
            format!("{taken_shown} of {}", show::count(found as u64))
        }
    };
    let how = if is_parted {
        "its train and val folders".to_owned()
    } else {
        format!("one picture in {HOLD_OUT_EVERY} of each class held out, for it has no train and val folders")
    };
    let mut told = format!(
        "{}: {} pictures to train on, {} held out ({how})",
        user.display(),
        of(train, train_found),
        of(val, val_found)
    );
    if dropped > 0 {
        told += &format!("\nleft out: {dropped} classes of fewer than {HOLD_OUT_EVERY} pictures");
    }
    told
}

/// Neighbours are compared by class, so a class on one side only would be counted as an error of the features.
fn require_same_classes(train: &Classes, val: &Classes, user: &Path) -> Result<()> {
    for (here, there, (name, other)) in [(train, val, ("train", "val")), (val, train, ("val", "train"))] {
        if let Some(class) = here.keys().find(|class| !there.contains_key(*class)) {
            anyhow::bail!(
                "--data {}: class {class:?} has pictures in {name}/ but none in {other}/; give it some or take it out",
                user.display()
            );
        }
    }
    Ok(())
}

/// Of each class every fifth picture; also how many classes were too small for that.
fn hold_out(classes: Classes) -> (Classes, Classes, usize) {
    let (mut train, mut val, mut dropped) = (Classes::new(), Classes::new(), 0);
    for (class, files) in classes {
        if files.len() < HOLD_OUT_EVERY {
            dropped += 1;
            continue;
        }
        let (held, kept): (Vec<_>, Vec<_>) = files
            .into_iter()
            .enumerate()
            .partition(|(at, _)| at % HOLD_OUT_EVERY == HOLD_OUT_EVERY - 1);
        let paths = |numbered: Vec<(usize, PathBuf)>| numbered.into_iter().map(|(_, path)| path).collect();
        val.insert(class.clone(), paths(held));
        train.insert(class, paths(kept));
    }
    (train, val, dropped)
}

/// At most about `most` pictures: the same share of each class, evenly spaced, at least one.
fn thin(classes: Classes, most: usize) -> Classes {
    let n = n_pictures(&classes);
    if n <= most {
        return classes;
    }
    let thinned = classes.into_iter().map(|(class, files)| {
        let keep = (files.len() * most / n).max(1);
        let kept = (0..keep)
            .map(|at| files[at * files.len() / keep].clone())
            .collect();
        (class, kept)
    });
    thinned.collect()
}

fn link(classes: &Classes, from: &Path, to: &Path) -> Result<()> {
    for file in classes.values().flatten() {
        let link = to.join(file);
        let folder = link.parent().expect("a picture lies in the folder of its class");
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        symlink(from.join(file), &link)
            .with_context(|| format!("cannot make the link {}", link.display()))?;
    }
    Ok(())
}

/// Classes and pictures as m2t's own index reads them: by extension, hidden ones ignored, nested folders allowed.
fn read(dir: &Path) -> Result<Classes> {
    let mut classes = Classes::new();
    for (name, path) in visible(dir)? {
        if path.is_dir() {
            let mut files = Vec::new();
            collect(&path, Path::new(&name), &mut files)?;
            files.sort();
            if !files.is_empty() {
                classes.insert(name, files);
            }
        }
    }
    ensure!(
        !classes.is_empty(),
        "{} has no folder with JPEG or PNG pictures; lay them out as DIR/class/picture.jpg",
        dir.display()
    );
    Ok(classes)
}

fn collect(dir: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for (name, path) in visible(dir)? {
        if path.is_dir() {
            collect(&path, &below.join(name), files)?;
        } else if is_picture(&path) {
            files.push(below.join(name));
        }
    }
    Ok(())
}

fn visible(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let cannot = || format!("cannot read {}", dir.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["jpg", "jpeg", "png"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

fn n_pictures(classes: &Classes) -> usize {
    classes.values().map(Vec::len).sum()
}

#[cfg(test)]
mod tests;
