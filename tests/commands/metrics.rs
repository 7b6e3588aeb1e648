//! What `m2t metrics` writes for TensorBoard, read by TensorBoard: `tests/clients/events.py`, which is also the example to copy.

use std::path::Path;

use m2t_tests::harness::{Process, python};

use crate::desk::Desk;

#[test]
fn tensorboard_reads_every_scalar_of_a_run() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/events.py");
    let Some(mut command) = python(&script) else {
        return;
    };
    let desk = Desk::new();
    let mut steps = String::new();
    for step in 1..=20_000 {
        let loss = 4.0 / f64::from(step);
        steps +=
            &format!("{{\"step\":{step},\"loss\":{loss},\"images_per_second\":64.0,\"generation\":1}}\n");
    }
    desk.write("run/metrics.jsonl", &steps);
    desk.write(
        "run/recipe.json",
        r#"{"name":"run","training":{"world":4,"batch_per_rank":16}}"#,
    );
    desk.write(
        "run/events.jsonl",
        "{\"at\":10000,\"kind\":\"generation_training\",\"text\":\"generation 1 trains\"}\n",
    );
    desk.write(
        "run/evaluations.jsonl",
        "{\"step\":20000,\"encoder\":\"teacher\",\"method\":\"knn\",\"top1\":0.5}\n",
    );
    desk.start("m2t metrics run --tensorboard logs").expect_exit(0);
    let mut reader = Process::start("events.py", command.arg(desk.path("logs/run")));
    reader.expect_exit(0);
    let said = reader.output();
    let count = |tag: &str| said.lines().filter(|line| line.starts_with(tag)).count();
    assert_eq!(count("loss "), 20_000);
    assert_eq!(count("throughput/images_per_second "), 20_000);
    for line in [
        "loss 1 11.0 4.0",
        "loss 20000 20010.0 0.00019999999494757503",
        "knn/teacher_top1 20000 20010.0 0.5",
    ] {
        assert!(said.lines().any(|said| said == line), "{line} is not said");
    }
}
