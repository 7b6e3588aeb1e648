//! Listings survive the disk, whatever the names; damaged ones are refused; differences are told in sentences.

use std::ffi::OsStr;
use std::fs;

use super::*;

/// The listing of these classes and files.
fn listing(classes: &[&str], files: &[(&str, u64)]) -> Listing {
    let class_of = |path: &str| {
        let class = classes
            .iter()
            .position(|class| path.starts_with(&format!("{class}/")));
        class.unwrap()
    };
    let mut draft = Draft::default();
    for (number, class) in classes.iter().enumerate() {
        draft.push_class(class);
        for (path, size) in files.iter().filter(|(path, _)| class_of(path) == number) {
            draft.push_file(&path.as_bytes()[class.len() + 1..], *size);
        }
    }
    Listing(Arc::new(draft.finish()))
}

fn told(here: &Listing, there: &Listing) -> String {
    here.differences(there).unwrap().to_string()
}

#[test]
fn a_listing_survives_the_disk_with_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let names = [
        &b"a b.jpg"[..],
        b"new\nline.jpg",
        b"\\x41.jpg",
        b"\xff\xfe.png",
        "\u{e9}\u{85}.jpeg".as_bytes(),
    ];
    for class in ["first class", "second\\", "\u{1f600}"] {
        fs::create_dir_all(data.join(class).join("below")).unwrap();
        for (size, name) in names.into_iter().enumerate() {
            fs::write(data.join(class).join(OsStr::from_bytes(name)), vec![0; size]).unwrap();
        }
        fs::write(data.join(class).join("below/1.png"), "12345").unwrap();
    }
    let index = Index::read(&data).unwrap();
    let to = dir.path().join("data.listing");
    fs::write(&to, "an older one").unwrap();
    write(&index, &to).unwrap();

    let back = read(&to).unwrap();
    assert_eq!(back.entries().count(), 18);
    assert!(back.classes().eq(index.classes()));
    assert!(back.entries().eq(index.entries()));
    assert_eq!(back.facts(), index.facts());
    assert_eq!(back.differences(&Listing::of(&index)), None);
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        2,
        "nothing is left beside it"
    );
}

#[test]
fn damaged_listings_are_refused_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.listing");
    let refused = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        error
    };
    let packed = |text: &str| {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    assert!(refused(b"").contains("no data listing"));
    assert!(refused(b"class a\n").contains("no data listing"));
    assert!(refused(&packed("")).contains("no data listing"));
    assert!(refused(&packed("m2t data listing 2\n")).contains("no data listing"));
    let whole = packed("m2t data listing 1\nclass a\n1 1.jpg\n2 2.jpg\n");
    assert!(refused(&whole[..whole.len() - 3]).contains("cannot be read"));
    let cases = [
        ("1 1.jpg\n", "line 2 of", "a file without a class"),
        ("class a\nclass a\n", "line 3 of", "a class out of order"),
        ("class \\xff\n", "line 2 of", "no class name"),
        ("class a\n2 2.jpg\n1 1.jpg\n", "line 4 of", "a file out of order"),
        ("class a\n1.jpg\n", "line 3 of", "no file's size and path"),
        ("class a\n-1 1.jpg\n", "line 3 of", "no file's size and path"),
        ("class a\n1 \\n.jpg\n", "line 3 of", "no file's size and path"),
    ];
    for (lines, place, what) in cases {
        let error = refused(&packed(&format!("{HEADER}\n{lines}")));
        assert!(error.contains(place) && error.contains(what), "{error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn the_first_difference_is_told_with_how_many_there_are() {
    let base = listing(&["a", "b"], &[("a/1.jpg", 3), ("a/2.jpg", 4), ("b/1.jpg", 5)]);
    assert_eq!(base.differences(&base), None);

    let shorter = listing(&["a", "b"], &[("a/1.jpg", 3), ("b/1.jpg", 5)]);
    assert_eq!(told(&shorter, &base), "a/2.jpg is missing here");
    assert_eq!(told(&base, &shorter), "a/2.jpg is only here");

    let resized = listing(&["a", "b"], &[("a/1.jpg", 3), ("a/2.jpg", 4), ("b/1.jpg", 6)]);
    assert_eq!(told(&resized, &base), "b/1.jpg has 6 bytes here and 5 there");

    let other = listing(&["a", "b"], &[("a/0.jpg", 3), ("a/2.jpg", 5), ("b/1.jpg", 5)]);
    assert_eq!(
        told(&other, &base),
        "a/0.jpg is only here (in all, files: 1 missing here, 1 only here, 1 of another size)"
    );
}

#[test]
fn a_class_that_differs_comes_before_files() {
    let base = listing(&["a", "b"], &[("a/1.jpg", 3), ("b/1.jpg", 5), ("b/2.jpg", 5)]);
    let without = listing(&["a"], &[("a/1.jpg", 4)]);
    assert_eq!(
        told(&without, &base),
        "the class b is missing here (in all, files: 2 missing here, 1 of another size)"
    );
    assert!(told(&base, &without).starts_with("the class b is only here"));
    // A class folder that only one has, though no file of it counts.
    let renamed = listing(&["a", "b\n"], &[("a/1.jpg", 3)]);
    let plain = listing(&["a"], &[("a/1.jpg", 3)]);
    assert_eq!(told(&renamed, &plain), "the class b\\x0a is only here");
}
