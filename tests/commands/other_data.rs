//! Machines with other data are refused by name and file, whoever came first; the others go on.

use std::path::Path;

use m2t_tests::harness::photographs;

use crate::desk::Desk;

fn link_all(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            link_all(&entry.path(), &target);
        } else {
            std::os::unix::fs::symlink(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn of_three_machines_the_one_that_lacks_a_file_is_refused_and_two_go_on() {
    let Some(data) = photographs() else { return };
    let desk = Desk::new();
    std::fs::remove_dir_all(desk.path("data")).unwrap();
    link_all(&data, &desk.path("data"));
    link_all(&data, &desk.path("less"));
    let mut files: Vec<_> = std::fs::read_dir(desk.path("less/dress"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let lacking = files[3].file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::remove_file(&files[3]).unwrap();

    let (mut coordinator, address) = desk.coordinator("--world 4 --min-devices 2");
    // The one that lacks a file comes first, and binds nobody.
    let start = |name: &str, more: &str| {
        desk.start(&format!(
            "m2t-worker --coordinator {address} --devices cpu:1 --name {name} {more}"
        ))
    };
    let mut odd = start("odd", "--data less");
    odd.wait_for_text("ready: 3408 images");
    let (mut a, mut b) = (start("a", ""), start("b", ""));
    odd.expect_exit(2);
    coordinator.expect_exit(0);
    a.expect_exit(0);
    b.expect_exit(0);
    let said = odd.output();
    let expected = format!("dress/{lacking} is missing here");
    assert!(said.contains(&expected), "{said}");
    let told = coordinator.output();
    let refused = told
        .lines()
        .find(|line| line.contains("machine odd was refused"))
        .expect(&told);
    assert!(
        refused.contains(&expected) && refused.contains("3408") && refused.contains("3409"),
        "{refused}"
    );
    assert!(told.contains("finished at step 8"), "{told}");
}
