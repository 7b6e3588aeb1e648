//! Which files count, in which order, what is kept of it, and what is said of folders that are no data set.

mod kept;
mod scale;

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
    assert_eq!(index.classes().collect::<Vec<_>>(), ["a", "a-b", "b"]);
    let files: Vec<_> = index
        .entries()
        .map(|entry| (entry.path().to_str().unwrap().to_owned(), entry.class, entry.size))
        .collect();
    let expected = [
        ("a/sub-1.jpeg", 0, 4),
        ("a/sub/1.Png", 0, 3),
        ("a-b/x.png", 1, 2),
        ("b/10.jpg", 2, 1),
        ("b/2.JPEG", 2, 0),
    ];
    let expected = expected.map(|(path, class, size)| (path.to_owned(), class, size));
    assert_eq!(files, expected);
    assert!(index.locate(Sample(0)).is_file());
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

/// A change of this number would make every run refuse its data.
#[test]
fn a_fingerprint_is_what_it_always_was() {
    let dir = folder(&["none.txt", "b/.hidden", "b/10.jpg", "a/sub/1.Png", "a/sub-1.jpeg"]);
    let facts = Index::read(dir.path()).unwrap().facts();
    let expected = "ee501652d83550502f23224a47744446d75d78a1f3f8884a7ce934da667e0e51";
    assert_eq!((facts.n_samples, facts.fingerprint.as_str()), (3, expected));
}

#[test]
fn a_file_of_another_size_is_an_error_that_says_so() {
    let dir = folder(&["a/0.jpg", "a/1.jpg", "a/2.jpg"]);
    let index = Index::read(dir.path()).unwrap();
    let mut bytes = vec![9];
    index.read_file(Sample(2), &mut bytes).unwrap();
    assert_eq!(bytes, [0, 0]);
    for (now, found) in [(&b"longer"[..], 6), (b"", 0)] {
        fs::write(dir.path().join("a/2.jpg"), now).unwrap();
        let error = index.read_file(Sample(2), &mut bytes).unwrap_err();
        let changed = error.get_ref().unwrap().downcast_ref::<ChangedSize>();
        assert_eq!(changed, Some(&ChangedSize { indexed: 2, found }), "{error}");
    }
    fs::remove_file(dir.path().join("a/2.jpg")).unwrap();
    let error = index.read_file(Sample(2), &mut bytes).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn some_samples_are_numbered_anew() {
    let dir = folder(&["a/0.jpg", "a/1.jpg", "b/2.jpg", "b/3.jpg"]);
    let picked = Index::read(dir.path())
        .unwrap()
        .pick([3, 0].map(Sample).into_iter());
    assert_eq!(picked.n_samples(), 2);
    let again = picked.pick([1, 1, 0].map(Sample).into_iter());
    let sizes: Vec<_> = again.entries().map(|entry| (entry.class, entry.size)).collect();
    assert_eq!(sizes, [(0, 0), (0, 0), (1, 3)]);
    let mut bytes = Vec::new();
    again.read_file(Sample(2), &mut bytes).unwrap();
    assert_eq!(bytes, [0; 3]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_broken_ones_named() {
    let dir = folder(&["a/1.jpg"]);
    std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("b")).unwrap();
    let index = Index::read(dir.path()).unwrap();
    assert_eq!(index.classes().collect::<Vec<_>>(), ["a", "b"]);
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
        .entries()
        .map(|entry| (entry.path().to_str().unwrap().to_owned(), entry.class))
        .collect();
    let expected: Vec<_> = names.iter().cloned().zip(0..).collect();
    assert_eq!(read, expected);

    fs::remove_file(dir.path().join(&names[20])).unwrap();
    fs::remove_file(dir.path().join(&names[3])).unwrap();
    let error = Index::read(dir.path()).unwrap_err();
    assert!(
        matches!(&error, IndexError::EmptyClass(path) if path.ends_with("03")),
        "{error}"
    );
}
