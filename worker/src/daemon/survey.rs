//! Looking whether this machine sees what the run needs: the data set and the output folder.
//!
//! Why it leaves a listing of its data in the output folder: a machine with other data can then say *where* they differ, by
//! reading the listing that a machine with the run's data left. Its name is the fingerprint, so it is written once.

use std::path::{Path, PathBuf};

use m2t_common::machine_link::DataFacts;
use m2t_data::index::{Cache, Index, IndexError, Origin};
use m2t_data::listing::{self, Listing};

use crate::supervisor::{Found, Place};

/// The file in the output folder by which a machine knows that it sees the coordinator's folder.
const PROBE_FILE: &str = ".probe";

/// Why this machine cannot train.
#[derive(Debug, thiserror::Error)]
pub(super) enum SurveyError {
    #[error("the output folder {} of the coordinator is not visible here; mount it at the same path on every machine", .folder.display())]
    OutputUnseen {
        folder: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the output folder {} here is not the coordinator's; mount the coordinator's at that path on every machine", .0.display())]
    OutputOther(PathBuf),
    #[error("neither the coordinator nor this daemon was told where the data is; give --data to one of them")]
    NoData,
    #[error(transparent)]
    Data(IndexError),
}

/// What the data folder holds, if the output folder is the coordinator's.
pub(super) fn survey(place: &Place) -> Result<Found, SurveyError> {
    check_probe(&place.output, &place.probe)?;
    if place.data.as_os_str().is_empty() {
        return Err(SurveyError::NoData);
    }
    let index = Index::open(&place.data, &Cache::usual()).map_err(SurveyError::Data)?;
    if let Origin::Walked {
        not_kept: Some(reason),
    } = index.origin()
    {
        tracing::warn!(
            "the index of {} could not be kept ({reason}), so every trainer walks the folder itself; set M2T_CACHE to a folder that can be written",
            place.data.display()
        );
    }
    let facts = index.facts();
    let listing = listing_of(&place.output, &facts);
    if !listing.exists()
        && let Err(error) = listing::write(&index, &listing)
    {
        tracing::warn!(
            "the listing of this machine's data could not be left at {}: {error}; machines with other data cannot be told where they differ",
            listing.display()
        );
    }
    let bound = place.bound.as_ref().filter(|&bound| *bound != facts);
    let difference = bound.map(|bound| difference(&index, &listing_of(&place.output, bound)));
    Ok(Found { facts, difference })
}

fn listing_of(output: &Path, facts: &DataFacts) -> PathBuf {
    let name = format!(
        "data-{}.listing.gz",
        &facts.fingerprint.get(..16).unwrap_or_default()
    );
    output.join(name)
}

/// Where `index` differs from the run's data, whose listing is at `of_run`.
fn difference(index: &Index, of_run: &Path) -> String {
    match listing::read(of_run) {
        Ok(of_run) => match Listing::of(index).differences(&of_run) {
            Some(differences) => differences.to_string(),
            None => "their listings are equal, so one of them changed while it was read".to_owned(),
        },
        Err(error) => format!("where is unknown ({})", crate::ending::sentence(&error)),
    }
}

fn check_probe(output: &Path, probe: &str) -> Result<(), SurveyError> {
    match std::fs::read_to_string(output.join(PROBE_FILE)) {
        Ok(content) if content == probe => Ok(()),
        Ok(_) => Err(SurveyError::OutputOther(output.to_owned())),
        Err(source) => Err(SurveyError::OutputUnseen {
            folder: output.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &Path) -> Place {
        Place {
            data: folder.join("data"),
            output: folder.join("out"),
            probe: "a coordinator's own".to_owned(),
            bound: None,
        }
    }

    /// One whose folders are both there, with an image and the coordinator's probe.
    fn seen_place(folder: &Path) -> Place {
        let place = place(folder);
        std::fs::create_dir_all(place.data.join("class")).unwrap();
        std::fs::create_dir(&place.output).unwrap();
        std::fs::write(place.data.join("class/1.jpg"), "x").unwrap();
        std::fs::write(place.output.join(PROBE_FILE), &place.probe).unwrap();
        place
    }

    #[test]
    fn a_machine_that_sees_both_folders_is_fit() {
        let folder = tempfile::tempdir().unwrap();
        let place = seen_place(folder.path());
        std::fs::write(place.data.join("class/2.png"), "xy").unwrap();
        let found = survey(&place).unwrap();
        assert_eq!((found.facts.n_samples, found.difference), (2, None));

        let bound = Some(found.facts);
        std::fs::remove_file(place.data.join("class/2.png")).unwrap();
        let found = survey(&Place { bound, ..place }).unwrap();
        let difference = found.difference.unwrap();
        assert!(difference.contains("class/2.png is missing here"), "{difference}");
    }

    #[test]
    fn a_pack_takes_its_folders_place() {
        let folder = tempfile::tempdir().unwrap();
        let place = seen_place(folder.path());
        let of_folder = survey(&place).unwrap();
        let pack = m2t_data::pack::make::Pack {
            from: place.data.clone(),
            to: folder.path().join("pack"),
            shard_size: None,
        };
        m2t_data::pack::make::pack(&pack, &|_, _| {}).unwrap();
        let bound = Some(of_folder.facts.clone());
        let data = pack.to.clone();
        let found = survey(&Place { bound, data, ..place }).unwrap();
        assert_eq!((found.facts, found.difference), (of_folder.facts, None));

        std::fs::rename(pack.to.join("index.m2t"), pack.to.join("unfinished.m2t")).unwrap();
        let place = Place {
            data: pack.to,
            ..self::place(folder.path())
        };
        let error = crate::ending::sentence(&survey(&place).unwrap_err());
        assert!(
            error.contains("is not finished") && error.contains("/pack"),
            "{error}"
        );
    }

    #[test]
    fn each_thing_amiss_is_named_with_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let error = crate::ending::sentence(&survey(&place).unwrap_err());
        assert!(
            error.contains("not visible here") && error.contains("/out"),
            "{error}"
        );
        std::fs::create_dir(&place.output).unwrap();
        std::fs::write(place.output.join(PROBE_FILE), "another's").unwrap();
        let error = survey(&place).unwrap_err().to_string();
        assert!(
            error.contains("not the coordinator's") && error.contains("/out"),
            "{error}"
        );
        std::fs::write(place.output.join(PROBE_FILE), &place.probe).unwrap();
        let error = crate::ending::sentence(&survey(&place).unwrap_err());
        assert!(error.contains("/data"), "{error}");
    }
}
