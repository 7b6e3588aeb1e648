//! Real processes that evaluate while they train, and train linear heads: the same figures in every placement, after a kill, and offline.
//!
//! On made pictures, so nothing is skipped where there are no photographs.

use std::path::{Path, PathBuf};
use std::process::Command;

use m2t_common::Step;
use m2t_common::evaluation::{EVALUATIONS_FILE, EvaluationLine, Method, Side};
use m2t_tests::harness::{Binaries, Cluster, ClusterSettings};
use rustix::process::Signal;

use super::course;

/// 240 pictures to train on and 186 held out, of six classes: the last chunk is cut short, and no number of devices divides the chunks.
fn pictures(folder: &Path) -> PathBuf {
    let made = Command::new(Binaries::get().path("m2t"))
        .args(["data", "synth"])
        .arg(folder)
        .args(["--classes", "6", "--train-per-class", "40"])
        .args(["--val-per-class", "31", "--pixels", "16"])
        .status();
    assert!(made.unwrap().success());
    folder.join("train")
}

fn pretraining(evaluate: &str) -> String {
    format!(
        "arch = \"resnet18\"\nchannels = 4\nstem = \"small\"\nhidden_dim = 32\nlow_dim = 16\npixels = 16\nbatch = 16\nsteps = 25\nwarmup_epochs = 0\n\
         [run]\nevaluate = \"{evaluate}\"\n"
    )
}

fn cluster(data: &Path, experiment: String, daemons: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::new(ClusterSettings {
        world: 4,
        min_devices: Some(1),
        experiment,
        data: Some(data.to_owned()),
        trainer: Binaries::get().path("m2t-trainer"),
        log: None,
    });
    cluster.start_coordinator();
    for (name, devices) in daemons {
        cluster.start_daemon(name, devices);
    }
    cluster
}

fn evaluations(cluster: &Cluster) -> Vec<EvaluationLine> {
    let text = std::fs::read_to_string(cluster.output().join(EVALUATIONS_FILE)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What an evaluation found, without which generation and how long.
fn figures(cluster: &Cluster) -> Vec<(u64, Side, Method, [u64; 3])> {
    evaluations(cluster)
        .iter()
        .map(|line| {
            let counts = [line.n_images, line.n_correct, line.n_correct5];
            (line.step.0, line.encoder, line.method, counts)
        })
        .collect()
}

#[test]
fn an_evaluation_changes_no_bit_and_is_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let data = pictures(folder.path());
    let run = |evaluate, daemons: &[(&str, &str)]| {
        let mut cluster = cluster(&data, pretraining(evaluate), daemons);
        cluster.expect_exit(0);
        cluster
    };
    let one = run("full", &[("a", "cpu:1")]);
    // 15 steps an epoch: after the first, and at the end.
    let found = figures(&one);
    let steps: Vec<u64> = found.iter().map(|(step, ..)| *step).collect();
    assert_eq!(steps, [15, 15, 15, 15, 25, 25, 25, 25], "{found:?}");
    assert!(found.iter().all(|(.., [n, _, _])| *n == 186), "{found:?}");
    for daemons in [&[("a", "cpu:2")][..], &[("a", "cpu:2"), ("b", "cpu:1")]] {
        let several = run("full", daemons);
        assert_eq!(figures(&several), found, "{daemons:?}");
        assert_eq!(course(&several), course(&one), "{daemons:?}");
    }
    let without = run("off", &[("a", "cpu:2")]);
    assert_eq!(
        course(&without),
        course(&one),
        "an evaluation reads the state and writes none of it"
    );
    assert_eq!(figures(&without), []);

    for (command, method) in [("knn", Method::Knn), ("probe", Method::Probe)] {
        for (features, side) in [("teacher", Side::Teacher), ("student", Side::Student)] {
            let said = one.trainer_output(&[
                command,
                "--features",
                features,
                "--checkpoint",
                &one.output().display().to_string(),
                "--train",
                &data.display().to_string(),
                "--val",
                &folder.path().join("val").display().to_string(),
            ]);
            let said: serde_json::Value = serde_json::from_str(&said).unwrap();
            let online = found
                .iter()
                .find(|(step, encoder, by, _)| (*step, *encoder, *by) == (25, side, method));
            let (.., [_, n_correct, _]) = online.unwrap();
            assert_eq!(
                said["n_correct"], *n_correct,
                "{command} of the {features}, offline: {said}"
            );
        }
    }
}

/// A linear head of six epochs on the encoder of a run.
fn linear_head(encoder: &Cluster, more: &str) -> String {
    format!(
        "base = \"linear_byol\"\narch = \"resnet18\"\nchannels = 4\nstem = \"small\"\npixels = 16\nbatch = 16\nepochs = 6\n\
         [linear]\nclasses = 6\ndigest = \"{}\"\n{more}\n[run]\nencoder = {:?}\nevaluate_every = 2\ncheckpoint_every = 10\n",
        course(encoder).0,
        encoder.output()
    )
}

#[test]
fn a_linear_head_is_the_same_in_every_placement_and_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let data = pictures(folder.path());
    let mut encoder = cluster(&data, pretraining("off"), &[("a", "cpu:2")]);
    encoder.expect_exit(0);
    let experiment = linear_head(&encoder, "");
    let mut calm = cluster(&data, experiment.clone(), &[("a", "cpu:2")]);
    calm.expect_exit(0);
    let found = figures(&calm);
    let steps: Vec<u64> = found.iter().map(|(step, ..)| *step).collect();
    assert_eq!(steps, [30, 60, 90], "{found:?}");
    let is_whole = |(_, side, method, counts): &(u64, Side, Method, [u64; 3])| {
        (*side, *method, counts[0]) == (Side::Teacher, Method::Linear, 186)
    };
    assert!(found.iter().all(is_whole), "{found:?}");
    for daemons in [
        &[("a", "cpu:1")][..],
        &[("a", "cpu:2"), ("b", "cpu:1")],
        &[("a", "cpu:4")],
    ] {
        let mut other = cluster(&data, experiment.clone(), daemons);
        other.expect_exit(0);
        assert_eq!(
            (figures(&other), course(&other)),
            (found.clone(), course(&calm)),
            "{daemons:?}"
        );
    }

    let killed = killed_at_step_35(&data, experiment, |_| {});
    assert_eq!((figures(&killed), course(&killed)), (found, course(&calm)));
}

/// A run on two devices of which all is killed at step 35, and begun again after `meanwhile`.
fn killed_at_step_35(data: &Path, experiment: String, meanwhile: impl FnOnce(&Cluster)) -> Cluster {
    let mut killed = cluster(data, experiment, &[("a", "cpu:2")]);
    killed.wait_for("step 35", |status| {
        status
            .progress
            .as_ref()
            .is_some_and(|progress| progress.step >= Step(35))
    });
    killed.daemon("a").signal(Signal::KILL);
    killed.coordinator().signal(Signal::KILL);
    killed.daemon("a").wait();
    killed.coordinator().wait();
    meanwhile(&killed);
    killed.start_coordinator();
    killed.start_daemon("a", "cpu:2");
    killed.expect_exit(0);
    killed
}

#[test]
fn features_that_are_kept_change_nothing_but_the_time() {
    let folder = tempfile::tempdir().unwrap();
    let data = pictures(folder.path());
    let mut encoder = cluster(&data, pretraining("off"), &[("a", "cpu:2")]);
    encoder.expect_exit(0);
    let experiment = linear_head(&encoder, "draws = 2");
    let mut calm = cluster(&data, experiment.clone(), &[("a", "cpu:1")]);
    calm.expect_exit(0);
    let found = (figures(&calm), course(&calm));
    assert_eq!(
        n_records(&calm),
        2 * 240,
        "of two epochs, and none of the other four"
    );
    for daemons in [&[("a", "cpu:2")][..], &[("a", "cpu:2"), ("b", "cpu:1")]] {
        let mut other = cluster(&data, experiment.clone(), daemons);
        other.expect_exit(0);
        assert_eq!((figures(&other), course(&other)), found, "{daemons:?}");
    }
    let forget = |killed: &Cluster| std::fs::remove_dir_all(killed.output().join("features")).unwrap();
    let killed = killed_at_step_35(&data, experiment.clone(), forget);
    assert_eq!((figures(&killed), course(&killed)), found, "computed again");
    let killed = killed_at_step_35(&data, experiment, |_| {});
    assert_eq!((figures(&killed), course(&killed)), found, "read again");
}

/// Features that a run keeps: 32 channels in float32, with 32 bytes about them.
fn n_records(cluster: &Cluster) -> u64 {
    let of_run = std::fs::read_dir(cluster.output().join("features")).unwrap();
    let files = of_run.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let length: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    length / (32 + 4 * 32)
}

#[test]
fn with_statistics_of_each_rank_those_of_rank_0_are_evaluated_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let data = pictures(folder.path());
    let run = |daemons: &[(&str, &str)]| {
        let local = format!("teacher_statistics = \"local\"\n{}", pretraining("full"));
        let mut cluster = cluster(&data, local, daemons);
        cluster.expect_exit(0);
        figures(&cluster)
    };
    let one = run(&[("a", "cpu:1")]);
    assert_eq!(one.len(), 8);
    assert_eq!(run(&[("a", "cpu:2"), ("b", "cpu:1")]), one);
}

#[test]
fn a_missing_folder_of_held_out_images_is_told_before_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let data = pictures(folder.path());
    std::fs::rename(folder.path().join("val"), folder.path().join("elsewhere")).unwrap();
    let mut cluster = cluster(&data, pretraining("light"), &[("a", "cpu:1")]);
    cluster
        .coordinator()
        .wait_for_text("the held-out images cannot be read");
    cluster.coordinator().signal(Signal::TERM);
    cluster.coordinator().wait();
    assert_eq!(cluster.metrics().len(), 0);
}
