//! The table at the end: nearest neighbours by raw pixels, by the encoder as it was initialised, by the teacher.
//!
//! The figures are `m2t-trainer knn`'s; here they are only set side by side.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::Stage;
use super::data::Folders;
use crate::show;

/// What `m2t-trainer knn --features` calls them, and what people do; the teacher is last.
const FEATURES: [(&str, &str); 3] = [
    ("pixels", "raw pixels"),
    ("random", "the encoder at random initialisation"),
    ("teacher", "the pretrained teacher"),
];
/// What a win is on the photographs that the demo makes.
const POINTS_TO_WIN_BY: f64 = 0.05;
const ERRORS_TO_WIN_BY: f64 = 3.0;

/// One line of `m2t-trainer knn`.
#[derive(Clone, Debug, Deserialize)]
struct Measured {
    features: String,
    top1: f64,
    n: u64,
    standard_error: f64,
    k: u64,
}

/// How the teacher did against the better of the two others.
pub(super) struct Verdict {
    points: f64,
    standard_error: f64,
}

/// Measures all three at once, for each keeps about one core busy, and prints the table.
pub(super) fn measure(stage: &Stage<'_>, folders: &Folders, checkpoint: &Path) -> Result<Verdict> {
    let mut started = Vec::new();
    for (features, _) in FEATURES {
        started.push(Measurement::start(stage, folders, checkpoint, features)?);
    }
    let mut measured = Vec::new();
    for measurement in started {
        measured.push(measurement.finish(stage)?);
    }
    for line in table(&measured) {
        println!("{line}");
    }
    let verdict = Verdict::of(&measured)?;
    println!("\n{}", verdict.sentence());
    Ok(verdict)
}

/// One call of `m2t-trainer knn` under way. It dies with this value.
struct Measurement {
    features: &'static str,
    child: Child,
}

impl Measurement {
    fn start(
        stage: &Stage<'_>,
        folders: &Folders,
        checkpoint: &Path,
        features: &'static str,
    ) -> Result<Self> {
        let log = stage.logs().join(format!("knn-{features}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = stage.program("m2t-trainer");
        command
            .args(["knn", "--features", features, "--checkpoint"])
            .arg(checkpoint);
        command
            .arg("--train")
            .arg(&folders.train)
            .arg("--val")
            .arg(&folders.val);
        println!("$ {}", stage.workspace.typed(&command));
        let child = command
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .context("cannot run m2t-trainer knn")?;
        Ok(Self { features, child })
    }

    fn finish(mut self, stage: &Stage<'_>) -> Result<Measured> {
        let status = stage.interrupt.wait(&mut self.child)?;
        let log = stage.logs().join(format!("knn-{}.log", self.features));
        ensure!(
            status.success(),
            "m2t-trainer knn --features {} failed ({status}); its log is {}",
            self.features,
            log.display()
        );
        // One line fits the pipe, so it could be written before it is read here.
        let output = std::io::read_to_string(self.child.stdout.take().expect("stdout is piped"))
            .context("cannot read what m2t-trainer knn printed")?;
        let measured: Measured = serde_json::from_str(output.trim())
            .with_context(|| format!("m2t-trainer knn printed {output:?}, not its one line of JSON"))?;
        ensure!(
            measured.features == self.features,
            "m2t-trainer knn was asked for {} and measured {}",
            self.features,
            measured.features
        );
        Ok(measured)
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        // After `finish` it has ended, and both do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn table(measured: &[Measured]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(first) = measured.first() {
        lines.push(format!(
            "\n{} held-out images by their {} nearest neighbours of the training images:\n",
            show::count(first.n),
            first.k
        ));
        lines.push(format!("{:<40} kNN top-1   ± standard error", "features"));
    }
    for (features, name) in FEATURES {
        if let Some(row) = measured.iter().find(|row| row.features == features) {
            lines.push(format!(
                "{name:<40} {:>7.1} %   ± {:.1}",
                row.top1 * 100.0,
                row.standard_error * 100.0
            ));
        }
    }
    lines
}

impl Verdict {
    fn of(measured: &[Measured]) -> Result<Self> {
        let (teacher, others): (Vec<_>, Vec<_>) = measured.iter().partition(|row| row.features == "teacher");
        let best = others.into_iter().max_by(|a, b| a.top1.total_cmp(&b.top1));
        let (Some(teacher), Some(best)) = (teacher.first(), best) else {
            bail!("nothing was measured to compare the teacher with");
        };
        Ok(Self {
            points: teacher.top1 - best.top1,
            standard_error: teacher.standard_error.hypot(best.standard_error),
        })
    }

    /// Infinite where both are certain: a comparison with it is then decided by the points alone.
    fn errors(&self) -> f64 {
        self.points.abs() / self.standard_error
    }

    fn sentence(&self) -> String {
        let way = if self.points < 0.0 { "below" } else { "above" };
        format!(
            "The teacher is {:.1} points {way} the better of the other two, {:.1} standard errors of the difference.",
            self.points.abs() * 100.0,
            self.errors()
        )
    }

    /// An error unless pretraining won by a margin that chance does not give.
    pub(super) fn require_win(&self) -> Result<()> {
        ensure!(
            self.points >= POINTS_TO_WIN_BY && self.errors() >= ERRORS_TO_WIN_BY,
            "pretraining did not win by {:.0} points and {ERRORS_TO_WIN_BY:.0} standard errors, as it must on these photographs",
            POINTS_TO_WIN_BY * 100.0
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(features: &str, top1: f64) -> Measured {
        let line =
            format!(r#"{{"features":"{features}","top1":{top1},"n":2000,"standard_error":0.01,"k":20}}"#);
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn the_table_has_a_row_for_each_in_order() {
        let rows = [
            measured("teacher", 0.512),
            measured("random", 0.401),
            measured("pixels", 0.2),
        ];
        let table = table(&rows).join("\n");
        for words in [
            "2,000 held-out",
            "20 nearest",
            "51.2 %   ± 1.0",
            "40.1 %",
            "20.0 %",
        ] {
            assert!(table.contains(words), "{table}");
        }
        assert!(
            table.find("raw pixels") < table.find("the pretrained teacher"),
            "{table}"
        );
    }

    #[test]
    fn a_win_needs_both_points_and_standard_errors_over_the_better_one() {
        let verdict = |pixels, random, teacher| {
            let rows = [
                measured("pixels", pixels),
                measured("random", random),
                measured("teacher", teacher),
            ];
            Verdict::of(&rows).unwrap()
        };
        assert!(verdict(0.2, 0.4, 0.5).require_win().is_ok());
        assert!(verdict(0.47, 0.4, 0.5).require_win().is_err(), "3 points only");
        assert!(verdict(0.6, 0.4, 0.5).require_win().is_err());
        assert!(verdict(0.6, 0.4, 0.5).sentence().contains("10.0 points below"));
        let uncertain = Verdict {
            points: 0.06,
            standard_error: 0.03,
        };
        assert!(uncertain.require_win().is_err(), "2 standard errors only");
    }

    #[test]
    fn without_a_teacher_there_is_no_verdict() {
        assert!(Verdict::of(&[measured("pixels", 0.5)]).is_err());
    }
}
