//! pip as the client that fetches packages: which one, how it is called, and what its failures mean.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::answers;

/// Packages that are installed together.
pub(super) struct Packages<'a> {
    /// What they are, for messages.
    pub(super) what: &'static str,
    /// Each with its version.
    pub(super) list: &'a [&'a str],
    /// For which Python.
    pub(super) build: Build,
    /// What to do instead.
    pub(super) own: &'static str,
}

/// For which Python packages are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Build {
    /// One fixed build and nothing that it requires, so that whatever Python runs pip does not matter.
    OneForAll,
    /// That of the Python that runs pip, with all that it requires.
    OfThisPython,
}

impl Packages<'_> {
    /// What stands in the stamp of a folder that has them.
    pub(super) fn stamp(&self) -> String {
        self.list.iter().map(|package| format!("{package}\n")).collect()
    }
}

const ONE_BUILD: [&str; 3] = ["--no-deps", "--python-version", "3.11"];
/// The packages are built for different ages of the C library, and older pips (23 for one) do not know that the newest
/// includes the others.
const PLATFORMS: [&str; 10] = [
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_18_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_12_x86_64",
    "manylinux2010_x86_64",
    "manylinux_2_5_x86_64",
    "manylinux1_x86_64",
];
/// A pip, whatever Python runs it.
pub(super) fn find(packages: &Packages<'_>) -> Result<Command> {
    const KNOWN: [&[&str]; 4] = [
        &["python3", "-m", "pip"],
        &["python", "-m", "pip"],
        &["pip3"],
        &["pip"],
    ];
    let as_command = |words: &&[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    };
    if let Some(found) = KNOWN
        .iter()
        .find(|words| answers(as_command(words).arg("--version")))
    {
        return Ok(as_command(found));
    }
    let found = if answers(Command::new("python3").arg("--version")) {
        "python3 has no pip"
    } else {
        "python3 and its pip were not found"
    };
    bail!(
        "{found}, which fetches {}: install it (Debian, Ubuntu: `apt install python3-pip`), {}",
        packages.what,
        packages.own
    )
}

/// Installs into `target`. pip's scratch folder lies in it, so that no small `/tmp` is filled and moving is renaming.
pub(super) fn install(mut pip: Command, packages: &Packages<'_>, target: &Path, log: &Path) -> Result<()> {
    // pip would add to an older log, whose failure is not this one's.
    fs::write(log, "").with_context(|| format!("cannot write {}", log.display()))?;
    let scratch = target.join("tmp");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    pip.args([
        "install",
        "--no-input",
        "--no-compile",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "--target",
    ])
    .arg(target);
    if packages.build == Build::OneForAll {
        pip.args(ONE_BUILD)
            .args(PLATFORMS.iter().flat_map(|platform| ["--platform", platform]));
    }
    pip.args(packages.list)
        .arg("--log")
        .arg(log)
        .env("TMPDIR", &scratch)
        // A user's setting of `user = true` cannot be combined with a target folder.
        .env("PIP_USER", "0")
        .env("PIP_ROOT_USER_ACTION", "ignore");
    let status = pip.status().context("cannot run pip")?;
    if status.success() {
        return fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()));
    }
    let words = fs::read_to_string(log).unwrap_or_default();
    bail!(
        "{} (pip: {status}; its log is {})",
        explain(packages, &words),
        log.display()
    )
}

/// What went wrong, from pip's log. Lack of space comes first: it also breaks connections off.
fn explain(packages: &Packages<'_>, log: &str) -> String {
    let Packages { what, list, own, .. } = packages;
    let any = |words: &[&str]| words.iter().any(|word| log.contains(word));
    if any(&["No space left on device", "Disk quota exceeded"]) {
        return format!("{what} could not be installed, for the disk is full: make room, {own}");
    }
    if any(&[
        "NewConnectionError",
        "NameResolutionError",
        "Connection broken",
        "ConnectTimeout",
        "ReadTimeout",
        "ProxyError",
        "SSLError",
        "connection error",
        "Failed to establish a new connection",
        "Temporary failure in name resolution",
    ]) {
        return format!(
            "{what} could not be fetched, for pip reached no package index: check the network and pip's settings, {own}"
        );
    }
    if any(&["No matching distribution found"]) {
        return format!(
            "{what} could not be fetched, for pip's package index lacks one of {}: use a complete index, {own}",
            list.join(", ")
        );
    }
    format!("{what} could not be installed by pip: see its log, {own}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_explained_by_its_cause() {
        let packages = Packages {
            what: "libtorch",
            list: &["torch==2.11.0"],
            build: Build::OneForAll,
            own: "or use your own",
        };
        for (log, words) in [
            (
                "OSError: [Errno 28] No space left on device\n… Connection broken",
                "disk is full",
            ),
            (
                "NewConnectionError(…)\nERROR: No matching distribution found for torch",
                "no package index",
            ),
            (
                "ERROR: No matching distribution found for torch==2.11.0",
                "lacks one of torch==2.11.0",
            ),
            ("", "see its log"),
        ] {
            let sentence = explain(&packages, log);
            assert!(sentence.contains(words), "{sentence}");
            assert!(
                sentence.starts_with("libtorch ") && sentence.ends_with("or use your own"),
                "{sentence}"
            );
        }
    }
}
