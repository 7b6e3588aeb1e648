//! The Python packages of the tests' clients: torchvision and timm load exports, gRPC reads the status by reflection,
//! TensorBoard the metrics.
//!
//! Only the gate needs them, so no other command installs them. They go into `.python/`, whose `python` runs the machine's
//! Python with them; an interpreter of one's own, M2T_PYTHON, is taken instead. It's PyTorch's usual build with CUDA,
//! 4.8 GB of it, because pip's index has that one and no other.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::answers;
use super::pip::{self, Build, Packages};
use super::place::Place;
use crate::show;

/// 4.8 GB installed, and the packages as pip fetched them.
const NEEDED_BYTES: u64 = 8_000_000_000;
/// The oldest that all packages are built for.
const OLDEST: (u32, u32) = (3, 11);
/// The program in the folder that runs Python with its packages.
const PROGRAM: &str = "python";
/// What the tests import.
const MODULES: [&str; 7] = [
    "torch",
    "torchvision",
    "timm",
    "grpc_reflection",
    "safetensors",
    "numpy",
    "tensorboard",
];
const OWN: &str = "or set M2T_PYTHON to an interpreter that has torchvision, timm, safetensors, grpcio-reflection and tensorboard";

const PACKAGES: Packages<'static> = Packages {
    what: "the Python clients of the tests",
    list: &[
        "torch==2.11.0",
        "torchvision==0.26.0",
        "timm==1.0.31",
        "grpcio==1.85.3",
        "grpcio-reflection==1.85.1",
        "protobuf==7.36.2",
        "safetensors==0.8.0",
        "numpy==2.4.6",
        "tensorboard==2.21.0",
    ],
    build: Build::OfThisPython,
    own: OWN,
};

/// Leaves an interpreter of the user's own alone; else sees to it that `.python` is complete.
pub(super) fn provide(root: &Path) -> Result<()> {
    if let Some(own) = std::env::var_os("M2T_PYTHON").filter(|own| !own.is_empty()) {
        require_modules(&own)
            .context("M2T_PYTHON: correct it, or unset it to have Python packages installed")?;
        println!(
            "set-up: Python is your own (M2T_PYTHON={}); nothing is installed",
            own.display()
        );
        return Ok(());
    }
    let python = Python::find()?;
    let place = Place {
        root,
        name: ".python",
        what: PACKAGES.what,
        stamp: format!("{}{}", PACKAGES.stamp(), python.stamp()),
        witness: PROGRAM,
        cost: "4.8 GB and about a minute, once",
        needed_bytes: NEEDED_BYTES,
        own: OWN,
    };
    place.provide(|partial, log| {
        pip::install(python.pip(), &PACKAGES, partial, log)?;
        let program = partial.join(PROGRAM);
        fs::write(&program, python.with_the_packages_beside())
            .and_then(|()| fs::set_permissions(&program, Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", program.display()))?;
        require_modules(program.as_os_str())
    })
}

/// A Python that has pip.
#[derive(Debug, PartialEq, Eq)]
struct Python {
    executable: String,
    version: (u32, u32),
}

impl Python {
    fn find() -> Result<Self> {
        let found = ["python3", "python"]
            .iter()
            .find(|name| answers(Command::new(name).args(["-m", "pip", "--version"])));
        let found = found.with_context(|| {
            format!(
                "neither python3 nor python has pip, which fetches {}: install it (Debian, Ubuntu: `apt install python3-pip`), {OWN}",
                PACKAGES.what
            )
        })?;
        let question = "import sys; print(*sys.version_info[:2], sys.executable)";
        let answer = Command::new(found)
            .args(["-c", question])
            .output()
            .with_context(|| format!("cannot run {found}"))?;
        let python = Self::parse(&String::from_utf8_lossy(&answer.stdout))
            .with_context(|| format!("{found} does not say which Python it is"))?;
        ensure!(
            python.version >= OLDEST,
            "{found} is Python {}.{}, and {} need {}.{} or newer: install a newer one, {OWN}",
            python.version.0,
            python.version.1,
            PACKAGES.what,
            OLDEST.0,
            OLDEST.1
        );
        Ok(python)
    }

    /// "3 11 /usr/bin/python3".
    fn parse(answer: &str) -> Option<Self> {
        let mut words = answer.trim().splitn(3, ' ');
        let mut number = || words.next()?.parse().ok();
        let version = (number()?, number()?);
        let executable = words.next()?.to_owned();
        Some(Self { executable, version })
    }

    /// Packages of one Python are not another's.
    fn stamp(&self) -> String {
        format!(
            "python {}.{} {}\n",
            self.version.0, self.version.1, self.executable
        )
    }

    fn pip(&self) -> Command {
        let mut pip = Command::new(&self.executable);
        pip.args(["-m", "pip"]);
        pip
    }

    /// A shell script, wherever its folder may be moved to. The user's own packages stay out of it.
    fn with_the_packages_beside(&self) -> String {
        format!(
            "#!/bin/sh\n# Python with the packages of this folder.\n\
             PYTHONPATH=\"$(cd \"$(dirname \"$0\")\" && pwd)\" PYTHONNOUSERSITE=1 exec {} \"$@\"\n",
            show::shell_word(OsStr::new(&self.executable))
        )
    }
}

/// Refuses an interpreter that lacks a package.
fn require_modules(python: &OsStr) -> Result<()> {
    let question = format!(
        "import importlib.util as i; print(*[m for m in {MODULES:?} if i.find_spec(m) is None], sep=', ')"
    );
    let answer = Command::new(python)
        .args(["-c", &question])
        .output()
        .with_context(|| format!("{} does not run", python.display()))?;
    ensure!(
        answer.status.success(),
        "{} is no Python: it ended with {} when it was asked for its packages",
        python.display(),
        answer.status
    );
    let missing = String::from_utf8_lossy(&answer.stdout);
    ensure!(
        missing.trim().is_empty(),
        "{} has no package {}",
        python.display(),
        missing.trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(folder: &Path, text: &str) -> std::path::PathBuf {
        let path = folder.join("python");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn pythons_answer_is_read() {
        let python = Python::parse("3 11 /opt/my python/bin/python3\n").unwrap();
        assert_eq!(
            (python.version, python.executable.as_str()),
            ((3, 11), "/opt/my python/bin/python3")
        );
        assert_eq!(python.stamp(), "python 3.11 /opt/my python/bin/python3\n");
        for no_answer in ["", "3 11", "three 11 x"] {
            assert_eq!(Python::parse(no_answer), None, "{no_answer:?}");
        }
    }

    #[test]
    fn the_program_runs_python_with_what_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let python = Python {
            // Instead of Python, a program that shows how it is run.
            executable: "/usr/bin/env".to_owned(),
            version: (3, 11),
        };
        let program = script(folder.path(), &python.with_the_packages_beside());
        let output = Command::new(program).arg("A=b c").output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let beside = format!("PYTHONPATH={}", folder.path().display());
        for line in [&*beside, "PYTHONNOUSERSITE=1", "A=b c"] {
            assert!(
                shown.lines().any(|shown| shown == line),
                "{line:?} is not in {shown}"
            );
        }
    }

    #[test]
    fn an_interpreter_without_the_packages_is_refused_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for (text, words) in [
            ("#!/bin/sh\necho timm, numpy\n", "has no package timm, numpy"),
            ("#!/bin/sh\nexit 3\n", "is no Python"),
        ] {
            let program = script(folder.path(), text);
            let refused = require_modules(program.as_os_str()).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
        let complete = script(folder.path(), "#!/bin/sh\necho\n");
        require_modules(complete.as_os_str()).unwrap();
        let nothing = folder.path().join("nothing");
        assert!(require_modules(nothing.as_os_str()).is_err());
    }
}
