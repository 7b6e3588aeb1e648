//! Mutated lines of trainers and daemons, manifests, statuses and recipes: no panic, bounded memory. `M2T_MUTANTS` says how many.
//!
//! The allocator counts, so this is a program of its own with one test: another test's memory would count, too. A failure names
//! the mutant's number, which makes the same one again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test prints what it measured")]

mod mutated {
    pub(crate) mod hold;
    pub(crate) mod mutator;
}

use std::time::Duration;

use m2t_common::access::{Bearer, Binding, Credential, Fingerprint, Keys, Role, Token, TokenId};
use m2t_common::machine_link::{Boundary, StartFrom};
use m2t_common::manifest::{CheckpointName, FORMAT, FileEntry, Manifest, STATE_FILE};
use m2t_common::placement::{DevicePlacement, Placement};
use m2t_common::recipe::presets::DEFAULTS;
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{resolve, trace};
use m2t_common::report::{
    CheckpointCost, CheckpointReport, News, RankSamples, Rendezvous, ReplacedFile, Stage, StepReport,
};
use m2t_common::shard::Sample;
use m2t_common::status::Status;
use m2t_common::trainer_link::{Prepare, Said, Start, ToTrainer};
use m2t_common::{DeviceId, DeviceIndex, Generation, Rank, Recipe, Step, Timestamp};
use mutated::hold::read_all;
use mutated::mutator::{Whole, how_many};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most that may be held while one mutant is read, all of which are short.
const MOST: usize = 16 << 20;

fn recipe() -> Recipe {
    resolve(Source::Preset("8x_v100_100e"), &[], None).unwrap()
}

fn news() -> Vec<News> {
    let step = Step(40);
    vec![
        News::Warm,
        News::Rendezvous {
            rendezvous: Rendezvous(b"127.0.0.1:4000".to_vec()),
        },
        News::Ready { step },
        News::Stepped(StepReport {
            step,
            loss: 3.25,
            loss_by_rank: vec![3.0, 3.5],
            gradient_norm: 0.1,
            duration: Duration::from_millis(120),
            data_wait: Duration::from_micros(7),
            bottleneck: Some(Stage::Decode),
            replaced: vec![ReplacedFile {
                sample: Sample(7),
                by: Sample(8),
                path: "n01/a.JPEG".into(),
                reason: "the file is empty".into(),
            }],
            state_digest: Some("abc".into()),
            samples: vec![RankSamples {
                rank: Rank(3),
                samples: vec![Sample(7), Sample(9)],
            }],
        }),
        News::Checkpointed(CheckpointReport {
            name: CheckpointName::new(step),
            step,
            state_digest: "abc".into(),
            cost: CheckpointCost::default(),
        }),
        News::Held {
            step,
            broken: Some("a peer is gone".into()),
        },
        News::Finished {
            step,
            state_digest: "def".into(),
        },
        News::Failed {
            reason: "out of memory".into(),
        },
    ]
}

fn to_trainer() -> Vec<ToTrainer> {
    let generation = Generation(3);
    let device = |index| DeviceId {
        machine: "node-1".parse().unwrap(),
        index: DeviceIndex(index),
    };
    let start = |start_from| {
        ToTrainer::Start(Box::new(Start {
            generation,
            device: device(0),
            placement: Placement {
                devices: vec![
                    DevicePlacement {
                        device: device(0),
                        ranks: vec![Rank(0), Rank(1)],
                    },
                    DevicePlacement {
                        device: device(1),
                        ranks: vec![Rank(2)],
                    },
                ],
            },
            recipe: recipe(),
            data: "/data".into(),
            n_samples: 1_281_167,
            output: "/outputs/a".into(),
            start_from,
            address: "10.0.0.1".parse().unwrap(),
        }))
    };
    vec![
        ToTrainer::Prepare(Box::new(Prepare {
            recipe: recipe(),
            data: "/data".into(),
        })),
        start(StartFrom::Initial),
        start(StartFrom::Checkpoint(CheckpointName::new(Step(400)))),
        start(StartFrom::Donor {
            device: device(1),
            step: Step(7),
            distrusted: [device(0)].into(),
        }),
        ToTrainer::Join {
            generation,
            rendezvous: Rendezvous(vec![0, 255]),
        },
        ToTrainer::Boundary {
            generation,
            boundary: Boundary::Stop,
        },
        ToTrainer::Hold { generation },
    ]
}

fn json(name: &str, value: &impl serde::Serialize) -> Whole {
    (name.to_owned(), serde_json::to_vec(value).unwrap())
}

fn wholes() -> Vec<Whole> {
    let generation = Generation(3);
    let said = news()
        .into_iter()
        .map(|news| json("a trainer's line", &Said { generation, news }));
    let told = to_trainer()
        .into_iter()
        .map(|line| json("a daemon's line", &line));
    let manifest = Manifest {
        format: FORMAT,
        step: Step(400),
        n_samples: 1_281_167,
        recipe_digest: recipe().digest(),
        recipe: recipe(),
        state_digest: "abc".into(),
        files: vec![FileEntry {
            name: STATE_FILE.into(),
            size: 9,
            blake3: "00".into(),
        }],
    };
    let experiment = "base = \"32x_v100_100e\"\nsteps = 40\nmilestones = [3, 4]\n[augment]\nhue = 0.1\n[run]\nread_timeout = \"1s\"\n";
    let status = include_str!("../../deploy/xtask/src/reference/status.json");
    said.chain(told)
        .chain([
            json("a manifest", &manifest),
            ("the defaults".to_owned(), DEFAULTS.as_bytes().to_vec()),
            ("an experiment".to_owned(), experiment.as_bytes().to_vec()),
            ("a setting".to_owned(), b"augment.blur_sigma=[0.1, 2.0]".to_vec()),
            ("a setting".to_owned(), b"run.heartbeat_timeout=3s".to_vec()),
            ("a status".to_owned(), status.as_bytes().to_vec()),
            ("a token".to_owned(), token().expose().into_bytes()),
            (
                "a bearer".to_owned(),
                format!("Bearer {}", token().expose()).into_bytes(),
            ),
            (
                "a credential".to_owned(),
                Credential::of(&token(), &HERE).to_string().into_bytes(),
            ),
            json("the keys", &keys()),
        ])
        .collect()
}

/// The connection that proofs are of.
const HERE: Binding = Binding([1; 32]);
const NOW: Timestamp = Timestamp(1_798_000_000_000);

fn keys() -> Keys {
    let mut keys = Keys::default();
    keys.rotate([7; 32], NOW);
    keys.revoke(TokenId(3));
    keys
}

fn token() -> Token {
    let expires = NOW.after(Duration::from_secs(3600));
    let made = keys().token(Role::Viewer, TokenId(7), expires, Fingerprint::of(b"certificate"));
    made.unwrap()
}

/// What lets somebody in, and whether it does: only what was written as it is.
fn read_access(text: &str) -> bool {
    let keys = keys();
    let mut is_something = false;
    if let Ok(read) = text.parse::<Token>() {
        is_something = true;
        assert_eq!(read.expose(), text.trim(), "there is one way to write a token");
    }
    if let Ok(bearer) = text.parse::<Bearer>() {
        is_something = true;
        let Token { grant, secret, .. } = token();
        let is_honest = bearer.0.grant == grant && bearer.0.secret == secret;
        assert_eq!(keys.check_bearer(&bearer, NOW).is_ok(), is_honest, "{text}");
    }
    if let Ok(said) = text.parse::<Credential>() {
        is_something = true;
        let is_honest = said == Credential::of(&token(), &HERE);
        assert_eq!(keys.check_proof(&said, &HERE, NOW).is_ok(), is_honest, "{text}");
    }
    is_something
}

/// What whoever took a recipe in asks of it.
fn ask(recipe: &Recipe) {
    let _ = (recipe.digest(), recipe.global_batch());
    for n_samples in [0, 1, 24, 1_281_167, u64::MAX] {
        if let Ok(plan) = recipe.plan(n_samples) {
            for step in [Step(0), Step(1), Step(1_000_000)] {
                let _ = (recipe.is_replica_check(step), recipe.is_evaluation(step, &plan));
            }
        }
    }
}

/// Reads a mutant as everything that it might be; whether it is something.
fn read(bytes: &[u8]) -> bool {
    let mut is_something = false;
    if let Ok(said) = serde_json::from_slice::<Said>(bytes) {
        is_something = true;
        if let News::Checkpointed(report) = &said.news {
            let _ = report.name.step();
        }
        serde_json::to_vec(&said).unwrap();
    }
    if let Ok(line) = serde_json::from_slice::<ToTrainer>(bytes) {
        is_something = true;
        match &line {
            ToTrainer::Start(start) => {
                let _ = start.start_from.step();
                ask(&start.recipe);
            }
            ToTrainer::Prepare(prepare) => ask(&prepare.recipe),
            ToTrainer::Join { .. } | ToTrainer::Boundary { .. } | ToTrainer::Hold { .. } => {}
        }
        serde_json::to_vec(&line).unwrap();
    }
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
        is_something = true;
        ask(&manifest.recipe);
        let _ = manifest.recipe.differences(&recipe());
    }
    is_something |= serde_json::from_slice::<Status>(bytes).is_ok();
    if let Ok(mut keys) = serde_json::from_slice::<Keys>(bytes) {
        is_something = true;
        keys.rotate([9; 32], NOW);
        let _ = keys.token(Role::Worker, TokenId(1), NOW, Fingerprint::of(b"certificate"));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        is_something |= read_access(text);
        for attempt in [
            trace(
                Source::Experiment {
                    name: "mutant",
                    toml: text,
                },
                &[],
                None,
            ),
            trace(Source::Preset("8x_v100_100e"), &[text.to_owned()], None),
        ] {
            match attempt {
                Ok(resolved) => {
                    is_something = true;
                    ask(&resolved.recipe);
                }
                Err(refused) => assert!(!refused.to_string().is_empty()),
            }
        }
    }
    is_something
}

#[test]
fn mutants_are_read_or_refused_in_bounded_memory() {
    let n = how_many(20_000);
    let wholes = wholes();
    for (name, bytes) in &wholes {
        assert!(read(bytes), "{name} is none: {}", String::from_utf8_lossy(bytes));
    }
    read_all(&MEMORY, MOST, (&wholes, n), read);
}
