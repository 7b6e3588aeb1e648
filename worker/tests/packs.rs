//! `m2t data pack` as a process that is killed, again and again: the pack becomes what an undisturbed one is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use m2t_data::{Cache, Index, IndexError};

/// Names and bytes of the files of a folder.
fn content(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn n_files(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn a_pack_whose_maker_is_killed_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (data, whole, killed) = (
        dir.path().join("data"),
        dir.path().join("whole"),
        dir.path().join("killed"),
    );
    for class in ["a", "b"] {
        fs::create_dir_all(data.join(class)).unwrap();
        for file in 0..60u8 {
            fs::write(data.join(class).join(format!("{file:02}.jpg")), [file; 1_000]).unwrap();
        }
    }
    let pack = |to: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_m2t"));
        command
            .args(["data", "pack", "--shard-size", "2KiB"])
            .arg(&data)
            .arg(to);
        command.stdout(Stdio::null());
        command
    };
    assert!(pack(&whole).status().unwrap().success());
    let expected = content(&whole);
    assert_eq!(expected.len(), 61);

    let mut n_killed = 0;
    for until in [1, 2, 3, 10, 11, 25, 40, 55] {
        let mut child = pack(&killed).spawn().unwrap();
        while n_files(&killed) < until && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        n_killed += u32::from(!child.wait().unwrap().success());
        match Index::open(&killed, &Cache::none()) {
            Ok(index) => assert_eq!(index.n_samples(), 120, "it was finished before it was killed"),
            Err(error) => assert!(
                matches!(error, IndexError::UnfinishedPack(_) | IndexError::NoClass(_)),
                "{error}"
            ),
        }
    }
    assert!(n_killed > 3, "{n_killed}");
    assert!(pack(&killed).status().unwrap().success());
    assert!(content(&killed) == expected);
}
