//! A result as its line of JSON, and the median behind it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::recovery::Case;

/// One result: what every bench says, and what is its own. See `cargo xtask bench --help` for the keys.
#[derive(Debug, Serialize)]
pub(super) struct Measurement<Own> {
    pub(super) bench: &'static str,
    pub(super) case: &'static str,
    pub(super) median: f64,
    pub(super) unit: &'static str,
    pub(super) runs: usize,
    pub(super) machine: String,
    #[serde(flatten)]
    pub(super) beside: Option<Beside>,
    #[serde(flatten)]
    pub(super) own: Own,
}

/// What a baseline reached; a ratio above 1 says that we are better.
#[derive(Debug, Serialize)]
pub(super) struct Beside {
    pub(super) baseline: &'static str,
    pub(super) baseline_median: f64,
    pub(super) baseline_runs: usize,
    pub(super) ratio: f64,
}

/// One result of recovery, whose cases can be chosen and whose baseline loses steps.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) bench: &'static str,
    pub(super) case: Case,
    pub(super) median: f64,
    pub(super) unit: &'static str,
    pub(super) runs: usize,
    pub(super) machine: String,
    #[serde(flatten)]
    compared: Option<Compared>,
    pub(super) seconds: Vec<f64>,
    pub(super) step_median: f64,
    pub(super) steps_lost: u64,
    pub(super) phases: BTreeMap<String, f64>,
}

#[derive(Debug, Serialize)]
struct Compared {
    baseline: &'static str,
    baseline_median: f64,
    baseline_runs: usize,
    baseline_steps_lost: u64,
    ratio: f64,
}

/// What a baseline needed for the same.
pub(super) struct BaselineResult {
    /// The case of ours it stands beside.
    pub(super) case: Case,
    /// Who.
    pub(super) name: &'static str,
    /// Each time measured.
    pub(super) seconds: Vec<f64>,
    /// The most that any fault cost.
    pub(super) steps_lost: u64,
}

/// One fault.
pub(super) struct Recovered {
    /// From the fault to the next completed step.
    pub(super) seconds: f64,
    /// Median before it.
    pub(super) step_seconds: f64,
    /// Done again.
    pub(super) steps_lost: u64,
    /// From the fault to the first event of each kind.
    pub(super) phases: BTreeMap<String, f64>,
}

impl Line {
    /// The result of at least one fault.
    pub(super) fn of(case: Case, faults: &[Recovered]) -> Self {
        let seconds: Vec<f64> = faults.iter().map(|fault| rounded(fault.seconds)).collect();
        let steps: Vec<f64> = faults.iter().map(|fault| fault.step_seconds).collect();
        let mut phases: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (kind, &after) in faults.iter().flat_map(|fault| &fault.phases) {
            phases.entry(kind.clone()).or_default().push(after);
        }
        Self {
            bench: "recovery",
            case,
            median: rounded(median(&seconds)),
            unit: "s",
            runs: faults.len(),
            machine: machine(),
            compared: None,
            seconds,
            step_median: rounded(median(&steps)),
            steps_lost: faults.iter().map(|fault| fault.steps_lost).max().unwrap_or(0),
            phases: phases
                .into_iter()
                .map(|(kind, after)| (kind, rounded(median(&after))))
                .collect(),
        }
    }

    /// The same beside a baseline.
    pub(super) fn against(mut self, baseline: &BaselineResult) -> Self {
        let baseline_median = median(&baseline.seconds);
        self.compared = Some(Compared {
            baseline: baseline.name,
            baseline_median: rounded(baseline_median),
            baseline_runs: baseline.seconds.len(),
            baseline_steps_lost: baseline.steps_lost,
            ratio: rounded(baseline_median / self.median),
        });
        self
    }
}

/// The middle value, or the mean of the two in the middle. There must be one.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

pub(super) fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Cores and processor, as far as the system tells.
pub(super) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let facts = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = facts
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    format!("{cores} cores, {model}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(seconds: f64, steps_lost: u64, ended: f64) -> Recovered {
        Recovered {
            seconds,
            step_seconds: 0.25,
            steps_lost,
            phases: [("generation_ended".to_owned(), ended)].into(),
        }
    }

    #[test]
    fn a_line_has_the_documented_keys() {
        let faults = [fault(2.0, 0, 0.1), fault(4.0, 3, 0.3), fault(3.0, 1, 0.2)];
        let line = serde_json::to_value(Line::of(Case::Daemon, &faults)).unwrap();
        for (key, wanted) in [("bench", "recovery"), ("case", "daemon"), ("unit", "s")] {
            assert_eq!(line[key], wanted);
        }
        assert_eq!(
            (&line["median"], &line["runs"], &line["steps_lost"]),
            (&3.0.into(), &3.into(), &3.into())
        );
        assert_eq!(line["step_median"], 0.25);
        assert_eq!(line["phases"]["generation_ended"], 0.2);
        assert!(line["machine"].as_str().unwrap().contains("cores"), "{line}");
        assert!(line.get("baseline").is_none(), "{line}");
    }

    #[test]
    fn a_ratio_above_one_says_that_we_are_better() {
        let baseline = BaselineResult {
            case: Case::Daemon,
            name: "torchrun",
            seconds: vec![40.0, 50.0],
            steps_lost: 6,
        };
        let line = Line::of(Case::Daemon, &[fault(2.0, 0, 0.1)]).against(&baseline);
        let line = serde_json::to_value(line).unwrap();
        assert_eq!(line["baseline"], "torchrun");
        assert_eq!(
            (&line["baseline_median"], &line["ratio"]),
            (&45.0.into(), &22.5.into())
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[9.0]), 9.0);
    }
}
