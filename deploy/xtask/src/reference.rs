//! `cargo xtask reference`: pages of reference, made from the code, into `deploy/reference/`.
//!
//! Of the recipe from its defaults and from what refuses its values; of what is written as JSON from the types that are written; of each
//! program from the program. Tests compare what is there with what would be made, so that no page is older than the code. The
//! operator's guide beside them is written by hand.

mod json;
mod recipe;
mod types;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

/// Where the pages lie, below the root.
const FOLDER: &str = "deploy/reference";
/// The programs.
const PROGRAMS: [&str; 4] = ["m2t", "m2t-coordinator", "m2t-worker", "m2t-trainer"];

/// Makes all pages anew.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    // As the gate builds them, so that neither has the other build anew.
    let mut build = workspace.cargo(&["build", "--release", "--quiet", "--workspace", "--bins"]);
    let status = build.status().context("cannot run cargo")?;
    ensure!(status.success(), "the programs do not build");
    let mut pages = made_here(&workspace.root)?;
    for program in PROGRAMS {
        pages.push((format!("{program}.md"), of_program(&workspace.program(program))?));
    }
    let folder = workspace.root.join(FOLDER);
    for (name, text) in pages {
        let path = folder.join(&name);
        let is_current = fs::read_to_string(&path).is_ok_and(|old| old == text);
        if is_current {
            continue;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {FOLDER}/{name}");
    }
    Ok(())
}

/// The pages for which no program is run, by their names.
fn made_here(root: &Path) -> Result<Vec<(String, String)>> {
    Ok(vec![
        ("recipe.md".to_owned(), recipe::page(root)?),
        ("json.md".to_owned(), json::page(root)?),
    ])
}

/// What a program says of its own command line.
fn of_program(program: &PathBuf) -> Result<String> {
    let answer = std::process::Command::new(program)
        .args(["__describe", "page"])
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        answer.status.success(),
        "{} does not describe itself: {}",
        program.display(),
        String::from_utf8_lossy(&answer.stderr).trim()
    );
    String::from_utf8(answer.stdout).context("a page is text")
}

#[cfg(test)]
mod tests;
