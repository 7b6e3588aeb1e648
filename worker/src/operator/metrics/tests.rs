//! What is handed on reads back, by our own reading of the records. TensorBoard's own reader is asked in `tests/commands/metrics.rs`.

use std::fs;

use clap::Parser;
use prost::Message;

use super::tensorboard::{Event, masked_checksum};
use super::*;
use crate::operator::Refused;

#[derive(Parser)]
struct Tool {
    #[command(flatten)]
    options: Options,
}

fn call(arguments: &[&str]) -> anyhow::Result<String> {
    let options = Tool::parse_from([&["metrics"], arguments].concat()).options;
    let mut out = Vec::new();
    run(&options, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

const STEPS: &str = r#"{"step":1,"epoch":0,"loss":4.25,"learning_rate":1e-6,"parameter_momentum":0.99,"statistics_momentum":1.0,"gradient_norm":8.5,"images_per_second":32.0,"data_wait":0.25,"generation":1}
{"step":2,"epoch":0,"loss":0.1,"images_per_second":64.0,"generation":2,"recovery":{"noticed":0.5,"aborted":0.25}}
"#;
const EVENTS_TEXT: &str = r#"{"at":10000,"kind":"run_begun","text":"a new run begins"}
{"at":20000,"kind":"generation_training","text":"generation 1 trains"}
{"at":30000,"kind":"generation_training","text":"generation 2 trains"}
{"at":40000,"kind":"run_finished","text":"finished at step 2; the state's digest is 04"}
"#;
const EVALUATIONS_TEXT: &str = r#"{"step":2,"epoch":0,"generation":2,"encoder":"teacher","method":"knn","top1":0.5,"top5":0.75,"n_correct":5,"n_images":10,"seconds":1.5}
"#;

fn made_run() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("demo");
    fs::create_dir(&folder).unwrap();
    for (name, text) in [
        (
            "recipe.json",
            r#"{"name":"demo","training":{"world":4,"batch_per_rank":16}}"#,
        ),
        ("metrics.jsonl", STEPS),
        ("events.jsonl", EVENTS_TEXT),
        ("evaluations.jsonl", EVALUATIONS_TEXT),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    root
}

/// All records of a file, each checksum compared.
fn events(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at(8);
        let n = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        assert_eq!(rest[..4], masked_checksum(length));
        let (message, rest) = rest[4..].split_at(n);
        assert_eq!(rest[..4], masked_checksum(message));
        events.push(Event::decode(message).unwrap());
        bytes = &rest[4..];
    }
    events
}

fn event_file(root: &Path) -> Vec<Event> {
    let path = root.join("logs/demo/events.out.tfevents.0000000010.m2t");
    events(&fs::read(path).unwrap())
}

#[test]
fn checksums_are_those_of_the_format() {
    // The record header of a file of 24 bytes, as TensorFlow writes it.
    assert_eq!(
        masked_checksum(&24_u64.to_le_bytes()),
        0x224B_7FA3_u32.to_le_bytes()
    );
}

#[test]
fn an_event_file_holds_every_scalar_at_its_moment() {
    let root = made_run();
    let text = |name: &str| root.path().join(name).display().to_string();
    for _ in 0..2 {
        call(&[&text("demo"), "--tensorboard", &text("logs")]).unwrap();
        let events = event_file(root.path());
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        let found: Vec<(i64, f64, String, f32)> = events[1..]
            .iter()
            .flat_map(|event| {
                let values = &event.summary.as_ref().unwrap().value;
                values.iter().map(|value| {
                    let number = value.simple_value.unwrap();
                    (event.step, event.wall_time, value.tag.clone(), number)
                })
            })
            .collect();
        for expected in [
            (1, 22.0, "loss", 4.25),
            (1, 22.0, "momentum/statistics", 1.0),
            (1, 22.0, "throughput/images_per_second", 32.0),
            (2, 31.0, "loss", 0.1),
            (2, 31.0, "placement/regroup_seconds", 0.75),
            (2, 31.0, "knn/teacher_top1", 0.5),
        ] {
            let (step, at, tag, value) = expected;
            let expected = (step, at, tag.to_owned(), value);
            assert!(found.contains(&expected), "{expected:?} is not in {found:?}");
        }
        // The second time, the same and not twice.
        assert_eq!(found.len(), 8 + 4 + 2);
    }
}

#[test]
fn csv_has_a_line_a_step_and_numbers_to_the_bit() {
    let root = made_run();
    let csv = root.path().join("all.csv");
    let (run_text, csv_text) = (root.path().join("demo"), csv.display().to_string());
    for _ in 0..2 {
        call(&[run_text.to_str().unwrap(), "--csv", &csv_text]).unwrap();
        assert_eq!(
            fs::read_to_string(&csv).unwrap(),
            "run,step,epoch,generation,time,loss,learning_rate,parameter_momentum,statistics_momentum,gradient_norm,images_per_second,data_wait,regroup_seconds\n\
             demo,1,0,1,22.000,4.25,0.000001,0.99,1,8.5,32,0.25,\n\
             demo,2,0,2,31.000,0.1,,,,,64,,0.75\n"
        );
        assert_eq!(
            fs::read_to_string(root.path().join("all.evaluations.csv")).unwrap(),
            "run,step,epoch,generation,time,encoder,method,top1,top5,n_correct,n_images,seconds\n\
             demo,2,0,2,31.000,teacher,knn,0.5,0.75,5,10,1.5\n"
        );
    }
    fs::write(&csv, "step,mine\n1,2\n").unwrap();
    let refused = call(&[run_text.to_str().unwrap(), "--csv", &csv_text]).unwrap_err();
    assert!(
        refused.is::<Refused>() && refused.to_string().contains("all.csv"),
        "{refused}"
    );
    assert_eq!(fs::read_to_string(&csv).unwrap(), "step,mine\n1,2\n");
}

#[test]
fn a_run_that_goes_on_is_followed_and_nothing_is_handed_on_twice() {
    let root = made_run();
    let folder = root.path().join("demo");
    let mut course = Course::open(&folder, "demo".to_owned(), Some(&root.path().join("logs"))).unwrap();
    course.go_on(None).unwrap();
    assert!(course.has_ended());
    // The coordinator cut the metrics back and wrote them anew; step 2 is done again, and 3 is new.
    fs::write(
        folder.join("metrics.new"),
        STEPS.to_owned() + "{\"step\":3,\"loss\":0.05}\n",
    )
    .unwrap();
    fs::rename(folder.join("metrics.new"), folder.join("metrics.jsonl")).unwrap();
    course.go_on(None).unwrap();
    let steps: Vec<i64> = event_file(root.path())
        .iter()
        .skip(1)
        .filter(|event| {
            let summary = event.summary.as_ref().unwrap();
            summary.value.iter().any(|value| value.tag == "loss")
        })
        .map(|event| event.step)
        .collect();
    assert_eq!(steps, [1, 2, 3]);
    let mut out = Vec::new();
    course.tell(&mut out).unwrap();
    assert!(
        String::from_utf8(out)
            .unwrap()
            .starts_with("demo: 3 steps and 1 evaluation(s)")
    );
    assert_eq!(course.notes, Notes::default());
}

#[test]
fn a_name_that_is_a_path_stays_one_folder() {
    assert_eq!(safe("/runs/a/demo"), "runs-a-demo");
    assert_eq!(safe("demo"), "demo");
}
