//! Packs take their folder's place, give it back, go on after any end, and name what is damaged.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;

use m2t_common::shard::Sample;

use super::make::{Pack, PackError, Packed, pack, pack_unless};
use super::unpack::{Unpack, UnpackError, Unpacked, unpack};
use super::*;
use crate::check::check;
use crate::fixtures::data_set;
use crate::index::{Cache, Index, IndexError, Origin};

/// A data folder of 23 pictures, one empty file and one that is none, and room for packs.
struct Desk {
    data: tempfile::TempDir,
    room: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let (data, _) = data_set(23);
        fs::create_dir_all(data.path().join("b/below")).unwrap();
        fs::write(data.path().join("b/below/empty.jpg"), "").unwrap();
        fs::write(data.path().join("b/below/none.jpg"), "text").unwrap();
        let room = tempfile::tempdir().unwrap();
        Self { data, room }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// Into shards of about three pictures.
    fn what(&self, name: &str) -> Pack {
        Pack {
            from: self.data.path().to_owned(),
            to: self.path(name),
            shard_size: Some(500),
        }
    }

    fn pack(&self, name: &str) -> Result<Packed, PackError> {
        pack(&self.what(name), &|_, _| {})
    }

    fn index(&self) -> Index {
        Index::read(self.data.path()).unwrap()
    }
}

/// The files of a folder with their bytes; none where there is no folder.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

fn below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let relative = |path: PathBuf| path.strip_prefix(folder).unwrap().to_owned();
    content(folder)
        .into_iter()
        .map(|(path, bytes)| (relative(path), bytes))
        .collect()
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = fs::OpenOptions::new().write(true).mode(0o600).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

#[test]
fn a_pack_is_its_folder_in_a_few_files() {
    let desk = Desk::new();
    let (folder, packed) = (desk.index(), desk.pack("pack").unwrap());
    let pack = Index::read(&desk.path("pack")).unwrap();
    assert_eq!(pack.origin(), &Origin::Packed);
    assert_eq!(pack.facts(), folder.facts());
    assert_eq!(packed.fingerprint, folder.facts().fingerprint);
    assert!(pack.entries().eq(folder.entries()) && pack.classes().eq(folder.classes()));
    let names: Vec<_> = below(&desk.path("pack")).into_keys().collect();
    assert_eq!(names.len(), packed.n_shards + 1, "{names:?}");
    assert!(packed.n_shards > 3, "{packed:?}");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for sample in (0..25).map(Sample) {
        pack.read_file(sample, &mut ours).unwrap();
        folder.read_file(sample, &mut theirs).unwrap();
        assert_eq!(ours, theirs);
    }
    assert!(pack.ignored().unwrap().is_empty());
    assert_eq!(
        check(&pack, 2, &|| {}).unwrap(),
        check(&folder, 2, &|| {}).unwrap()
    );
    // In one shard of the usual size, too.
    let usual = Pack {
        shard_size: None,
        ..desk.what("usual")
    };
    assert_eq!(make::pack(&usual, &|_, _| {}).unwrap().n_shards, 1);
    assert_eq!(Index::read(&usual.to).unwrap().facts(), folder.facts());
}

#[test]
fn unpacking_gives_the_folder_back_and_overwrites_nothing() {
    let desk = Desk::new();
    desk.pack("pack").unwrap();
    let what = Unpack {
        from: desk.path("pack"),
        to: desk.path("back"),
    };
    let done = unpack(&what, &|_, _| {}).unwrap();
    assert_eq!(
        done,
        Unpacked {
            n_new: 25,
            n_there: 0
        }
    );
    assert_eq!(below(&what.to), below(desk.data.path()));
    fs::remove_file(what.to.join("a/0003.png")).unwrap();
    let done = unpack(&what, &|_, _| {}).unwrap();
    assert_eq!(
        done,
        Unpacked {
            n_new: 1,
            n_there: 24
        }
    );
    assert_eq!(below(&what.to), below(desk.data.path()));

    fs::write(what.to.join("a/0003.png"), "mine").unwrap();
    let error = unpack(&what, &|_, _| {}).unwrap_err();
    assert!(
        matches!(&error, UnpackError::Occupied(path) if path.ends_with("a/0003.png")),
        "{error}"
    );
    assert_eq!(fs::read(what.to.join("a/0003.png")).unwrap(), b"mine");
    fs::remove_file(what.to.join("a/0003.png")).unwrap();
    fs::write(what.to.join("a/more.png"), "mine").unwrap();
    let error = unpack(&what, &|_, _| {}).unwrap_err();
    assert!(matches!(error, UnpackError::Others(_)), "{error}");
    let error = unpack(
        &Unpack {
            from: desk.data.path().to_owned(),
            ..what
        },
        &|_, _| {},
    );
    assert!(matches!(error, Err(UnpackError::NoPack(_))));
}

/// At every change of the disk it ends, as if it had been killed; the next call makes of that what an undisturbed one makes.
#[test]
fn a_pack_that_ends_anywhere_goes_on_to_the_same_bytes() {
    let desk = Desk::new();
    desk.pack("whole").unwrap();
    let whole = below(&desk.path("whole"));
    let mut n_ends = 0;
    let mut n_refused = 0;
    for allowed in 0.. {
        let (name, left) = (format!("cut-{allowed}"), Cell::new(allowed));
        let ended = pack_unless(&desk.what(&name), &|_, _| {}, &|_| {
            left.set(left.get() - 1);
            if left.get() < 0 {
                return Err(io::Error::other("the end"));
            }
            Ok(())
        });
        if ended.is_ok() {
            break;
        }
        n_ends += 1;
        // Half of what was being written got to the disk, or more.
        for (path, mut bytes) in content(&desk.path(&name))
            .into_iter()
            .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "part"))
        {
            bytes.extend(b"and some more");
            fs::write(path, bytes).unwrap();
        }
        match Index::read(&desk.path(&name)) {
            Err(IndexError::UnfinishedPack(_)) => n_refused += 1,
            Err(IndexError::NoClass(_) | IndexError::Missing(_)) => assert!(allowed < 6),
            other => panic!("after {allowed} changes: {other:?}"),
        }
        let packed = desk.pack(&name).unwrap();
        assert!(packed.n_there < packed.n_shards || allowed > 30);
        assert!(below(&desk.path(&name)) == whole, "after {allowed} changes");
        fs::remove_dir_all(desk.path(&name)).unwrap();
    }
    assert!(n_ends > 50 && n_refused > n_ends - 6, "{n_refused} of {n_ends}");
}

#[test]
fn what_is_finished_stays_and_what_differs_is_refused() {
    let desk = Desk::new();
    let first = desk.pack("pack").unwrap();
    let before = below(&desk.path("pack"));
    let again = desk.pack("pack").unwrap();
    assert_eq!((again.n_there, first.n_there), (first.n_shards, 0));
    assert!(below(&desk.path("pack")) == before);

    let other_size = Pack {
        shard_size: Some(900),
        ..desk.what("pack")
    };
    let refused = pack(&other_size, &|_, _| {});
    assert!(matches!(refused, Err(PackError::OtherPack(_))), "{refused:?}");
    // Begun, and then the folder changes.
    let left = Cell::new(12);
    let ended = pack_unless(&desk.what("begun"), &|_, _| {}, &|_| {
        left.set(left.get() - 1);
        if left.get() < 0 {
            return Err(io::Error::other("the end"));
        }
        Ok(())
    });
    assert!(matches!(ended, Err(PackError::Write { .. })), "{ended:?}");
    fs::write(desk.data.path().join("a/more.jpg"), "").unwrap();
    for name in ["begun", "pack"] {
        let refused = desk.pack(name);
        assert!(matches!(refused, Err(PackError::OtherPack(_))), "{refused:?}");
    }
    let refused = Index::open(&desk.path("begun"), &Cache::none())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("m2t data pack"), "{refused}");
    assert!(below(&desk.path("pack")) == before);
}

#[test]
fn a_place_that_will_not_do_is_refused() {
    let desk = Desk::new();
    let refused = |what: Pack| pack(&what, &|_, _| {}).unwrap_err();
    fs::create_dir(desk.path("full")).unwrap();
    fs::write(desk.path("full/mine.txt"), "").unwrap();
    assert!(matches!(refused(desk.what("full")), PackError::Occupied(_)));
    let within = Pack {
        to: desk.data.path().join("pack"),
        ..desk.what("")
    };
    assert!(matches!(refused(within), PackError::Within { .. }));
    fs::remove_dir(desk.data.path().join("pack")).unwrap();
    let small = Pack {
        shard_size: Some(1),
        ..desk.what("small")
    };
    assert_eq!(
        pack(&small, &|_, _| {}).unwrap().n_shards,
        25,
        "each has one of its own"
    );
    desk.pack("pack").unwrap();
    let packed = Pack {
        from: desk.path("pack"),
        ..desk.what("again")
    };
    assert!(matches!(refused(packed), PackError::IsPack(_)));
    let lock = File::open(desk.path("pack")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(refused(desk.what("pack")), PackError::Busy(_)));
}

#[test]
fn too_many_shards_are_refused_with_a_size_that_will_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("data/a")).unwrap();
    for file in 0..600 {
        fs::write(dir.path().join(format!("data/a/{file:03}.jpg")), [1; 10]).unwrap();
    }
    let what = |shard_size| Pack {
        from: dir.path().join("data"),
        to: dir.path().join("pack"),
        shard_size: Some(shard_size),
    };
    let error = pack(&what(10), &|_, _| {}).unwrap_err().to_string();
    assert!(
        error.contains("600 files") && error.contains("at least 40"),
        "{error}"
    );
    assert_eq!(pack(&what(40), &|_, _| {}).unwrap().n_shards, 150);
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_an_error() {
    let desk = Desk::new();
    let victim = desk.data.path().join("b/0020.png");
    let (whole, is_changed) = (fs::read(&victim).unwrap(), Cell::new(false));
    let ended = pack_unless(&desk.what("pack"), &|_, _| {}, &|_| {
        if !is_changed.replace(true) {
            fs::write(&victim, "shorter").unwrap();
        }
        Ok(())
    });
    let error = ended.unwrap_err();
    assert!(
        matches!(&error, PackError::Read { path, .. } if path.ends_with("b/0020.png")),
        "{error}"
    );
    fs::write(&victim, whole).unwrap();
    assert!(desk.pack("pack").unwrap().n_there > 0);
}

#[test]
fn damage_is_found_and_named() {
    let desk = Desk::new();
    let packed = desk.pack("pack").unwrap();
    let path = desk.path("pack");
    let whole = below(&path);
    let open = || Index::read(&path).unwrap_err().to_string();
    let restore = |name: &str| fs::write(path.join(name), &whole[Path::new(name)]).unwrap();

    // One bit of a picture.
    let index = Index::read(&path).unwrap();
    let columns = index.columns();
    let (shard, within) = (columns.shard_of(8), columns.shard(columns.shard_of(8)).start);
    let name = shard_name(shard);
    let at = columns.start(9) - 1 - columns.start(within);
    let bit = whole[Path::new(&name)][usize::try_from(at).unwrap()] ^ 1;
    overwrite(&path.join(&name), at, &[bit]);
    let report = check(&index, 2, &|| {}).unwrap();
    let damaged: Vec<_> = report
        .damaged
        .iter()
        .map(|file| file.path.to_str().unwrap())
        .collect();
    assert_eq!(damaged, ["a/0008.png", "b/below/empty.jpg", "b/below/none.jpg"]);
    assert!(report.damaged[0].reason.contains("not those that were packed"));
    let back = Unpack {
        from: path.clone(),
        to: desk.path("back"),
    };
    let error = unpack(&back, &|_, _| {}).unwrap_err();
    assert!(
        matches!(&error, UnpackError::Damaged { image, .. } if image.ends_with("a/0008.png")),
        "{error}"
    );
    restore(&name);

    // A shard that is shorter when it is opened, and after.
    let shorter = &whole[Path::new(&name)][..100];
    fs::write(path.join(&name), shorter).unwrap();
    let error = open();
    assert!(
        error.contains(&name) && error.contains("100 bytes instead of"),
        "{error}"
    );
    let error = index
        .read_file(Sample(columns.shard(shard).end - 1), &mut Vec::new())
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains(&name), "{error}");
    restore(&name);

    // Checksums of another shard of the same length, a shard that is gone, an index that is damaged.
    overwrite(
        &path.join(&name),
        whole[Path::new(&name)].len() as u64 - 40,
        &[0; 8],
    );
    let error = check(&index, 1, &|| {}).unwrap_err().to_string();
    assert!(error.contains(&name) && error.contains("checksums"), "{error}");
    restore(&name);
    let last = shard_name(packed.n_shards - 1);
    fs::remove_file(path.join(&last)).unwrap();
    assert!(open().contains(&last));
    restore(&last);
    let mut bytes = whole[Path::new(INDEX)].clone();
    bytes[200] ^= 4;
    drop(index);
    fs::write(path.join(INDEX), &bytes).unwrap();
    assert!(open().contains("index.m2t is damaged"));
    restore(INDEX);
    assert_eq!(
        check(&Index::read(&path).unwrap(), 1, &|| {})
            .unwrap()
            .damaged
            .len(),
        2
    );
}
