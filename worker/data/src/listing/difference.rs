//! How two listings differ, told in a sentence.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use itertools::EitherOrBoth::{Both, Left, Right};
use itertools::Itertools;

use super::{Listing, escape};

/// How one listing ("here") differs from another ("there").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differences {
    /// The first: of the classes if they differ, else of the files, in the order of the index.
    pub first: Difference,
    /// Files that are only there.
    pub n_missing: u64,
    /// Files that are only here.
    pub n_extra: u64,
    /// Files that have another size there.
    pub n_other_size: u64,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A class folder is only there.
    ClassMissing(String),
    /// A class folder is only here.
    ClassExtra(String),
    /// A file is only there.
    Missing(PathBuf),
    /// A file is only here.
    Extra(PathBuf),
    /// A file's sizes differ.
    OtherSize {
        /// The file.
        path: PathBuf,
        /// Bytes here.
        here: u64,
        /// Bytes there.
        there: u64,
    },
}

impl Listing {
    /// How this listing differs from `other`: this one is "here", the other "there". Nothing if they are equal.
    pub fn differences(&self, other: &Self) -> Option<Differences> {
        let mut first = self.class_difference(other);
        let (mut n_missing, mut n_extra, mut n_other_size) = (0, 0, 0);
        let pairs = self
            .entries()
            .merge_join_by(other.entries(), |here, there| here.place().cmp(&there.place()));
        for pair in pairs {
            let difference = match pair {
                Both(here, there) if here.size == there.size => continue,
                Both(here, there) => {
                    n_other_size += 1;
                    Difference::OtherSize {
                        path: here.path(),
                        here: here.size,
                        there: there.size,
                    }
                }
                Left(here) => {
                    n_extra += 1;
                    Difference::Extra(here.path())
                }
                Right(there) => {
                    n_missing += 1;
                    Difference::Missing(there.path())
                }
            };
            first.get_or_insert(difference);
        }
        Some(Differences {
            first: first?,
            n_missing,
            n_extra,
            n_other_size,
        })
    }

    fn class_difference(&self, other: &Self) -> Option<Difference> {
        let mut pairs = self.classes().merge_join_by(other.classes(), Ord::cmp);
        pairs.find_map(|pair| match pair {
            Left(here) => Some(Difference::ClassExtra(here.to_owned())),
            Right(there) => Some(Difference::ClassMissing(there.to_owned())),
            Both(..) => None,
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &Path| escape(path.as_os_str().as_bytes());
        match self {
            Self::ClassMissing(name) => write!(f, "the class {} is missing here", escape(name.as_bytes())),
            Self::ClassExtra(name) => write!(f, "the class {} is only here", escape(name.as_bytes())),
            Self::Missing(path) => write!(f, "{} is missing here", shown(path)),
            Self::Extra(path) => write!(f, "{} is only here", shown(path)),
            Self::OtherSize { path, here, there } => {
                write!(f, "{} has {here} bytes here and {there} there", shown(path))
            }
        }
    }
}

impl fmt::Display for Differences {
    /// The first, and how many there are in all if there are more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        let counts = [
            (self.n_missing, "missing here"),
            (self.n_extra, "only here"),
            (self.n_other_size, "of another size"),
        ];
        if counts.iter().map(|(n, _)| n).sum::<u64>() > 1 {
            let told = counts.iter().filter(|(n, _)| *n > 0);
            let told: Vec<_> = told.map(|(n, what)| format!("{n} {what}")).collect();
            write!(f, " (in all, files: {})", told.join(", "))?;
        }
        Ok(())
    }
}
