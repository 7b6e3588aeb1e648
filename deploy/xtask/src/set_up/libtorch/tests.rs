//! The decisions of the set-up; the installation itself is tried on a fresh clone.

use super::*;

#[test]
fn cargos_own_setting_is_not_taken_for_the_users() {
    let root = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    assert!(is_ours(&root.path().join(".libtorch/torch"), root.path()));
    assert!(!is_ours(&other.path().join(".libtorch/torch"), root.path()));
    assert!(!is_ours(&root.path().join("libtorch"), root.path()));
}

#[test]
fn only_a_folder_with_the_stamp_of_these_versions_and_the_library_is_complete() {
    let root = tempfile::tempdir().unwrap();
    let place = Place::below(root.path());
    assert!(!place.is_complete());
    fs::create_dir_all(place.complete.join("torch/lib")).unwrap();
    fs::write(place.complete.join(STAMP_FILE), "torch==1.13.0\n").unwrap();
    fs::write(place.complete.join(LIBRARY), "").unwrap();
    assert!(!place.is_complete());
    fs::write(place.complete.join(STAMP_FILE), stamp_text()).unwrap();
    assert!(place.is_complete());
    fs::remove_file(place.complete.join(LIBRARY)).unwrap();
    assert!(!place.is_complete());
}

#[test]
fn what_an_interrupted_set_up_left_is_removed_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    for name in [".libtorch.partial-1/tmp", ".libtorch.partial-77", ".libtorch"] {
        fs::create_dir_all(root.path().join(name)).unwrap();
    }
    Place::below(root.path()).remove_leftovers().unwrap();
    let left: Vec<_> = fs::read_dir(root.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [".libtorch"]);
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
