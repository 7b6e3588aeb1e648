//! What is kept of a walk is used while nothing changed, never when it is damaged or another's, and harms nobody.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

/// A data folder and a cache beside it.
struct Place {
    data: tempfile::TempDir,
    kept: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let data = folder(&["a/0.jpg", "a/1.jpg", "a/sub/deep/2.jpg", "b/3.png", "b/4.png"]);
        Self {
            data,
            kept: tempfile::tempdir().unwrap(),
        }
    }

    fn open(&self) -> Index {
        Index::open(self.data.path(), &Cache::exact(self.kept.path())).unwrap()
    }

    fn file(&self) -> PathBuf {
        let place = self.data.path().canonicalize().unwrap();
        Cache::exact(self.kept.path()).file_of(&place).unwrap()
    }

    fn names_kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.kept.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

const ANEW: Origin = Origin::Walked { not_kept: None };

#[test]
fn a_folder_is_walked_once() {
    let place = Place::new();
    let walked = place.open();
    let kept = place.open();
    assert_eq!((walked.origin(), kept.origin()), (&ANEW, &Origin::Kept));
    assert!(walked.entries().eq(kept.entries()) && walked.classes().eq(kept.classes()));
    assert_eq!(kept.facts(), Index::read(place.data.path()).unwrap().facts());
    assert_eq!(place.names_kept().len(), 1);
    // By another name of the same folder.
    let link = place.kept.path().join("link");
    std::os::unix::fs::symlink(place.data.path(), &link).unwrap();
    let linked = Index::open(&link, &Cache::exact(place.kept.path())).unwrap();
    assert_eq!((linked.origin(), linked.root()), (&Origin::Kept, link.as_path()));
}

#[test]
fn whatever_comes_goes_or_is_renamed_is_seen() {
    let place = Place::new();
    let data = place.data.path();
    let changes: [(&str, &dyn Fn()); 6] = [
        ("a file came", &|| {
            fs::write(data.join("a/sub/deep/9.jpg"), "9").unwrap();
        }),
        ("a file went", &|| fs::remove_file(data.join("a/1.jpg")).unwrap()),
        ("a file has another name", &|| {
            fs::rename(data.join("b/3.png"), data.join("b/5.png")).unwrap();
        }),
        ("a folder came", &|| fs::create_dir(data.join("a/empty")).unwrap()),
        ("a folder has another name", &|| {
            fs::rename(data.join("a/sub"), data.join("a/sub2")).unwrap();
        }),
        ("a class went", &|| fs::remove_dir_all(data.join("b")).unwrap()),
    ];
    for (what, change) in changes {
        place.open();
        assert_eq!(place.open().origin(), &Origin::Kept, "before {what}");
        change();
        let index = place.open();
        assert_eq!(index.origin(), &ANEW, "{what}");
        assert_eq!(index.facts(), Index::read(data).unwrap().facts(), "{what}");
    }
    fs::remove_dir_all(data.join("a")).unwrap();
    let error = Index::open(data, &Cache::exact(place.kept.path())).unwrap_err();
    assert!(matches!(error, IndexError::NoClass(_)), "{error}");
}

#[test]
fn what_was_overwritten_in_place_is_seen_by_who_asks_for_a_new_walk() {
    let place = Place::new();
    place.open();
    fs::write(place.data.path().join("a/1.jpg"), "longer").unwrap();
    let kept = place.open();
    assert_eq!(kept.origin(), &Origin::Kept);
    kept.read_file(Sample(1), &mut Vec::new()).unwrap_err();
    let anew = Index::open_anew(place.data.path(), &Cache::exact(place.kept.path())).unwrap();
    assert_eq!(anew.entry(Sample(1)).size, 6);
    let kept = place.open();
    assert_eq!((kept.origin(), kept.entry(Sample(1)).size), (&Origin::Kept, 6));
}

#[test]
fn a_folder_that_changed_just_before_its_walk_is_walked_again() {
    let place = Place::new();
    let cache = Cache::at(place.kept.path());
    for _ in 0..2 {
        let index = Index::open(place.data.path(), &cache).unwrap();
        assert_eq!(index.origin(), &ANEW);
    }
}

#[test]
fn damage_anywhere_is_never_trusted() {
    let place = Place::new();
    let facts = place.open().facts();
    let whole = fs::read(place.file()).unwrap();
    let damaged = (0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    let others = [
        [&whole[..], b"more"].concat(),
        b"another kind of file".repeat(100),
    ];
    for bytes in damaged.chain(cut).chain(others) {
        assert!(Columns::parse(Bytes::Owned(bytes)).is_err());
    }
    for length in [0, 7, 100, whole.len() - 1] {
        // Beside it and renamed, as whoever damages it must: what is mapped stays as it was.
        let beside = place.kept.path().join("damaged");
        fs::write(&beside, &whole[..length]).unwrap();
        fs::rename(&beside, place.file()).unwrap();
        let index = place.open();
        assert_eq!(
            (index.origin(), index.facts()),
            (&ANEW, facts.clone()),
            "{length} bytes"
        );
        assert_eq!(place.open().origin(), &Origin::Kept, "it was made anew");
    }
}

/// The checksum holds, as it does for whoever writes one: then the columns themselves are looked at.
#[test]
fn columns_that_contradict_each_other_are_no_index() {
    let whole = Place::new().open().columns().as_bytes().to_vec();
    let mut n_refused = 0;
    for at in 48..whole.len() {
        for value in [0, 0xFF, whole[at].wrapping_add(1)] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let checksum = blake3::hash(&bytes[48..]);
            bytes[16..48].copy_from_slice(checksum.as_bytes());
            // Sound or not, nothing panics.
            match Columns::parse(Bytes::Owned(bytes)) {
                Ok(columns) => {
                    let entries = (0..columns.n_samples()).map(|sample| columns.entry(sample).path());
                    assert_eq!(entries.count() as u64, columns.n_samples());
                    assert!(columns.folders().count() < 100);
                }
                Err(_) => n_refused += 1,
            }
        }
    }
    assert!(n_refused > 100, "{n_refused}");
}

#[test]
fn another_folders_index_is_not_taken() {
    let (one, other) = (Place::new(), Place::new());
    fs::write(other.data.path().join("a/more.jpg"), "").unwrap();
    one.open();
    let kept_there = Cache::exact(one.kept.path())
        .file_of(&other.data.path().canonicalize().unwrap())
        .unwrap();
    fs::copy(one.file(), &kept_there).unwrap();
    let index = Index::open(other.data.path(), &Cache::exact(one.kept.path())).unwrap();
    assert_eq!((index.origin(), index.n_samples()), (&ANEW, 6));
}

#[test]
fn where_nothing_can_be_kept_the_folder_is_walked_each_time() {
    let place = Place::new();
    let file = place.kept.path().join("a file");
    fs::write(&file, "").unwrap();
    for cache in [Cache::none(), Cache::at(&file), Cache::at(&file.join("below"))] {
        for _ in 0..2 {
            let index = Index::open(place.data.path(), &cache).unwrap();
            let Origin::Walked {
                not_kept: Some(reason),
            } = index.origin()
            else {
                panic!("{:?}", index.origin());
            };
            assert!(!reason.is_empty());
            assert_eq!(index.n_samples(), 5);
        }
    }
}

#[test]
fn many_at_once_harm_nobody() {
    let place = Place::new();
    let facts = Index::read(place.data.path()).unwrap().facts();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let cache = Cache::exact(place.kept.path());
                    let anew = Index::open_anew(place.data.path(), &cache).unwrap();
                    let opened = place.open();
                    // Whoever maps one keeps it, whatever takes its name.
                    for index in [anew, opened] {
                        assert_eq!((index.facts(), index.entries().count()), (facts.clone(), 5));
                    }
                }
            });
        }
    });
    assert_eq!(place.names_kept().len(), 1, "{:?}", place.names_kept());
}

#[test]
fn what_nobody_used_for_long_is_removed() {
    let place = Place::new();
    let old = |name: &str, days: u64| {
        let path = place.kept.path().join(name);
        let then = std::time::SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        File::create(&path).unwrap().set_modified(then).unwrap();
        path
    };
    let gone = [old("index-00.m2t", 91), old(".index-half", 2)];
    let stay = [old("index-01.m2t", 89), old(".index-new", 0), old("else", 1000)];
    place.open();
    assert!(gone.iter().all(|path| !path.exists()));
    assert!(stay.iter().all(|path| path.exists()));
    let mode = fs::metadata(place.file()).unwrap().permissions().mode();
    assert_ne!(mode & 0o044, 0, "others of the machine may read it");
}
