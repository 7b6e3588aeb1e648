//! Empty files will do: nothing here looks into a picture.

use super::*;

/// `n` pictures of a class.
fn pictures(dir: &Path, class: &str, n: usize) {
    let folder = dir.join(class);
    fs::create_dir_all(&folder).unwrap();
    for at in 0..n {
        fs::write(folder.join(format!("{at:03}.JPG")), "").unwrap();
    }
}

fn names(dir: &Path) -> Vec<String> {
    read(dir)
        .unwrap()
        .into_values()
        .flatten()
        .map(|path| path.display().to_string())
        .collect()
}

#[test]
fn small_train_and_val_folders_are_used_as_they_are() {
    let user = tempfile::tempdir().unwrap();
    for part in ["train", "val"] {
        pictures(&user.path().join(part), "cat", 3);
    }
    let folders = lay_out(user.path(), &user.path().join("work")).unwrap();
    assert_eq!(folders.train, user.path().join("train"));
    assert_eq!(folders.val, user.path().join("val"));
    assert!(
        folders.told.contains("3 pictures to train on, 3 held out"),
        "{}",
        folders.told
    );
}

#[test]
fn without_them_a_fifth_of_each_class_is_held_out_by_links() {
    let user = tempfile::tempdir().unwrap();
    pictures(user.path(), "cat", 10);
    pictures(user.path(), "dog/small", 5);
    pictures(user.path(), "newt", 4);
    fs::write(user.path().join("cat/.hidden.jpg"), "").unwrap();
    fs::write(user.path().join("cat/notes.txt"), "").unwrap();
    let work = tempfile::tempdir().unwrap();
    let folders = lay_out(user.path(), &work.path().join("data")).unwrap();
    assert_eq!(
        names(&folders.val),
        ["cat/004.JPG", "cat/009.JPG", "dog/small/004.JPG"]
    );
    assert_eq!(names(&folders.train).len(), 12);
    let link = folders.val.join("cat/004.JPG");
    assert_eq!(fs::read_link(link).unwrap(), user.path().join("cat/004.JPG"));
    assert!(folders.told.contains("one picture in 5"), "{}", folders.told);
    assert!(folders.told.contains("left out: 1 classes"), "{}", folders.told);
}

#[test]
fn a_large_set_is_thinned_evenly_and_loses_no_class() {
    let files = |n: usize| {
        (0..n)
            .map(|at| PathBuf::from(format!("{at}")))
            .collect::<Vec<_>>()
    };
    let classes = Classes::from([("few".to_owned(), files(3)), ("many".to_owned(), files(997))]);
    let thinned = thin(classes.clone(), 100);
    assert_eq!(thinned["few"].len(), 1);
    assert_eq!(thinned["many"].len(), 99);
    assert_eq!(thinned["many"][98], PathBuf::from("986"));
    assert_eq!(thin(classes.clone(), 1_000), classes);
}

#[test]
fn folders_that_cannot_serve_are_refused_with_what_to_do() {
    let user = tempfile::tempdir().unwrap();
    let work = user.path().join("work");
    let refusal = |user: &Path| format!("{:#}", lay_out(user, &work).err().unwrap());
    let empty = refusal(user.path());
    assert!(empty.contains("DIR/class/picture.jpg"), "{empty}");
    pictures(user.path(), "cat", 3);
    let few = refusal(user.path());
    assert!(few.contains("no class has 5 pictures"), "{few}");
    pictures(&user.path().join("train"), "cat", 3);
    pictures(&user.path().join("val"), "dog", 3);
    let unequal = refusal(user.path());
    assert!(
        unequal.contains("\"cat\" has pictures in train/ but none in val/"),
        "{unequal}"
    );
}
