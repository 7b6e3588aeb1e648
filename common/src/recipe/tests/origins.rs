//! Who wrote each value, and that what is shown makes the same recipe again.

use std::collections::BTreeMap;

use super::Source;
use crate::recipe::{Origin, Resolved, presets, trace};

const OWN: &str =
    "base = \"32x_v100_100e\"\n\nepochs = 50\nseed = 4\naugment.hue = 0.2\n[run]\nkeep_checkpoints = 7\n";

fn own(sets: &[&str]) -> Resolved {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let source = Source::Experiment {
        name: "own",
        toml: OWN,
    };
    trace(source, &sets, Some(64)).unwrap()
}

#[test]
fn every_key_knows_who_wrote_it() {
    let resolved = own(&["seed=5", "run.heartbeat_timeout = 10s", "steps=40"]);
    let shown: BTreeMap<String, (String, String)> = resolved
        .entries
        .iter()
        .map(|entry| (entry.key.clone(), (entry.value_text(), entry.origin.to_string())))
        .collect();
    for (key, value, origin) in [
        ("arch", "\"resnet50\"", "default"),
        ("optimizer", "\"lars\"", "preset 32x_v100_100e"),
        ("weight_decay", "1e-6", "preset 32x_v100_100e"),
        ("world", "64", "--world 64"),
        ("steps", "40", "--set steps=40"),
        ("seed", "5", "--set seed=5"),
        ("augment.hue", "0.2", "own.toml, line 5"),
        ("run.keep_checkpoints", "7", "own.toml, line 7"),
        (
            "run.heartbeat_timeout",
            "\"10s\"",
            "--set run.heartbeat_timeout = 10s",
        ),
    ] {
        assert_eq!(
            shown.get(key),
            Some(&(value.to_owned(), origin.to_owned())),
            "{key}"
        );
    }
    assert!(!shown.contains_key("epochs") && !shown.contains_key("base"));
}

#[test]
fn a_plain_preset_has_the_keys_of_the_defaults_in_their_order() {
    let resolved = trace(Source::Preset("8x_v100_100e"), &[], None).unwrap();
    let keys: Vec<&str> = resolved.entries.iter().map(|entry| entry.key.as_str()).collect();
    let defaults: toml::Table = presets::DEFAULTS.parse().unwrap();
    let mut expected = Vec::new();
    for (key, value) in &defaults {
        match value.as_table() {
            Some(table) => expected.extend(table.keys().map(|inner| format!("{key}.{inner}"))),
            None => expected.push(key.clone()),
        }
    }
    assert_eq!(keys, expected);
}

#[test]
fn what_is_shown_makes_the_same_recipe_again() {
    let resolved = own(&[
        "lr256=0.1234567890123456",
        "run.heartbeat_timeout=250ms",
        "weight_decay=1.2345e-9",
    ]);
    // Dotted keys stand for tables.
    let lines: Vec<String> = resolved
        .entries
        .iter()
        .map(|entry| format!("{} = {}", entry.key, entry.value_text()))
        .collect();
    let toml = lines.join("\n");
    let again = trace(
        Source::Experiment {
            name: "own",
            toml: &toml,
        },
        &[],
        None,
    )
    .unwrap();
    assert_eq!(again.recipe, resolved.recipe);
    assert_eq!(again.recipe.digest(), resolved.recipe.digest());
    let from_file = |entry: &crate::recipe::Entry| matches!(entry.origin, Origin::File { .. });
    assert!(again.entries.iter().all(from_file));
}

#[test]
fn every_published_experiment_file_is_a_preset() {
    let mut found = Vec::new();
    for (folder, name) in [
        ("exp_8_v100", "momentum2_teacher_{}_exp.py"),
        ("exp_8_2080ti", "momentum2_teacher_{}_32batch_1mm_099_exp.py"),
        ("exp_32_v100", "momentum2_teacher_{}_anything.py"),
        ("exp_128_2080ti", "momentum2_teacher_{}_4096batch_16mm_exp.py"),
    ] {
        for length in ["100e", "200e", "300e"] {
            let path = format!(
                "momentum_teacher/exps/arxiv/{folder}/{}",
                name.replace("{}", length)
            );
            let preset = presets::published(&path).expect(&path);
            assert!(preset.ends_with(length), "{path}: {preset}");
            found.push(preset);
        }
    }
    assert_eq!(found, presets::names());
    for stranger in [
        "momentum_teacher/exps/arxiv/linear_eval_exp_byol.py",
        "exp_8_v100/momentum2_teacher_400e_exp.py",
        "exp_8_v100/momentum2_teacher_100e_200e_exp.py",
        "exp_8_2080ti/momentum2_teacher_100e_exp.py",
        "exp_8_v100/momentum2_teacher_100e_exp.toml",
        "momentum2_teacher_100e_exp.py",
        "8x_v100_100e",
    ] {
        assert_eq!(presets::published(stranger), None, "{stranger}");
    }
}
