//! What the files themselves must hold to: no stray `unsafe`, no catch-all modules, a header, a bearable length.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::root;

/// All that lies visibly in the root of a clone, besides what git ignores.
const VISIBLE: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "common",
    "coordinator",
    "deploy",
    "proto",
    "rust-toolchain.toml",
    "tests",
    "worker",
];
/// What git ignores there.
const IGNORED: [&str; 3] = ["data", "outputs", "target"];

/// Where `unsafe` may stand: the wrapper of libtorch and its collectives, the module that maps files, and that of vectors.
const UNSAFE: [&str; 3] = [
    "worker/torch",
    "worker/data/src/index/mapped.rs",
    "worker/data/src/simd.rs",
];
/// Crates with lints of their own: that of libtorch; and one that only lowers `unsafe_code`, so that a module may lift it.
const OWN_LINTS: &str = "worker/torch";
const LOWERED_LINTS: &str = "worker/data";

/// Names that say nothing of what is inside.
const CATCH_ALLS: [&str; 8] = [
    "util",
    "utils",
    "helper",
    "helpers",
    "misc",
    "manager",
    "managers",
    "common_utils",
];

/// The longest a file may be that is not a test.
const LONGEST: usize = 400;

/// Folders with sources of ours.
const SOURCES: [&str; 6] = ["common", "coordinator", "deploy", "proto", "tests", "worker"];

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in SOURCES {
        collect(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "only {} sources found", found.len());
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !is_hidden && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Fails with all of `faults` at once.
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Whether a line of code, comments and texts left out, opens something unsafe.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let code: String = code.split('"').step_by(2).collect();
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == "unsafe")
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let mut faults = Vec::new();
    let may = |path: &Path| UNSAFE.iter().any(|place| path.starts_with(root().join(place)));
    for path in sources().iter().filter(|path| !may(path)) {
        let text = std::fs::read_to_string(path).unwrap();
        for (i, _) in text.lines().enumerate().filter(|(_, line)| is_unsafe(line)) {
            faults.push(format!(
                "{}:{}: unsafe belongs into {}",
                relative(path),
                i + 1,
                UNSAFE.join(" or ")
            ));
        }
    }
    assert_none(&faults);
    // The search finds what it looks for, and nothing else.
    for code in [
        "unsafe { f() }",
        "pub unsafe extern fn f() {",
        "#[unsafe(no_mangle)]",
        "let x = unsafe",
    ] {
        assert!(is_unsafe(code), "{code}");
    }
    for code in ["// unsafe", "unsafe_code", "\"unsafe\"", "is_unsafe(line)"] {
        assert!(!is_unsafe(code), "{code}");
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let mut manifests = Vec::new();
    for folder in SOURCES {
        for entry in [
            "",
            "build-facts",
            "core",
            "data",
            "describe",
            "log",
            "torch",
            "trainer",
            "xtask",
        ] {
            manifests.push(root().join(folder).join(entry).join("Cargo.toml"));
        }
    }
    let manifests: Vec<PathBuf> = manifests.into_iter().filter(|path| path.is_file()).collect();
    assert_eq!(manifests.len(), 13);
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    let of_workspace = lints(&workspace, "workspace.lints");
    for path in manifests
        .iter()
        .filter(|path| !path.starts_with(root().join(OWN_LINTS)))
    {
        let text = std::fs::read_to_string(path).unwrap();
        if path.starts_with(root().join(LOWERED_LINTS)) {
            let lowered = |lint: &String| lint.replace("unsafe_code = \"forbid\"", "unsafe_code = \"deny\"");
            let expected: Vec<String> = of_workspace.iter().map(lowered).collect();
            assert_eq!(lints(&text, "lints"), expected, "{}", relative(path));
        } else {
            assert!(
                text.contains("[lints]\nworkspace = true"),
                "{} has lints of its own",
                relative(path)
            );
        }
    }
}

/// The lints in the tables `NAME.rust` and `NAME.clippy` of a manifest.
fn lints(manifest: &str, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for tool in ["rust", "clippy"] {
        let (_, rest) = manifest.split_once(&format!("[{name}.{tool}]\n")).unwrap();
        let table = rest.lines().take_while(|line| line.contains(" = "));
        found.extend(table.map(|line| format!("{tool}: {line}")));
    }
    assert!(found.len() > 5, "{found:?}");
    found
}

#[test]
fn modules_are_called_after_what_they_do() {
    let mut faults = Vec::new();
    for path in sources() {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        for name in [path.file_stem().unwrap_or_default(), folder] {
            if CATCH_ALLS.iter().any(|catch_all| name == *catch_all) {
                faults.push(format!(
                    "{}: a module is called after what it does",
                    relative(&path)
                ));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_file_says_its_job_and_is_short() {
    let mut faults = Vec::new();
    for path in sources() {
        let (text, name) = (std::fs::read_to_string(&path).unwrap(), relative(&path));
        if !text.starts_with("//!") {
            faults.push(format!("{name} does not begin with its job, in a line of //!"));
        }
        let is_test = name.contains("/tests/") || name.ends_with("/tests.rs") || name.starts_with("tests/");
        let n_lines = text.lines().count();
        if !is_test && n_lines > LONGEST {
            faults.push(format!(
                "{name} has {n_lines} lines, more than {LONGEST}; part it"
            ));
        }
    }
    assert_none(&faults);
}

#[test]
fn the_root_holds_what_is_documented_and_nothing_else() {
    let entries = std::fs::read_dir(root()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let visible: BTreeSet<String> = names
        .filter(|name| !name.starts_with('.') && !IGNORED.contains(&name.as_str()))
        .collect();
    assert_eq!(visible, VISIBLE.map(str::to_owned).into());
}
