//! What is written reads back to the bit, and a cut leaves exactly what it should.

use std::time::Duration;

use m2t_common::Generation;
use m2t_common::report::StepReport;
use m2t_common::schedule::Rates;

use super::*;

fn step(step: u64) -> CommittedStep {
    let loss = 4.0 / 3.0 + step as f64 * f64::EPSILON;
    CommittedStep {
        generation: Generation(2),
        epoch: (step - 1) / 5,
        step_in_epoch: (step - 1) % 5,
        steps_per_epoch: 5,
        total_steps: 12,
        report: StepReport {
            step: Step(step),
            loss,
            loss_by_rank: vec![0.1 + 0.2, f64::MIN_POSITIVE, loss],
            gradient_norm: 1e300,
            duration: Duration::from_millis(500),
            data_wait: Duration::from_millis(20),
            bottleneck: None,
            replaced: vec![],
            state_digest: None,
            samples: vec![],
        },
        rates: Rates {
            learning_rate: 0.05,
            parameter_momentum: 0.99,
            statistics_momentum: 1.0,
        },
        images_per_second: 64.0,
        data_wait: 0.04,
        bottleneck: None,
        remaining_seconds: 93_784.9,
        recovery: None,
    }
}

fn text(output: &Output, file: &str) -> String {
    fs::read_to_string(output.folder().join(file)).unwrap()
}

fn steps(output: &Output) -> (Vec<u64>, usize) {
    let metrics = text(output, METRICS);
    let steps = metrics
        .lines()
        .map(|line| metrics::step_of(line).unwrap().0)
        .collect();
    (steps, text(output, TRAIN_LOG).lines().count())
}

#[test]
fn losses_read_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let mut output = Output::open(folder.path()).unwrap();
    for i in 1..=9 {
        output.add_step(&step(i)).unwrap();
    }
    for (line, i) in text(&output, METRICS).lines().zip(1..) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let expected = step(i).report;
        assert_eq!(line["loss"].as_f64().unwrap().to_bits(), expected.loss.to_bits());
        assert_eq!(line["gradient_norm"].as_f64(), Some(1e300));
        for (read, written) in line["loss_by_rank"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&expected.loss_by_rank)
        {
            assert_eq!(read.as_f64().unwrap().to_bits(), written.to_bits());
        }
    }
}

#[test]
fn the_log_is_in_the_published_order() {
    let line = train_log::line(&step(7));
    assert_eq!(
        line,
        "epoch: 2/3, remaining: 1d 02:03:04, iteration: 2/5, data time: 0.020 s, lr: 0.050000, loss: 1.333333\n"
    );
    assert_eq!(train_log::step_of(line.trim_end()), Some(Step(7)));
    assert_eq!(
        train_log::step_of("epoch: 2/3, remaining: 1d 02:03:04, iteration: 2/5, data"),
        None
    );
}

#[test]
fn a_cut_drops_later_steps_and_torn_lines_and_writing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut output = Output::open(folder.path()).unwrap();
    for i in 1..=9 {
        output.add_step(&step(i)).unwrap();
    }
    output.metrics.add(r#"{"step":3,"epo"#).unwrap();
    output.train_log.add("epoch: 1/3, rem").unwrap();
    output.cut_back(Step(6)).unwrap();
    assert_eq!(steps(&output), (vec![1, 2, 3, 4, 5, 6], 6));
    output.add_step(&step(7)).unwrap();
    assert_eq!(steps(&output), (vec![1, 2, 3, 4, 5, 6, 7], 7));
    output.cut_back(Step(0)).unwrap();
    assert_eq!(steps(&output), (vec![], 0));
}

#[test]
fn a_file_that_was_taken_away_does_not_take_the_other_with_it() {
    let folder = tempfile::tempdir().unwrap();
    for gone in [TRAIN_LOG, METRICS] {
        let mut output = Output::open(folder.path()).unwrap();
        for i in 1..=9 {
            output.add_step(&step(i)).unwrap();
        }
        drop(output);
        fs::remove_file(folder.path().join(gone)).unwrap();
        let mut output = Output::open(folder.path()).unwrap();
        assert_eq!(output.last_step().unwrap(), Step(9), "without {gone}");
        output.add_step(&step(10)).unwrap();
        let n_lines = |file| text(&output, file).lines().count();
        let left = [METRICS, TRAIN_LOG].map(n_lines);
        assert_eq!(left, if gone == METRICS { [1, 10] } else { [10, 1] });
        output.cut_back(Step(0)).unwrap();
    }
}

#[test]
fn a_line_that_a_crash_left_in_one_of_the_two_is_taken_out() {
    let folder = tempfile::tempdir().unwrap();
    for n in [1, 4] {
        let mut output = Output::open(folder.path()).unwrap();
        for i in 1..n {
            output.add_step(&step(i)).unwrap();
        }
        output.metrics.add(&metrics::line(&step(n)).unwrap()).unwrap();
        drop(output);
        let mut output = Output::open(folder.path()).unwrap();
        assert_eq!(output.last_step().unwrap(), Step(n - 1));
        assert_eq!(steps(&output), ((1..n).collect(), n as usize - 1));
        output.cut_back(Step(0)).unwrap();
    }
}

#[test]
fn a_second_coordinator_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = Output::open(folder.path()).unwrap();
    let refusal = Output::open(folder.path()).err().unwrap();
    assert!(
        refusal.is::<Refused>() && refusal.to_string().contains("another coordinator works"),
        "{refusal}"
    );
    let probe = first.probe().to_owned();
    assert_eq!(text(&first, ".probe"), probe);
    drop(first);
    let again = Output::open(folder.path()).unwrap();
    assert_eq!(again.probe(), probe, "machines need not look again");
    drop(again);
    std::fs::write(folder.path().join(".probe"), "").unwrap();
    assert_ne!(Output::open(folder.path()).unwrap().probe(), "");
}

#[test]
fn what_a_crash_left_in_half_or_in_one_file_only_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut output = Output::open(folder.path()).unwrap();
    assert_eq!(output.last_step().unwrap(), Step(0));
    for n in 1..=4 {
        output.add_step(&step(n)).unwrap();
    }
    drop(output);
    let metrics = folder.path().join(METRICS);
    let whole = std::fs::read_to_string(&metrics).unwrap();
    std::fs::write(&metrics, &whole[..whole.len() - 3]).unwrap();
    let mut output = Output::open(folder.path()).unwrap();
    assert_eq!(output.last_step().unwrap(), Step(3));
    assert_eq!(steps(&output), (vec![1, 2, 3], 3));
}

#[test]
fn samples_are_kept_from_the_beginning_cut_back_and_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let line = |step: u64| SampleLine {
        step: Step(step),
        epoch: 0,
        ranks: vec![None],
    };
    let read = |name: &str| -> Vec<SampleLine> {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let mut output = Output::open(folder.path()).unwrap();
    assert_eq!(output.keep_samples(LedgerDetail::Full, Step(0)).unwrap(), Step(0));
    for n in 1..=4 {
        output.add_samples(&line(n)).unwrap();
    }
    output.cut_back(Step(3)).unwrap();
    assert_eq!(read("samples.jsonl"), [line(1), line(2), line(3)]);
    // A coordinator that died before it wrote the metrics of step 3.
    assert_eq!(output.keep_samples(LedgerDetail::Full, Step(2)).unwrap(), Step(2));
    assert_eq!(read("samples.jsonl").len(), 2);
    assert_eq!(
        output.keep_samples(LedgerDetail::Brief, Step(5)).unwrap(),
        Step(5)
    );
    assert_eq!(read("samples.until-5.jsonl").len(), 2);
    // In the midst of a run it is not begun.
    assert_eq!(output.keep_samples(LedgerDetail::Full, Step(6)).unwrap(), Step(6));
    output.add_samples(&line(7)).unwrap();
    assert!(!folder.path().join("samples.jsonl").exists());
}
