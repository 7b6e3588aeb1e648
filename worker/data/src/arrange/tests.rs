//! Every form of labels, every way of bringing a file, a second call, and what is refused before anything is touched.

use std::collections::BTreeMap;

use super::*;

/// A flat folder of images, each with its number for content, and a file of labels beside it.
struct Flat {
    dir: tempfile::TempDir,
}

impl Flat {
    fn new(n: u32, labels: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("val")).unwrap();
        for number in 1..=n {
            fs::write(dir.path().join("val").join(name(number)), number.to_string()).unwrap();
        }
        fs::write(dir.path().join("labels"), labels).unwrap();
        Self { dir }
    }

    fn what(&self, transfer: Transfer) -> Arrange {
        Arrange {
            from: self.dir.path().join("val"),
            to: self.dir.path().join("to"),
            labels: self.dir.path().join("labels"),
            transfer,
        }
    }

    fn arrange(&self, transfer: Transfer) -> Result<Arranged, ArrangeError> {
        arrange(&self.what(transfer), &|_, _| {})
    }

    /// Each file below `below` with its content.
    fn files(&self, below: &str) -> BTreeMap<String, String> {
        let root = self.dir.path().join(below);
        let mut files = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    files.insert(name, fs::read_to_string(path).unwrap());
                }
            }
        }
        files
    }
}

fn name(number: u32) -> String {
    format!("ILSVRC2012_val_{number:08}.JPEG")
}

/// Images 1 and 3 of class n01, 2 of n02, in their folders.
fn in_place() -> BTreeMap<String, String> {
    [(1, "n00000001"), (2, "n00000002"), (3, "n00000001")]
        .map(|(number, class)| (format!("{class}/{}", name(number)), number.to_string()))
        .into()
}

const PAIRS: &str = "ILSVRC2012_val_00000003.JPEG n00000001\nILSVRC2012_val_00000001.JPEG n00000001\n\
                     ILSVRC2012_val_00000002.JPEG n00000002\n";

#[test]
fn every_form_of_labels_is_understood() {
    let forms = [
        PAIRS.to_owned(),
        PAIRS.replace(' ', ","),
        PAIRS.replace(' ', "\t").replace('\n', "\r\n"),
        PAIRS.replace(".JPEG", ""),
        format!(
            "\u{feff}ImageId,PredictionString\n{}",
            PAIRS.replace(".JPEG ", ",").replace('\n', " 85 1 499 272 \n")
        ),
        "n00000001\nn00000002\nn00000001\n".to_owned(),
        "n00000001\nn00000002\nn00000001".to_owned(),
    ];
    for labels in forms {
        let flat = Flat::new(3, &labels);
        let done = flat
            .arrange(Transfer::Link)
            .unwrap_or_else(|error| panic!("{labels}: {error}"));
        let expected = Arranged {
            n_classes: 2,
            n_new: 3,
            ..Arranged::default()
        };
        assert_eq!(done, expected, "{labels}");
        assert_eq!(flat.files("to"), in_place(), "{labels}");
    }
}

#[test]
fn a_second_call_changes_nothing_and_a_broken_one_is_finished() {
    for transfer in [Transfer::Link, Transfer::Copy, Transfer::Move] {
        let flat = Flat::new(3, PAIRS);
        flat.arrange(transfer).unwrap();
        assert_eq!(flat.files("to"), in_place());
        assert_eq!(
            flat.files("val").len(),
            if transfer == Transfer::Move { 0 } else { 3 }
        );
        // As if it had ended before the second image.
        let second = flat.dir.path().join("to/n00000002").join(name(2));
        fs::remove_file(&second).unwrap();
        fs::write(flat.dir.path().join("val").join(name(2)), "2").unwrap();
        for n_new in [1, 0] {
            let done = flat.arrange(transfer).unwrap();
            assert_eq!((done.n_new, done.n_there), (n_new, 3 - n_new), "{transfer:?}");
            assert_eq!(flat.files("to"), in_place());
        }
    }
}

#[test]
fn a_list_of_classes_can_be_finished_too() {
    let flat = Flat::new(3, "n00000001\nn00000002\nn00000001\n");
    let first = flat.dir.path().join("to/n00000001");
    fs::create_dir_all(&first).unwrap();
    fs::rename(flat.dir.path().join("val").join(name(1)), first.join(name(1))).unwrap();
    assert_eq!(flat.arrange(Transfer::Move).unwrap().n_new, 2);
    assert_eq!(flat.files("to"), in_place());
}

#[test]
fn images_can_be_moved_into_folders_of_their_own_folder() {
    let flat = Flat::new(3, PAIRS);
    let what = Arrange {
        to: flat.dir.path().join("val"),
        ..flat.what(Transfer::Move)
    };
    for n_new in [3, 0] {
        assert_eq!(arrange(&what, &|_, _| {}).unwrap().n_new, n_new);
        assert_eq!(flat.files("val"), in_place());
    }
}

#[test]
fn what_has_no_counterpart_is_told_and_stays() {
    let flat = Flat::new(4, &format!("{PAIRS}ILSVRC2012_val_00000009.JPEG n00000002\n"));
    let done = flat.arrange(Transfer::Move).unwrap();
    assert_eq!(done.unlabelled, [name(4)]);
    assert_eq!(done.missing, ["ILSVRC2012_val_00000009"]);
    assert_eq!(flat.files("to"), in_place());
    assert_eq!(flat.files("val").len(), 1);
}

#[test]
fn links_arrive_as_the_images_they_point_to() {
    for transfer in [Transfer::Link, Transfer::Copy, Transfer::Move] {
        let flat = Flat::new(3, PAIRS);
        let second = flat.dir.path().join("val").join(name(2));
        fs::rename(&second, flat.dir.path().join("store")).unwrap();
        std::os::unix::fs::symlink("../store", &second).unwrap();
        flat.arrange(transfer).unwrap();
        assert_eq!(flat.files("to"), in_place(), "{transfer:?}");
        assert!(flat.dir.path().join("store").exists());
    }
    // A link in an image's place is no reason to remove the image.
    let flat = Flat::new(3, PAIRS);
    let there = flat.dir.path().join("to/n00000002").join(name(2));
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(flat.dir.path().join("val").join(name(2)), &there).unwrap();
    assert!(matches!(
        flat.arrange(Transfer::Move),
        Err(ArrangeError::Occupied { .. })
    ));
    assert_eq!(fs::read_to_string(&there).unwrap(), "2");
}

#[test]
fn nothing_is_overwritten() {
    for transfer in [Transfer::Link, Transfer::Copy, Transfer::Move] {
        let flat = Flat::new(3, PAIRS);
        let other = flat.dir.path().join("to/n00000002").join(name(2));
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        fs::write(&other, "other").unwrap();
        let error = flat.arrange(transfer).unwrap_err();
        assert!(
            matches!(&error, ArrangeError::Occupied { there, .. } if *there == other),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&other).unwrap(), "other");
        assert_eq!(
            fs::read_to_string(flat.dir.path().join("val").join(name(2))).unwrap(),
            "2"
        );
    }
}

#[test]
fn other_labels_for_moved_images_are_refused() {
    let flat = Flat::new(3, PAIRS);
    flat.arrange(Transfer::Move).unwrap();
    fs::write(
        flat.dir.path().join("labels"),
        PAIRS.replace("n00000002", "n00000003"),
    )
    .unwrap();
    let error = flat.arrange(Transfer::Move).unwrap_err();
    assert!(matches!(error, ArrangeError::Occupied { .. }), "{error}");
    assert_eq!(flat.files("to"), in_place());
}

#[test]
fn wrong_labels_are_refused_before_anything_is_touched() {
    let cases = [
        ("", "are empty"),
        ("490\n361\n171\n", "line 1 of"),
        ("490\n361\n171\n", "LOC_val_solution.csv"),
        (&PAIRS.replace("n00000002", "361"), "line 3 of"),
        (
            &format!("{PAIRS}{}", PAIRS.replace("n00000002", "n00000003")),
            "line 6 of",
        ),
        (&PAIRS.replace("n00000002", "../n02"), "is no label"),
        (&PAIRS.replace(" n00000002", ""), "is no label"),
        ("n00000001\nn00000002\n", "2 of them, and there are 3 images"),
        ("n00000001\n../up\nn00000002\n", "is no label"),
        (&PAIRS.replace("val_0", "val_1"), "no label of"),
    ];
    for (labels, expected) in cases {
        let flat = Flat::new(3, labels);
        let error = flat.arrange(Transfer::Move).unwrap_err().to_string();
        assert!(error.contains(expected), "{labels}: {error}");
        assert!(!flat.dir.path().join("to").exists(), "{labels}");
        assert_eq!(flat.files("val").len(), 3);
    }
    let flat = Flat::new(0, PAIRS);
    assert!(matches!(
        flat.arrange(Transfer::Link),
        Err(ArrangeError::NoImage(_))
    ));
    let gone = Arrange {
        labels: flat.dir.path().join("nowhere"),
        ..Flat::new(1, "").what(Transfer::Link)
    };
    assert!(matches!(
        arrange(&gone, &|_, _| {}),
        Err(ArrangeError::Access { .. })
    ));
}
