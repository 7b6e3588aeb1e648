//! Exit codes and words of `m2t data check` and `m2t data arrange`.

use std::fs;
use std::path::Path;

use clap::Parser;
use m2t_common::shard::Sample;
use m2t_data::synth::{Synth, generate};

use super::*;

#[derive(Parser)]
enum Tool {
    Check(CheckOptions),
    Arrange(ArrangeOptions),
}

/// What a call ends with and writes.
fn call(arguments: &[&str]) -> (ExitCode, String) {
    let mut out = Vec::new();
    let code = match Tool::try_parse_from([&["data"], arguments].concat()).unwrap() {
        Tool::Check(options) => check(&options, &mut out),
        Tool::Arrange(options) => arrange(options, &mut out),
    };
    (code.unwrap(), String::from_utf8(out).unwrap())
}

fn is(code: ExitCode, number: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(number))
}

/// A made data set's training folder of 2 classes with 3 images each.
fn data_set(dir: &Path) -> String {
    generate(&Synth {
        classes: 2,
        train_per_class: 3,
        val_per_class: 1,
        pixels: 16,
        ..Synth::new(dir.join("set"))
    })
    .unwrap();
    dir.join("set/train").to_str().unwrap().to_owned()
}

#[test]
fn a_check_tells_what_is_there_and_ends_by_what_it_found() {
    let dir = tempfile::tempdir().unwrap();
    let train = data_set(dir.path());
    let (code, said) = call(&["check", &train, "--threads", "2"]);
    assert!(is(code, 0), "{said}");
    assert!(
        said.contains("6 images of 2 classes") && said.ends_with("every image decodes\n"),
        "{said}"
    );

    let index = Index::read(train.as_ref()).unwrap();
    fs::write(index.locate(Sample(4)), "text").unwrap();
    let damaged = index.entry(Sample(4)).path();
    let damaged = damaged.to_str().unwrap();
    let (code, said) = call(&["check", &train]);
    assert!(is(code, 1), "{said}");
    let line = format!("damaged      {damaged}: the content is neither JPEG nor PNG\n");
    assert!(
        said.contains(&line) && said.contains("run.replaced_limit"),
        "{said}"
    );
    let (code, said) = call(&["check", &train, "--json"]);
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(is(code, 1));
    assert_eq!(told["damaged"][0]["path"], damaged);
    assert_eq!(told["n_samples"], 6);

    let (code, said) = call(&["check", dir.path().join("nowhere").to_str().unwrap()]);
    assert!(is(code, 2) && said.is_empty());
}

#[test]
fn an_arrangement_lies_beside_the_flat_folder_and_ends_by_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::read(data_set(dir.path()).as_ref()).unwrap();
    let flat = dir.path().join("val");
    fs::create_dir(&flat).unwrap();
    let mut labels = String::new();
    for (number, entry) in index.entries().enumerate() {
        let name = format!("ILSVRC2012_val_{number:08}.JPEG");
        fs::copy(index.root().join(entry.path()), flat.join(&name)).unwrap();
        labels += &format!("{name} {}\n", entry.class_name);
    }
    let file = dir.path().join("labels");
    fs::write(&file, &labels).unwrap();
    let arguments = [
        "arrange",
        flat.to_str().unwrap(),
        "--labels",
        file.to_str().unwrap(),
    ];

    let refused = Index::read(&flat).unwrap_err().to_string();
    assert!(refused.contains("m2t data arrange"), "{refused}");
    let (code, said) = call(&arguments);
    assert!(
        is(code, 0) && said.contains("2 classes, 6 images brought, 0 there before"),
        "{said}"
    );
    let arranged = Index::read(&dir.path().join("val-arranged")).unwrap();
    assert!(arranged.classes().eq(index.classes()));
    assert_eq!(arranged.n_samples(), 6);

    fs::write(flat.join("more.jpg"), "").unwrap();
    let (code, said) = call(&arguments);
    assert!(
        is(code, 1) && said.contains("left where they were: 1: more.jpg"),
        "{said}"
    );
    fs::write(&file, labels.replace(" ", " ../")).unwrap();
    assert!(is(call(&arguments).0, 2));
    assert!(Tool::try_parse_from(["data", "arrange", "x", "--labels", "y", "--move", "--copy"]).is_err());
}
