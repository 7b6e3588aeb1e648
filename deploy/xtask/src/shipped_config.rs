//! Tests only: what `deploy/config` shows to users is what the programs take.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use m2t_common::Recipe;
use m2t_common::recipe::presets;
use m2t_common::recipe::written::{Source, resolve};

/// Every file, by its name.
fn shipped() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let toml = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    toml.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(&path).unwrap())
    })
    .collect()
}

fn meant(name: &str, toml: &str) -> Recipe {
    resolve(Source::Experiment { name, toml }, &[], None).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_file_is_a_valid_experiment() {
    for (name, toml) in shipped() {
        meant(&name, &toml);
    }
}

#[test]
fn the_defaults_shown_are_the_defaults() {
    let shown = &shipped()["defaults"];
    assert_eq!(shown, presets::DEFAULTS);
    assert_eq!(meant("x", shown), meant("x", ""));
}

#[test]
fn the_example_lies_on_top_of_its_base() {
    let example = meant("example", &shipped()["example"]);
    assert_eq!(example.training.world, 32);
    assert_eq!(example.training.batch_per_rank, 128);
    assert_eq!((example.augment.hue, example.augment.contrast), (0.05, 0.4));
    assert_eq!(example.run.heartbeat_timeout.as_secs(), 10);
}
