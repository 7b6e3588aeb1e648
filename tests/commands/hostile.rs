//! A data set with damaged files in it: each is replaced, told of once with its path, and too many end the run.

use std::collections::BTreeSet;

use m2t_tests::harness::{photographs, shared};

use crate::desk::{Desk, TINY};

/// Those of `hostile_images` that no decoder takes.
const REPLACED: [&str; 5] = [
    "claims_65535x65535.JPEG",
    "empty.JPEG",
    "text.JPEG",
    "truncated_half.JPEG",
    "truncated_header.JPEG",
];
/// The one of which either may be expected.
const EITHER: &str = "corrupt_middle.JPEG";

#[test]
fn damaged_files_are_replaced_and_named_once_and_too_many_end_the_run() {
    let (Some(photographs), Some(hostile)) = (photographs(), shared("fixtures/hostile_images")) else {
        return;
    };
    let desk = Desk::new();
    desk.write("tiny.toml", &TINY.replace("steps = 8", "epochs = 2"));
    std::fs::create_dir_all(desk.path("mixed/good")).unwrap();
    std::fs::create_dir_all(desk.path("mixed/hostile")).unwrap();
    for entry in std::fs::read_dir(photographs.join("hat")).unwrap().take(51) {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), desk.path("mixed/good").join(entry.file_name())).unwrap();
    }
    for entry in std::fs::read_dir(hostile).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), desk.path("mixed/hostile").join(entry.file_name())).unwrap();
    }
    std::fs::remove_file(desk.path("mixed/hostile/expected.json")).unwrap();

    // 64 images: the default of one in a thousand bears none.
    let line = "m2t train -d cpu:2 -f tiny.toml --data mixed";
    let mut failed = desk.start(&format!("{line} -expn strict"));
    failed.expect_exit(3);
    let said = failed.output();
    assert!(
        said.contains("of 64 files cannot be decoded, more than run.replaced_limit = 0.001 allows")
            && said.contains("m2t data check"),
        "{said}"
    );

    // The same run goes on with a higher limit: every image of two epochs is met, and each damaged one told of once.
    let mut trained = desk.start(&format!("{line} -expn strict --set run.replaced_limit=0.2"));
    trained.expect_exit(0);
    let said = trained.output();
    let events = std::fs::read_to_string(desk.path("outputs/strict/events.jsonl")).unwrap();
    let named: Vec<String> = events
        .lines()
        .filter(|line| line.contains("file_replaced"))
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = event["text"].as_str().unwrap().to_owned();
            text.split_whitespace()
                .next()
                .unwrap()
                .trim_start_matches("hostile/")
                .to_owned()
        })
        .filter(|name| name != EITHER)
        .collect();
    let distinct: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    assert_eq!(distinct, BTreeSet::from(REPLACED), "{said}");
    assert_eq!(named.len(), REPLACED.len(), "{named:?}");
    assert!(said.contains("finished at step 8"), "{said}");

    let mut checked = desk.start("m2t data check mixed");
    checked.expect_exit(1);
    let said = checked.output();
    assert!(REPLACED.iter().all(|name| said.contains(name)), "{said}");
}
