//! pip as the client that fetches libtorch: which one, how it is called, and what its failures mean.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::answers;

/// tch 0.24 speaks to this release; the CUDA libraries are those that libtorch's loader wants to see even on a CPU.
pub(super) const PACKAGES: [&str; 3] = [
    "torch==2.11.0",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cupti==13.0.85",
];
/// One fixed build, so that whatever Python runs pip does not matter.
const BUILD: [&str; 5] = ["--no-deps", "--python-version", "3.11", "--only-binary", ":all:"];
/// The packages are built for different ages of the C library, and older pips (23 for one) do not know that the newest
/// includes the others.
const PLATFORMS: [&str; 5] = [
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_25_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
];
/// What to do instead.
pub(super) const OWN: &str =
    "or use a libtorch 2.11 of your own with LIBTORCH=/path or LIBTORCH_USE_PYTORCH=1";

/// Any pip will do, since the build is named and not that of the Python that runs it.
pub(super) fn find() -> Result<Command> {
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
    let missing = if answers(Command::new("python3").arg("--version")) {
        "python3 has no pip, which fetches libtorch: install it (Debian, Ubuntu: `apt install python3-pip`)"
    } else {
        "python3 and its pip, which fetches libtorch, were not found: install them (Debian, Ubuntu: `apt install python3-pip`)"
    };
    bail!("{missing}, {OWN}")
}

/// Installs into `target`. pip's scratch folder lies in it, so that no small `/tmp` is filled and moving is renaming.
pub(super) fn install(mut pip: Command, target: &Path, log: &Path) -> Result<()> {
    // pip would add to an older log, whose failure is not this one's.
    fs::write(log, "").with_context(|| format!("cannot write {}", log.display()))?;
    let scratch = target.join("tmp");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    pip.args([
        "install",
        "--no-input",
        "--no-compile",
        "--disable-pip-version-check",
        "--target",
    ])
    .arg(target)
    .args(BUILD)
    .args(PLATFORMS.iter().flat_map(|platform| ["--platform", platform]))
    .args(PACKAGES)
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
        explain(&words),
        log.display()
    )
}

/// What went wrong, from pip's log. Lack of space comes first: it also breaks connections off.
fn explain(log: &str) -> String {
    let any = |words: &[&str]| words.iter().any(|word| log.contains(word));
    if any(&["No space left on device", "Disk quota exceeded"]) {
        return format!("libtorch could not be installed, for the disk is full: make room, {OWN}");
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
            "libtorch could not be fetched, for pip reached no package index: check the network and pip's settings, {OWN}"
        );
    }
    if any(&["No matching distribution found"]) {
        return format!(
            "libtorch could not be fetched, for pip's package index lacks one of {}: use a complete index, {OWN}",
            PACKAGES.join(", ")
        );
    }
    format!("libtorch could not be installed by pip: see its log, {OWN}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_explained_by_its_cause() {
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
                "lacks one of",
            ),
            ("", "see its log"),
        ] {
            let sentence = explain(log);
            assert!(sentence.contains(words), "{sentence}");
            assert!(sentence.contains("LIBTORCH"), "{sentence}");
        }
    }
}
