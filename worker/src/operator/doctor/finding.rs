//! What a check found, and the two forms in which it is written: a line for people, an object of JSON for programs.

use std::io::{self, Write};

use serde::Serialize;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The check's name, stable.
    pub(super) check: &'static str,
    /// What was found, with units.
    pub(super) found: String,
    /// What is to be thought of it.
    pub(super) verdict: Verdict,
}

/// What is to be thought of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// A run works, but worse than it could, or not for long; what to mend.
    Warn(String),
    /// A run will not work; what to mend.
    Bad(String),
    /// Not asked for, or it could not be looked at; why is what was found.
    Skip,
}

/// A finding in JSON. Documented in `--help`.
#[derive(Serialize)]
struct Line<'a> {
    check: &'static str,
    state: &'static str,
    found: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<&'a str>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, found, Verdict::Ok)
    }

    pub(super) fn skip(check: &'static str, why: impl Into<String>) -> Self {
        Self::new(check, why, Verdict::Skip)
    }

    pub(super) fn warn(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(check, found, Verdict::Warn(mend.into()))
    }

    pub(super) fn bad(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(check, found, Verdict::Bad(mend.into()))
    }

    /// Bad, by an error whose sentence ends with what to do: "…; do this".
    pub(super) fn error(check: &'static str, sentence: &str) -> Self {
        match sentence.rsplit_once("; ") {
            Some((found, mend)) => Self::bad(check, found, mend),
            None => Self::bad(check, sentence, "mend what the message names, and look again"),
        }
    }

    /// Bad becomes worth a warning: what is amiss is of no matter to what was asked.
    pub(super) fn lenient(self) -> Self {
        let verdict = match self.verdict {
            Verdict::Bad(mend) => Verdict::Warn(mend),
            other => other,
        };
        Self { verdict, ..self }
    }

    fn new(check: &'static str, found: impl Into<String>, verdict: Verdict) -> Self {
        Self {
            check,
            found: found.into(),
            verdict,
        }
    }

    fn line(&self) -> Line<'_> {
        let (state, mend) = match &self.verdict {
            Verdict::Ok => ("ok", None),
            Verdict::Warn(mend) => ("warn", Some(mend.as_str())),
            Verdict::Bad(mend) => ("bad", Some(mend.as_str())),
            Verdict::Skip => ("skip", None),
        };
        let (check, found) = (self.check, self.found.as_str());
        Line {
            check,
            state,
            found,
            mend,
        }
    }

    fn is_bad(&self) -> bool {
        matches!(self.verdict, Verdict::Bad(_))
    }
}

/// Whether any is bad.
pub(super) fn any_bad(findings: &[Finding]) -> bool {
    findings.iter().any(Finding::is_bad)
}

/// A line a check, and one that counts them.
pub(super) fn write_text(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let width = findings.iter().map(|finding| finding.check.len()).max();
    let width = width.unwrap_or_default();
    for finding in findings {
        let line = finding.line();
        // A message may hold line breaks; a check is one line.
        let found = line.found.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(out, "{:<4}  {:<width$}  {found}", line.state, line.check)?;
        match line.mend {
            Some(mend) => writeln!(out, "; TO DO: {mend}")?,
            None => writeln!(out)?,
        }
    }
    let count = |state: &str| {
        findings
            .iter()
            .filter(|finding| finding.line().state == state)
            .count()
    };
    let [ok, warn, bad, skip] = ["ok", "warn", "bad", "skip"].map(count);
    writeln!(out, "{ok} ok, {warn} to look at, {bad} bad, {skip} skipped")
}

/// One line: an array of objects.
pub(super) fn write_json(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let lines: Vec<Line<'_>> = findings.iter().map(Finding::line).collect();
    writeln!(out, "{}", serde_json::to_string(&lines)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::ok("cpus", "8 CPUs"),
            Finding::warn("open-files", "256\n files", "raise it"),
            Finding::bad("data", "none", "name it"),
            Finding::skip("gpus", "none asked for"),
        ]
    }

    fn written(write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_check_is_a_line() {
        let text = written(|out| write_text(&findings(), out));
        let expected = "ok    cpus        8 CPUs\n\
                        warn  open-files  256 files; TO DO: raise it\n\
                        bad   data        none; TO DO: name it\n\
                        skip  gpus        none asked for\n\
                        1 ok, 1 to look at, 1 bad, 1 skipped\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn json_is_an_array_of_objects_with_stable_keys() {
        let text = written(|out| write_json(&findings()[1..], out));
        assert_eq!(
            text,
            concat!(
                r#"[{"check":"open-files","state":"warn","found":"256\n files","mend":"raise it"},"#,
                r#"{"check":"data","state":"bad","found":"none","mend":"name it"},"#,
                r#"{"check":"gpus","state":"skip","found":"none asked for"}]"#,
                "\n"
            )
        );
    }

    #[test]
    fn what_an_error_says_to_do_is_what_to_mend() {
        let finding = Finding::error("x", "a is gone; b says so; put it back");
        assert_eq!(finding, Finding::bad("x", "a is gone; b says so", "put it back"));
        assert_eq!(
            finding.lenient(),
            Finding::warn("x", "a is gone; b says so", "put it back")
        );
        assert!(any_bad(&[Finding::error("x", "a is gone")]));
        assert!(!any_bad(&[Finding::warn("x", "a", "b"), Finding::skip("x", "a")]));
    }
}
