//! Why a folder is no data set, each with what to do about it.

use std::io;
use std::path::PathBuf;

use crate::pack::PackDamage;

/// A folder that is no data set.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It is not there, or not a folder.
    #[error(
        "the data folder {} does not exist on this machine; pass the folder that holds one folder a class with --data",
        .0.display()
    )]
    Missing(PathBuf),
    /// It holds no folder.
    #[error(
        "the data folder {} holds no class folder; put the images of each class into a folder of its own below it \
         (one folder will do for images without classes)",
        .0.display()
    )]
    NoClass(PathBuf),
    /// It is ImageNet's validation set as it ships.
    #[error(
        "the data folder {} holds ImageNet's validation images without class folders; arrange them with \
         m2t data arrange {} --labels FILE",
        .0.display(),
        .0.display()
    )]
    FlatValidation(PathBuf),
    /// A class folder holds no image.
    #[error(
        "the class folder {} holds no .jpg, .jpeg or .png file; add images or remove the folder",
        .0.display()
    )]
    EmptyClass(PathBuf),
    /// Its folders are the splits of a data set, not classes.
    #[error(
        "the folders of {} look like parts of a data set ({names}), not like classes; pass one of them with --data",
        root.display()
    )]
    Splits {
        /// The data folder.
        root: PathBuf,
        /// Its folders.
        names: String,
    },
    /// It is a pack in the making.
    #[error(
        "the pack {} is not finished; call m2t data pack with the same two folders again, and it goes on from there",
        .0.display()
    )]
    UnfinishedPack(PathBuf),
    /// It is a pack, and something is wrong with it.
    #[error(transparent)]
    Pack(#[from] PackDamage),
    /// A class's name is not text.
    #[error("the name of the class folder {} is not UTF-8; rename it", .0.display())]
    Name(PathBuf),
    /// Something below it cannot be listed or looked at.
    #[error("{} cannot be read; check that it exists and that its permissions allow it", path.display())]
    Read {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
