//! The tests, by nextest where it is installed and else by `cargo test`, and what they said of skipping.
//!
//! A test that cannot run here (no data set, no GPU) prints a line `skipped: why`; runners hide what passing tests print, so
//! the lines are gathered here. Why both runners: nextest isolates tests, runs those of real processes alone and ends
//! one that hangs, but it is not worth minutes of compilation to somebody who lacks it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::Outcome;
use crate::workspace::Workspace;

/// What the tests came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Each line that a test began with `skipped:`, once.
    pub(super) skipped_lines: Vec<String>,
}

/// The tests of every package.
pub(super) fn run(workspace: &Workspace, counts: &mut Counts) -> Result<Outcome> {
    let has_nextest = workspace
        .cargo(&["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if has_nextest {
        return run_nextest(workspace, counts);
    }
    println!("cargo-nextest is not installed (`cargo install cargo-nextest --locked`); `cargo test` serves");
    let mut command = workspace.cargo(&["test", "--release", "--workspace", "--no-fail-fast"]);
    command.args(["--lib", "--bins", "--tests", "--", "--show-output"]);
    run_libtest(workspace, command, counts)
}

/// The examples in the documentation; nextest does not run them.
pub(super) fn run_doc_tests(workspace: &Workspace, counts: &mut Counts) -> Result<Outcome> {
    let command = workspace.cargo(&["test", "--release", "--workspace", "--no-fail-fast", "--doc"]);
    run_libtest(workspace, command, counts)
}

/// Profile `gate` (see `.config/nextest.toml`) writes all that tests printed to a JUnit file.
fn run_nextest(workspace: &Workspace, counts: &mut Counts) -> Result<Outcome> {
    let junit = workspace.target.join("nextest/gate/junit.xml");
    // An older run's file must not be taken for this one's.
    if junit.exists() {
        fs::remove_file(&junit).with_context(|| format!("cannot remove {}", junit.display()))?;
    }
    let command = workspace.cargo(&["nextest", "run", "--release", "--workspace", "--profile", "gate"]);
    let outcome = super::execute(workspace, command)?;
    match fs::read_to_string(&junit) {
        Ok(xml) => counts.add_junit(&xml)?,
        // Where the tests did not compile there is no file; the outcome tells of it.
        Err(_) if matches!(outcome, Outcome::Failed(_)) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("nextest left no results at {}", junit.display()));
        }
    }
    Ok(outcome)
}

/// Passes the output on while it reads it.
fn run_libtest(workspace: &Workspace, mut command: Command, counts: &mut Counts) -> Result<Outcome> {
    let typed = workspace.typed(&command);
    println!("$ {typed}");
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let output = BufReader::new(child.stdout.take().expect("stdout is piped"));
    for line in output.split(b'\n') {
        let line = line.context("cannot read what the tests print")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        counts.add_libtest_line(&line);
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok(Outcome::of(status, &typed))
}

impl Counts {
    /// "12 passed, 0 failed", alone on its line, is what CI readers look for last.
    pub(super) fn closing_line(&self) -> String {
        let mut line = format!("tests: {} passed, {} failed", self.passed, self.failed);
        if self.ignored > 0 {
            line += &format!(", {} skipped", self.ignored);
        }
        line
    }

    fn add_libtest_line(&mut self, line: &str) {
        self.add_if_skipped(line);
        let Some(result) = line.trim().strip_prefix("test result: ") else {
            return;
        };
        // "ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.03s"
        let words: Vec<&str> = result.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(n) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += n,
                "failed" => self.failed += n,
                "ignored" => self.ignored += n,
                _ => {}
            }
        }
    }

    fn add_junit(&mut self, xml: &str) -> Result<()> {
        let start = xml
            .find("<testsuites ")
            .context("nextest's results have no <testsuites>")?;
        let head = xml[start..].split('>').next().unwrap_or_default();
        let number = |name: &str| -> Result<u64> {
            let value = head
                .split_once(&format!(" {name}=\""))
                .and_then(|(_, rest)| rest.split('"').next())
                .with_context(|| format!("nextest's results do not say {name}"))?;
            value
                .parse()
                .with_context(|| format!("nextest's results say {name} = {value:?}"))
        };
        let failed = number("failures")? + number("errors")?;
        self.failed += failed;
        self.passed += number("tests")?.saturating_sub(failed);
        // What tests printed is the text of elements; a tag ends where a line may begin.
        for line in xml.split(['\n', '>']) {
            let text = line.split('<').next().unwrap_or_default();
            self.add_if_skipped(&unescape(text));
        }
        Ok(())
    }

    fn add_if_skipped(&mut self, line: &str) {
        let line = line.trim();
        if line.starts_with("skipped:") && !self.skipped_lines.iter().any(|known| known == line) {
            self.skipped_lines.push(line.to_owned());
        }
    }
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtests_results_are_summed_and_its_skips_gathered_once() {
        let mut counts = Counts::default();
        for line in [
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.03s",
            "skipped: no GPU on this machine",
            "test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "skipped: no GPU on this machine",
            "test skipped_is_only_a_word ... ok",
        ] {
            counts.add_libtest_line(line);
        }
        assert_eq!(counts.closing_line(), "tests: 12 passed, 2 failed, 1 skipped");
        assert_eq!(counts.skipped_lines, ["skipped: no GPU on this machine"]);
    }

    #[test]
    fn nextests_results_are_read_from_its_junit_file() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="gate" tests="3" failures="1" errors="0" uuid="c0" timestamp="2026-01-01T00:00:00.000+00:00" time="0.1">
    <testsuite name="a" tests="3" disabled="0" errors="0" failures="1">
        <testcase name="one" classname="a" timestamp="2026-01-01T00:00:00.000+00:00" time="0.0">
            <system-out>
running 1 test
skipped: no data at &apos;../x&apos; &amp; none at y
test one ... ok
</system-out>
            <system-err>skipped: no GPU
</system-err>
        </testcase>
        <testcase name="two" classname="a" timestamp="2026-01-01T00:00:00.000+00:00" time="0.0">
            <failure message="m" type="test failure">t</failure>
        </testcase>
    </testsuite>
</testsuites>
"#;
        let mut counts = Counts::default();
        counts.add_junit(xml).unwrap();
        assert_eq!(counts.closing_line(), "tests: 2 passed, 1 failed");
        assert_eq!(
            counts.skipped_lines,
            ["skipped: no data at '../x' & none at y", "skipped: no GPU"]
        );
        assert!(Counts::default().add_junit("<html>").is_err());
    }
}
