//! What `--version` says of a build: for the build scripts of the programs, which write it to `OUT_DIR/version.txt`.
//!
//! It tells what decides the program's behaviour (commit, compiler, target, profile), and deliberately neither when nor
//! where it was built: equal sources give equal programs. Without git, as from an archive, it leaves the commit out.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes `OUT_DIR/version.txt` for a program that is built from `sources`, paths from the workspace's root; and has cargo
/// run the build script again when one of them changes or another commit is checked out.
///
/// # Panics
/// Outside a build script of the workspace.
#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
pub fn write(sources: &[&str]) {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = package
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file())
        .expect("a package of the workspace lies below its Cargo.lock");
    // A path that does not exist would have the script run at every build.
    let watched = sources.iter().map(|source| root.join(source));
    for path in watched.chain(heads(root)).filter(|path| path.exists()) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    let mut text = format!("{}\n", variable("CARGO_PKG_VERSION"));
    let facts = [
        ("commit", commit(root, sources)),
        ("rustc", said(Command::new(variable("RUSTC")).arg("--version"))),
        ("target", Some(variable("TARGET"))),
        ("profile", Some(variable("PROFILE"))),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            let fact = fact.trim_start_matches("rustc ");
            writeln!(text, "{name:<9} {fact}").expect("a String takes what is written");
        }
    }
    let file = PathBuf::from(variable("OUT_DIR")).join("version.txt");
    fs::write(&file, text.trim_end()).expect("cargo gives build scripts a folder to write to");
}

fn variable(name: &str) -> String {
    env::var(name).expect("cargo sets it for build scripts")
}

/// The commit that `root` is a checkout of, and whether `sources` were modified since. None outside git, and where `root`
/// only lies within somebody else's repository.
fn commit(root: &Path, sources: &[&str]) -> Option<String> {
    said(git(root).args(["ls-files", "--error-unmatch", "Cargo.lock"]))?;
    let commit = said(git(root).args(["rev-parse", "--short=12", "HEAD"]))?;
    let status = said(
        git(root)
            .args(["status", "--porcelain", "--untracked-files=all", "--"])
            .args(sources)
            .args(["Cargo.toml", "Cargo.lock"]),
    )?;
    Some(if status.is_empty() {
        commit
    } else {
        format!("{commit} (modified)")
    })
}

/// Files of git that change with the commit that is checked out: the log of HEAD, else HEAD and what it refers to.
fn heads(root: &Path) -> Vec<PathBuf> {
    let path =
        |name: &str| said(git(root).args(["rev-parse", "--git-path", name])).map(|path| root.join(path));
    let log: Vec<PathBuf> = path("logs/HEAD").into_iter().filter(|log| log.exists()).collect();
    if !log.is_empty() {
        return log;
    }
    let branch = said(git(root).args(["symbolic-ref", "HEAD"]));
    let refers = branch.as_deref().and_then(path);
    [path("HEAD"), refers, path("packed-refs")]
        .into_iter()
        .flatten()
        .collect()
}

/// git in `root`, whatever repository a hook that builds may have named; and without waiting for or taking locks.
fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).arg("--no-optional-locks");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(variable);
    }
    git
}

/// What a command prints, if it can be run and succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests;
