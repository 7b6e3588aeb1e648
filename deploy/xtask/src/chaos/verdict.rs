//! Whether anything of the faults is left in the result: state, losses and ledger beside the calm run's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use m2t_common::Step;
use m2t_common::manifest::{CheckpointName, MANIFEST_FILE, Manifest};
use serde::Serialize;
use serde_json::Value;

use super::Chaos;

/// Keys of a line of metrics that tell of the machines, not of the mathematics.
const OF_MACHINES: [&str; 5] = [
    "generation",
    "images_per_second",
    "data_wait",
    "bottleneck",
    "recovery",
];

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    generations: u64,
    steps: u64,
    steps_lost: u64,
    digest_equal: bool,
    losses_equal: bool,
    audit: String,
    /// What is not as it must be, in sentences.
    #[serde(skip)]
    wrong: Vec<String>,
}

impl Verdict {
    /// Whether all is as it must be.
    pub(super) fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }

    /// What is not.
    pub(super) fn reason(&self) -> String {
        self.wrong.join("; ")
    }
}

/// Compares two output folders of finished runs.
pub(super) fn judge(chaos: &Chaos<'_>, calm: &Path, output: &Path, steps_lost: u64) -> Result<Verdict> {
    let (calm_lines, lines) = (metrics(calm)?, metrics(output)?);
    let difference = first_difference(&calm_lines, &lines);
    let (calm_digest, digest) = (
        digest(chaos, calm, calm_lines.len())?,
        digest(chaos, output, calm_lines.len())?,
    );
    let audit = chaos
        .program("m2t")
        .arg("audit")
        .arg(output)
        .output()
        .context("cannot run m2t")?;
    let said = String::from_utf8_lossy(&audit.stdout).trim().to_owned()
        + String::from_utf8_lossy(&audit.stderr).trim();
    let mut wrong = Vec::new();
    if calm_digest != digest {
        wrong.push(format!(
            "the state of the run among faults has the digest {digest}, the calm run's {calm_digest}"
        ));
    }
    wrong.extend(
        difference
            .iter()
            .map(|difference| format!("metrics.jsonl {difference}")),
    );
    if !audit.status.success() {
        wrong.push(format!("the audit is not clean: {said}"));
    }
    Ok(Verdict {
        generations: lines
            .last()
            .and_then(|line| line["generation"].as_u64())
            .unwrap_or(0),
        steps: lines.len() as u64,
        steps_lost,
        digest_equal: calm_digest == digest,
        losses_equal: difference.is_none(),
        audit: if audit.status.success() {
            "clean".to_owned()
        } else {
            said
        },
        wrong,
    })
}

fn metrics(output: &Path) -> Result<Vec<Value>> {
    let path = output.join("metrics.jsonl");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("{} has a broken line", path.display()))
        })
        .collect()
}

/// In what the lines differ first, if they do. Floats are written so that equal text means equal bits.
fn first_difference(calm: &[Value], lines: &[Value]) -> Option<String> {
    for (i, (calm, line)) in calm.iter().zip(lines).enumerate() {
        let (calm, line) = (mathematics(calm), mathematics(line));
        if calm != line {
            return Some(format!("differs in line {}: {line} instead of {calm}", i + 1));
        }
    }
    let (n_calm, n) = (calm.len(), lines.len());
    (n_calm != n).then(|| format!("has {n} lines instead of {n_calm}"))
}

fn mathematics(line: &Value) -> Value {
    let mut line = line.clone();
    if let Some(keys) = line.as_object_mut() {
        keys.retain(|key, _| !OF_MACHINES.contains(&key.as_str()));
    }
    line
}

/// The digest of the final state: of the tensors themselves, or what a fake trainer wrote of its own.
fn digest(chaos: &Chaos<'_>, output: &Path, n_steps: usize) -> Result<String> {
    let name = CheckpointName::new(Step(n_steps as u64));
    let checkpoint = output.join("checkpoints").join(name.as_str());
    if chaos.setting.fake {
        let path = checkpoint.join(MANIFEST_FILE);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: Manifest =
            serde_json::from_slice(&text).with_context(|| format!("{} is no manifest", path.display()))?;
        return Ok(manifest.state_digest);
    }
    let said = chaos
        .program("m2t")
        .args(["checkpoint", "digest"])
        .arg(&checkpoint)
        .output()
        .context("cannot run m2t")?;
    ensure!(
        said.status.success(),
        "`m2t checkpoint digest {}` failed: {}",
        checkpoint.display(),
        String::from_utf8_lossy(&said.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(step: u64, loss: f64, generation: u64) -> Value {
        json!({ "step": step, "loss": loss, "generation": generation, "data_wait": 0.5, "images_per_second": 10 * generation, "recovery": { "met": generation } })
    }

    #[test]
    fn only_the_mathematics_is_compared() {
        let calm = [line(1, 0.5, 1), line(2, 0.25, 1)];
        assert_eq!(
            first_difference(&calm, &[line(1, 0.5, 1), line(2, 0.25, 7)]),
            None
        );
        let bit = f64::from_bits(0.25f64.to_bits() + 1);
        let said = first_difference(&calm, &[line(1, 0.5, 1), line(2, bit, 1)]).unwrap();
        assert!(said.starts_with("differs in line 2"), "{said}");
    }

    #[test]
    fn a_line_too_few_or_twice_is_a_difference() {
        let calm = [line(1, 0.5, 1), line(2, 0.25, 1)];
        assert_eq!(
            first_difference(&calm, &calm[..1]).unwrap(),
            "has 1 lines instead of 2"
        );
        assert!(first_difference(&calm, &[line(1, 0.5, 1), line(1, 0.5, 2)]).is_some());
        let twice = [&calm[..], &calm[1..]].concat();
        assert_eq!(
            first_difference(&calm, &twice).unwrap(),
            "has 3 lines instead of 2"
        );
    }
}
