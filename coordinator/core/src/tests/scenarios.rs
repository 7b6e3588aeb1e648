//! Scenarios: stories with the trace that is expected of them, in `tests/scenarios/*.txt`; one for each row of the fault table of
//! the architecture, and for what people do. A line after `>` is what happens (see `script`), the indented lines below it what
//! the core did then, in its order: effects, `note:` what people are told, `=` the phase and its reason where they changed.
//!
//! `M2T_BLESS=1 cargo test --release -p m2t-coordinator-core scenarios` writes what happens now into the files; whoever does so
//! reads the change of the files as a story.
//!
//! Why here and not in a test of its own: the words in which effects are shown are those of the other stories of this crate.

mod script;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use script::Script;

/// What one line says happens, and what follows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Passage {
    /// Comments and blank lines before it.
    before: Vec<String>,
    /// What happens.
    happens: String,
    /// What the core does.
    follows: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn parse(text: &str) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut before = Vec::new();
    for line in text.lines() {
        if let Some(happens) = line.strip_prefix("> ") {
            passages.push(Passage {
                before: std::mem::take(&mut before),
                happens: happens.to_owned(),
                follows: Vec::new(),
            });
        } else if let Some(follows) = line.strip_prefix("    ") {
            let passage: &mut Passage = passages
                .last_mut()
                .expect("something happens before what follows");
            passage.follows.push(follows.to_owned());
        } else {
            before.push(line.to_owned());
        }
    }
    assert_eq!(before, [""; 0], "nothing is said after the last line");
    passages
}

fn render(passages: &[Passage]) -> String {
    let mut text = String::new();
    for passage in passages {
        for line in &passage.before {
            writeln!(text, "{line}").unwrap();
        }
        writeln!(text, "> {}", passage.happens).unwrap();
        for line in &passage.follows {
            writeln!(text, "    {line}").unwrap();
        }
    }
    text
}

/// The same story as it happens now.
fn replay(passages: &[Passage]) -> Vec<Passage> {
    let mut script = Script::default();
    let again = |passage: &Passage| Passage {
        before: passage.before.clone(),
        happens: passage.happens.clone(),
        follows: script.happens(&passage.happens),
    };
    passages.iter().map(again).collect()
}

/// Where the stories part: each passage that differs, what is expected with a minus, what happens with a plus.
fn difference(expected: &[Passage], found: &[Passage]) -> String {
    let mut text = String::new();
    for (expected, found) in expected.iter().zip(found) {
        if expected.follows == found.follows {
            continue;
        }
        writeln!(text, "> {}", found.happens).unwrap();
        for line in &expected.follows {
            let mark = if found.follows.contains(line) { ' ' } else { '-' };
            writeln!(text, "  {mark} {line}").unwrap();
        }
        writeln!(text, "  now:").unwrap();
        for line in &found.follows {
            let mark = if expected.follows.contains(line) { ' ' } else { '+' };
            writeln!(text, "  {mark} {line}").unwrap();
        }
    }
    text
}

fn plays(name: &str) {
    let path = folder().join(name).with_extension("txt");
    let text = std::fs::read_to_string(&path).unwrap();
    let expected = parse(&text);
    let found = replay(&expected);
    if std::env::var_os("M2T_BLESS").is_some() {
        std::fs::write(&path, render(&found)).unwrap();
    } else {
        let difference = difference(&expected, &found);
        assert!(
            difference.is_empty(),
            "{} goes otherwise:\n{difference}",
            path.display()
        );
        assert_eq!(
            render(&expected),
            text,
            "{} is laid out otherwise",
            path.display()
        );
    }
}

/// One test a file, and a test that none is left out.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                plays(stringify!($name));
            }
        )*

        #[test]
        fn every_file_is_played() {
            let names = [$(stringify!($name)),*];
            for entry in std::fs::read_dir(folder()).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                assert!(names.contains(&name.as_str()), "{} is not played", path.display());
            }
        }
    };
}

scenarios![
    trainer_dies,
    machine_dies,
    machine_falls_silent,
    trainer_hangs,
    coordinator_dies,
    training_finishes_without_coordinator,
    all_machines_die,
    machine_is_drained,
    group_grows,
    pause_while_regrouping,
    donor_dies,
    machine_is_set_aside,
];

#[test]
fn a_story_that_goes_otherwise_is_told() {
    let passage = |follows: &[&str]| Passage {
        happens: "steps 1".to_owned(),
        follows: follows.iter().map(|&line| line.to_owned()).collect(),
        ..Passage::default()
    };
    let (expected, found) = ([passage(&["a", "b"])], [passage(&["b", "c"])]);
    let told = "> steps 1\n  - a\n    b\n  now:\n    b\n  + c\n";
    assert_eq!(difference(&expected, &found), told);
    assert_eq!(difference(&found, &found), "");
    assert_eq!(parse(&render(&found)), found);
}
