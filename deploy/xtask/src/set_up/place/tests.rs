//! When a folder counts as complete, and what becomes of what was left; the installation itself is tried on a fresh clone.

use super::*;

fn place(root: &Path) -> Place<'_> {
    Place {
        root,
        name: ".thing",
        what: "the thing",
        stamp: "thing==2\n".to_owned(),
        witness: "lib/thing.so",
        cost: "nothing",
        needed_bytes: 0,
        own: "or use your own",
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn only_a_folder_with_this_stamp_and_the_witness_is_complete() {
    let root = tempfile::tempdir().unwrap();
    let place = place(root.path());
    assert!(!place.is_complete());
    fs::create_dir_all(place.complete().join("lib")).unwrap();
    fs::write(place.complete().join(STAMP_FILE), "thing==1\n").unwrap();
    fs::write(place.complete().join("lib/thing.so"), "").unwrap();
    assert!(!place.is_complete());
    fs::write(place.complete().join(STAMP_FILE), &place.stamp).unwrap();
    assert!(place.is_complete());
    fs::remove_file(place.complete().join("lib/thing.so")).unwrap();
    assert!(!place.is_complete());
}

#[test]
fn a_folder_is_filled_once_and_an_older_one_replaced() {
    let root = tempfile::tempdir().unwrap();
    let place = place(root.path());
    fs::create_dir_all(place.complete().join("old")).unwrap();
    place
        .provide(|partial, log| {
            fs::create_dir_all(partial.join("lib"))?;
            fs::write(partial.join("lib/thing.so"), "")?;
            Ok(fs::write(log, "")?)
        })
        .unwrap();
    assert_eq!(names(&place.complete()), ["lib", STAMP_FILE]);
    place
        .provide(|_, _| panic!("it is complete"))
        .expect("a complete folder is left alone");
    assert_eq!(names(root.path()), [".thing", ".thing.lock"]);
}

#[test]
fn a_failure_leaves_neither_a_folder_nor_half_of_one() {
    let root = tempfile::tempdir().unwrap();
    let place = place(root.path());
    let failed = place.provide(|partial, _| {
        fs::create_dir_all(partial)?;
        anyhow::bail!("no network")
    });
    assert_eq!(failed.unwrap_err().to_string(), "no network");
    let witnessless = place.provide(|partial, _| Ok(fs::create_dir_all(partial)?));
    assert!(
        witnessless
            .unwrap_err()
            .to_string()
            .contains("without lib/thing.so")
    );
    assert!(!place.complete().exists());
}

#[test]
fn what_an_interrupted_set_up_left_is_removed_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    for name in [".thing.partial-1/tmp", ".thing.partial-77", ".thing"] {
        fs::create_dir_all(root.path().join(name)).unwrap();
    }
    place(root.path()).remove_leftovers().unwrap();
    assert_eq!(names(root.path()), [".thing"]);
}

#[test]
fn a_full_disk_is_told_before_anything_is_done() {
    let root = tempfile::tempdir().unwrap();
    let place = Place {
        needed_bytes: u64::MAX,
        ..place(root.path())
    };
    let refused = place.provide(|_, _| panic!("there is no room")).unwrap_err();
    assert!(
        refused.to_string().contains("make room, or use your own"),
        "{refused}"
    );
}

#[test]
fn removing_follows_no_link() {
    let root = tempfile::tempdir().unwrap();
    let kept = root.path().join("kept");
    fs::create_dir(&kept).unwrap();
    let link = root.path().join("link");
    std::os::unix::fs::symlink(&kept, &link).unwrap();
    remove(&link).unwrap();
    remove(&link).unwrap();
    assert!(kept.is_dir() && !link.exists());
}
