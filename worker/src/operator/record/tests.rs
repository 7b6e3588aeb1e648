//! Whole, partial and damaged folders.

use std::fs;

use m2t_common::recipe::load;

use super::*;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn steps(text: &str) -> (Vec<u64>, Vec<String>) {
    let folder = folder(&[(METRICS, text)]);
    let (mut steps, mut notes) = (Vec::new(), Notes::default());
    StepLine::each(folder.path(), &mut notes, |line| steps.push(line.step)).unwrap();
    (steps, notes.sentences().to_vec())
}

#[test]
fn whole_lines_are_read_and_others_told_of_and_skipped() {
    let (read, notes) = steps("{\"step\":1,\"loss\":4.0}\n{\"step\":2}\n");
    assert_eq!((read, notes), (vec![1, 2], vec![]));
    let (read, notes) =
        steps("{\"step\":1}\n\n{\"loss\":1}\nnonsense\n\u{0}\u{0}\n{\"step\":2}\n{\"step\":3,\"lo");
    assert_eq!(read, [1, 2]);
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(
        notes[0].starts_with("metrics.jsonl: 3 damaged lines were skipped, the first is line 3"),
        "{notes:?}"
    );
    assert!(notes[1].contains("the last line is not whole"), "{notes:?}");
    // A whole object is a line, also where its end is still to come.
    assert_eq!(steps("{\"step\":1}\n{\"step\":2}"), (vec![1, 2], vec![]));
}

#[test]
fn steps_only_go_on() {
    let (read, notes) = steps("{\"step\":4}\n{\"step\":4}\n{\"step\":3}\n{\"step\":5}\n");
    assert_eq!(read, [4, 5]);
    assert_eq!(
        notes,
        ["metrics.jsonl: 2 lines were skipped, of a step that is not after the one before."]
    );
}

#[test]
fn a_run_without_a_step_is_told() {
    assert_eq!(steps("").1, ["metrics.jsonl tells of no step yet."]);
    let nothing = tempfile::tempdir().unwrap();
    let mut notes = Notes::default();
    StepLine::each(nothing.path(), &mut notes, |_| panic!("there is none")).unwrap();
    assert_eq!(
        notes.sentences(),
        ["metrics.jsonl is missing: the run has not done a step yet."]
    );
}

#[test]
fn what_is_written_later_is_read_later() {
    let folder = folder(&[(METRICS, "{\"step\":1}\n{\"st")]);
    let path = folder.path().join(METRICS);
    let mut lines = Lines::<StepLine>::open(&path).unwrap().unwrap();
    assert_eq!(lines.read().unwrap().unwrap().step, 1);
    assert_eq!(lines.read().unwrap(), None);
    assert!(lines.tally.is_cut);
    fs::write(&path, "{\"step\":1}\n{\"step\":2}\n").unwrap();
    assert_eq!(lines.read().unwrap().unwrap().step, 2);
    assert_eq!(lines.read().unwrap(), None);
    assert_eq!(lines.tally.told(METRICS), Vec::<String>::new());
}

#[test]
fn a_line_without_end_takes_bounded_memory() {
    let mut text = "{\"step\":1,\"loss_by_rank\":[".to_owned();
    text += &"1,".repeat(12 << 20);
    text += "1]}\n{\"step\":2}\n";
    let (read, notes) = steps(&text);
    assert_eq!(read, [2]);
    assert!(notes[0].contains("1 damaged line was skipped"), "{notes:?}");
}

#[test]
fn a_folder_that_is_no_run_is_refused_by_what_is_missing() {
    let empty = tempfile::tempdir().unwrap();
    let refused = require_run(empty.path()).unwrap_err().to_string();
    assert!(
        refused.contains("neither metrics.jsonl nor recipe.json"),
        "{refused}"
    );
    let missing = empty.path().join("missing");
    let refused = require_run(&missing).unwrap_err().to_string();
    assert!(refused.contains("is no folder"), "{refused}");
    require_run(folder(&[("recipe.json", "{}")]).path()).unwrap();
}

#[test]
fn why_generations_ended_is_found_in_their_sentences() {
    let text = r#"{"at":1000,"kind":"run_begun","text":"a new run begins"}
{"at":1100,"kind":"machine_attached","text":"machine alpha attached with 2 device(s)"}
{"at":2000,"kind":"generation_training","text":"generation 1 trains"}
{"at":3000,"kind":"generation_ended","text":"generation 1 ended: machine beta was lost: silent for 3000 ms"}
{"at":4000,"kind":"generation_training","text":"generation 2 trains"}
{"at":5000,"kind":"draining","text":"all devices stop at the next step boundary: more devices take part"}
{"at":5100,"kind":"generation_ended","text":"generation 2 ended: it drained at step 9"}
{"at":6000,"kind":"checkpoint_complete","text":"checkpoint step-000000012 is complete and verified"}
{"at":9000,"kind":"run_finished","text":"finished at step 12; the state's digest is 0434"}
"#;
    let folder = folder(&[(EVENTS, text)]);
    let mut notes = Notes::default();
    let events = Events::read(folder.path(), &mut notes).unwrap();
    assert_eq!(notes, Notes::default());
    assert_eq!(events.span, Some((1000, 9000)));
    let ends: Vec<(u64, &str)> = events.ends.iter().map(|(g, why)| (*g, why.as_str())).collect();
    assert_eq!(
        ends,
        [
            (1, "machine beta was lost: silent for 3000 ms"),
            (2, "more devices take part")
        ]
    );
    assert_eq!(events.training_since[&2], 4000);
    assert_eq!(events.state_digest.as_deref(), Some("0434"));
    assert_eq!((events.n_checkpoints, events.machines.len()), (1, 1));
}

#[test]
fn steps_follow_each_other_from_when_their_generation_trained() {
    let mut events = Events {
        span: Some((1_000, 60_000)),
        ..Events::default()
    };
    events.training_since.extend([(1, 10_000), (2, 30_000)]);
    let mut clock = Clock::new(&events);
    let mut at = |step, generation, images_per_second| {
        let step = StepLine {
            step,
            generation: Some(generation),
            images_per_second: Some(images_per_second),
            ..StepLine::default()
        };
        clock.at(&step, 64)
    };
    assert_eq!(at(1, 1, 64.0), 11.0);
    assert_eq!(at(2, 1, 32.0), 13.0);
    assert_eq!(at(3, 2, 64.0), 31.0);
    // Without a speed, a step takes no time rather than an unknown one.
    assert_eq!(at(4, 2, 0.0), 31.0);
}

#[test]
fn evaluations_are_read_leniently_and_the_later_of_two_counts() {
    let text = r#"{"step":20,"encoder":"teacher","method":"knn","top1":0.5,"settings":{"k":20},"unknown":1}
{"step":10,"epoch":1,"generation":1,"encoder":"teacher","method":"knn","top1":0.4,"top5":0.9,"n_correct":4,"n_images":10,"seconds":1.2}
{"step":20,"encoder":"teacher","method":"knn","top1":0.6}
{"step":20,"top1":0.1}
{"step":20,"encoder":"student","method":"knn","top1":53.0}
{"step":30,"encoder":"teacher"}
"#;
    let folder = folder(&[(EVALUATIONS, text)]);
    let mut notes = Notes::default();
    let all = Evaluation::all(folder.path(), &mut notes).unwrap();
    let found: Vec<(u64, f64, String)> = all
        .iter()
        .map(|one| (one.step, one.top1, one.kind().to_string()))
        .collect();
    assert_eq!(
        found,
        [
            (10, 0.4, "kNN, teacher".to_owned()),
            (20, 0.6, "kNN, teacher".to_owned()),
            (20, 0.1, "encoder, encoder".to_owned())
        ]
    );
    assert_eq!(notes.sentences().len(), 2, "{notes:?}");
}

#[test]
fn a_recipe_differs_from_the_defaults_in_what_was_written() {
    let sets = ["lr256=0.3".to_owned(), "run.keep_checkpoints=5".to_owned()];
    let changed = load("8x_v100_200e", &sets, None, |_| unreachable!())
        .unwrap()
        .recipe;
    let plain = load("8x_v100_100e", &[], None, |_| unreachable!())
        .unwrap()
        .recipe;
    let record = |recipe| RecipeRecord::parse(&serde_json::to_vec(recipe).unwrap()).unwrap();
    let (changed, plain) = (record(&changed), record(&plain));
    assert_eq!(RecipeRecord::differences(&[&plain]), []);
    let differences = RecipeRecord::differences(&[&plain, &changed]);
    let keys: Vec<&str> = differences.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["epochs", "lr256", "run.keep_checkpoints"]);
    assert!(differences[0].is_between() && differences[2].is_operation());
    assert_eq!(differences[1].default.as_deref(), Some("0.05"));
    assert_eq!(
        differences[1].values,
        [Some("0.05".to_owned()), Some("0.3".to_owned())]
    );
}

#[test]
fn a_recipe_of_another_version_is_shown_as_it_stands() {
    let text = br#"{"name":"later","model":{"arch":"resnet9"},"training":{"world":4,"batch_per_rank":16},"new":{"key":true}}"#;
    let record = RecipeRecord::parse(text).unwrap();
    assert_eq!(record.recipe, None);
    assert_eq!(record.keys["batch"], "64");
    let keys: Vec<String> = RecipeRecord::differences(&[&record])
        .into_iter()
        .map(|one| one.key)
        .collect();
    assert_eq!(keys, ["arch", "batch", "world", "new.key"]);
}

#[test]
fn runs_are_called_by_their_folders_and_by_their_paths_where_these_are_equal() {
    let root = tempfile::tempdir().unwrap();
    let folders = ["a/run", "b/run", "other"].map(|name| root.path().join(name));
    for folder in &folders {
        fs::create_dir_all(folder).unwrap();
    }
    let names = names(&folders);
    assert_eq!(names[2], "other");
    assert!(
        names[0].ends_with("a/run") && names[1].ends_with("b/run"),
        "{names:?}"
    );
}
