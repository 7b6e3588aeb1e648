//! Edges between crates, as `cargo metadata` sees them.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

use crate::root;

/// Each crate of the workspace and those of the workspace it may depend on (tests of a crate included).
const WITHIN: &[(&str, &[&str])] = &[
    ("m2t-build-facts", &[]),
    ("m2t-common", &[]),
    ("m2t-describe", &[]),
    ("m2t-log", &[]),
    ("m2t-proto", &["m2t-common"]),
    ("m2t-coordinator-core", &["m2t-common"]),
    (
        "m2t-coordinator",
        &[
            "m2t-build-facts",
            "m2t-common",
            "m2t-coordinator-core",
            "m2t-describe",
            "m2t-log",
            "m2t-proto",
        ],
    ),
    ("m2t-data", &["m2t-common"]),
    ("m2t-torch", &[]),
    (
        "m2t-trainer",
        &[
            "m2t-build-facts",
            "m2t-common",
            "m2t-data",
            "m2t-describe",
            "m2t-log",
            "m2t-torch",
        ],
    ),
    (
        "m2t-worker",
        &[
            "m2t-build-facts",
            "m2t-common",
            "m2t-data",
            "m2t-describe",
            "m2t-log",
            "m2t-proto",
        ],
    ),
    ("m2t-tests", &["m2t-common"]),
    ("xtask", &["m2t-common"]),
];

/// All a pure crate may depend on, its tests apart.
const PURE: &[(&str, &[&str])] = &[
    ("m2t-coordinator-core", &["m2t-common", "serde", "thiserror"]),
    (
        "m2t-common",
        &[
            "blake3",
            "rand_chacha",
            "rand_core",
            "serde",
            "serde_json",
            "strsim",
            "thiserror",
            "toml",
        ],
    ),
];

/// What only some crates may depend on: (dependency, crates that may).
const RESERVED: &[(&str, &[&str])] = &[
    ("tch", &["m2t-torch", "m2t-trainer"]),
    ("tokio", &["m2t-coordinator", "m2t-worker"]),
    ("tokio-stream", &["m2t-coordinator", "m2t-worker"]),
    ("tonic", &["m2t-coordinator", "m2t-proto", "m2t-worker"]),
    ("tonic-health", &["m2t-coordinator"]),
    ("tonic-reflection", &["m2t-coordinator"]),
    ("redb", &["m2t-coordinator"]),
    ("axum", &["m2t-coordinator"]),
    ("hyper", &["m2t-coordinator"]),
    ("hyper-util", &["m2t-coordinator", "m2t-worker"]),
    ("tower", &["m2t-coordinator", "m2t-worker"]),
    ("rustls", &["m2t-coordinator", "m2t-worker"]),
    ("tokio-rustls", &["m2t-coordinator", "m2t-worker"]),
    ("rustls-webpki", &["m2t-coordinator"]),
    ("rcgen", &["m2t-coordinator"]),
    ("cc", &["m2t-torch"]),
    ("libc", &["m2t-torch"]),
    ("libloading", &["m2t-torch"]),
    ("memmap2", &["m2t-data"]),
    ("tun-rs", &["m2t-tests"]),
    ("plotters", &["m2t-worker"]),
    ("nalgebra", &["m2t-worker"]),
    ("ratatui", &["m2t-worker"]),
    ("clap_complete", &["m2t-describe"]),
    ("clap_mangen", &["m2t-describe"]),
    ("tracing-subscriber", &["m2t-log"]),
    ("syn", &["xtask"]),
    (
        "anyhow",
        &[
            "m2t-coordinator",
            "m2t-tests",
            "m2t-trainer",
            "m2t-worker",
            "xtask",
        ],
    ),
];

fn packages() -> Vec<Package> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .unwrap();
    metadata.packages
}

#[test]
fn crates_of_the_workspace_depend_on_each_other_as_documented() {
    let documented: BTreeMap<&str, BTreeSet<&str>> = WITHIN
        .iter()
        .map(|(name, on)| (*name, on.iter().copied().collect()))
        .collect();
    let packages = packages();
    let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, documented.keys().copied().collect());
    for package in &packages {
        let within = package
            .dependencies
            .iter()
            .map(|dependency| dependency.name.as_str());
        for dependency in within.filter(|name| names.contains(name)) {
            assert!(
                documented[package.name.as_str()].contains(dependency),
                "{} must not depend on {dependency}; see design/architecture.md, or change the table with a reason",
                package.name
            );
        }
    }
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    for package in packages() {
        let Some((_, allowed)) = PURE.iter().find(|(name, _)| *name == package.name.as_str()) else {
            continue;
        };
        let normal = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal);
        for dependency in normal {
            assert!(
                allowed.contains(&dependency.name.as_str()),
                "{} is pure and must not depend on {}",
                package.name,
                dependency.name
            );
        }
    }
}

#[test]
fn what_is_reserved_is_used_only_where_it_belongs() {
    for package in packages() {
        for dependency in &package.dependencies {
            let Some((_, owners)) = RESERVED.iter().find(|(name, _)| *name == dependency.name) else {
                continue;
            };
            assert!(
                owners.contains(&package.name.as_str()),
                "{} must not depend on {}, which belongs to {}",
                package.name,
                dependency.name,
                owners.join(", ")
            );
        }
    }
}
