//! Which files count, in which order, and what is said of folders that are no data set.

use std::fs;

use super::*;

/// A folder with these files, each as long as its place in the list.
fn folder(files: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (length, file) in files.iter().enumerate() {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![0; length]).unwrap();
    }
    dir
}

#[test]
fn files_are_sorted_by_class_and_bytes() {
    let dir = folder(&[
        "b/2.JPEG",
        "b/10.jpg",
        "a-b/x.png",
        "a/sub/1.Png",
        "a/sub-1.jpeg",
        "a/.hidden.jpg",
        "a/notes.txt",
        ".cache/1.jpg",
        "readme.jpg",
    ]);
    let index = Index::read(dir.path()).unwrap();
    assert_eq!(index.classes, ["a", "a-b", "b"]);
    let files: Vec<_> = index
        .files
        .iter()
        .map(|entry| (entry.path.to_str().unwrap(), entry.class, entry.size))
        .collect();
    let expected = [
        ("a/sub-1.jpeg", 0, 4),
        ("a/sub/1.Png", 0, 3),
        ("a-b/x.png", 1, 2),
        ("b/10.jpg", 2, 1),
        ("b/2.JPEG", 2, 0),
    ];
    assert_eq!(files, expected);
    assert!(index.locate(&index.files[0]).is_file());
}

#[test]
fn facts_tell_folders_apart() {
    let facts = |files: &[&str]| Index::read(folder(files).path()).unwrap().facts();
    let base = facts(&["a/1.jpg", "b/2.jpg"]);
    assert_eq!(base.n_samples, 2);
    assert_eq!(
        base,
        facts(&["a/1.jpg", "b/2.jpg"]),
        "the folder's own path does not count"
    );
    assert_ne!(
        base.fingerprint,
        facts(&["a/2.jpg", "b/2.jpg"]).fingerprint,
        "a name"
    );
    assert_ne!(
        base.fingerprint,
        facts(&["b/2.jpg", "a/1.jpg"]).fingerprint,
        "sizes"
    );
    assert_ne!(
        base.fingerprint,
        facts(&["a/1.jpg", "c/2.jpg"]).fingerprint,
        "a class"
    );
}

#[test]
fn errors_name_the_place_and_the_cure() {
    let error = |files: &[&str], below: &str| {
        let dir = folder(files);
        let error = Index::read(&dir.path().join(below)).unwrap_err().to_string();
        assert!(error.contains(dir.path().to_str().unwrap()), "{error}");
        error
    };
    assert!(error(&[], "nowhere").contains("does not exist"));
    assert!(error(&["1.jpg"], "1.jpg").contains("does not exist"));
    assert!(error(&["1.jpg"], "").contains("no class folder"));
    assert!(error(&["a/1.jpg", "b/1.txt"], "").contains("/b holds no .jpg"));
    let flat = error(&["ILSVRC2012_val_00000001.JPEG"], "");
    assert!(flat.contains("m2t data arrange"), "{flat}");
    assert!(error(&["train/a/1.jpg", "val/a/1.jpg"], "").contains("(train, val)"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_broken_ones_named() {
    let dir = folder(&["a/1.jpg"]);
    std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("b")).unwrap();
    assert_eq!(Index::read(dir.path()).unwrap().classes, ["a", "b"]);
    std::os::unix::fs::symlink("nowhere", dir.path().join("a/2.jpg")).unwrap();
    let error = Index::read(dir.path()).unwrap_err().to_string();
    assert!(error.contains("a/2.jpg cannot be read"), "{error}");
}

#[test]
fn many_folders_are_read_in_order_and_their_first_trouble_is_told() {
    let names: Vec<String> = (0..50)
        .map(|class| format!("{class:02}/{}.jpg", class * 7 % 50))
        .collect();
    let dir = folder(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let index = Index::read(dir.path()).unwrap();
    let read: Vec<_> = index
        .files
        .iter()
        .map(|entry| (entry.path.to_str().unwrap(), entry.class))
        .collect();
    let expected: Vec<_> = names.iter().map(String::as_str).zip(0..).collect();
    assert_eq!(read, expected);

    fs::remove_file(dir.path().join(&names[20])).unwrap();
    fs::remove_file(dir.path().join(&names[3])).unwrap();
    let error = Index::read(dir.path()).unwrap_err();
    assert!(
        matches!(&error, IndexError::EmptyClass(path) if path.ends_with("03")),
        "{error}"
    );
}
