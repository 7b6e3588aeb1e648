//! Every kind of damage is seen, and named.

use m2t_common::Step;
use m2t_common::manifest::FileEntry;
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;

use super::*;

struct Fixture {
    output: tempfile::TempDir,
    recipe: Recipe,
}

impl Fixture {
    fn new() -> Self {
        Self {
            output: tempfile::tempdir().unwrap(),
            recipe: recipe(0.05),
        }
    }

    fn checkpoints(&self) -> Checkpoints {
        Checkpoints::of(self.output.path())
    }

    fn folder(&self, step: u64) -> PathBuf {
        self.checkpoints()
            .folder
            .join(CheckpointName::new(Step(step)).as_str())
    }

    /// Writes a complete checkpoint, its manifest changed by `change`.
    fn write(&self, step: u64, change: impl FnOnce(&mut Manifest)) -> CheckpointReport {
        let state = format!("state at {step}");
        let mut manifest = Manifest {
            format: FORMAT,
            step: Step(step),
            n_samples: 100,
            recipe_digest: self.recipe.digest(),
            recipe: self.recipe.clone(),
            state_digest: format!("digest {step}"),
            files: vec![FileEntry {
                name: STATE_FILE.into(),
                size: state.len() as u64,
                blake3: blake3::hash(state.as_bytes()).to_hex().to_string(),
            }],
        };
        change(&mut manifest);
        fs::create_dir_all(self.folder(step)).unwrap();
        fs::write(self.folder(step).join(STATE_FILE), state).unwrap();
        fs::write(
            self.folder(step).join(MANIFEST_FILE),
            serde_json::to_vec(&manifest).unwrap(),
        )
        .unwrap();
        CheckpointReport {
            name: CheckpointName::new(Step(step)),
            step: Step(step),
            state_digest: format!("digest {step}"),
            cost: CheckpointCost::default(),
        }
    }
}

fn recipe(lr256: f64) -> Recipe {
    let set = [format!("lr256={lr256}")];
    resolve(Source::Preset("8x_v100_100e"), &set, None).unwrap()
}

type Change = fn(&mut Manifest);
type Harm = fn(&Path);

#[test]
fn every_damage_is_named() {
    let intact: Change = |_| {};
    let unharmed: Harm = |_| {};
    let cases: [(&str, Change, Harm); 10] = [
        ("format is 99", |m| m.format = 99, unharmed),
        ("manifest is of step 5", |m| m.step = Step(5), unharmed),
        ("another recipe", |m| m.recipe_digest.0.push('x'), unharmed),
        (
            "state digest is other",
            |m| m.state_digest = "other".into(),
            unharmed,
        ),
        ("lists no state.safetensors", |m| m.files.clear(), unharmed),
        (
            "outside the folder",
            |m| m.files[0].name = "../state.safetensors".into(),
            unharmed,
        ),
        ("manifest.json cannot be read", intact, |f| {
            fs::remove_file(f.join(MANIFEST_FILE)).unwrap();
        }),
        ("manifest.json is not a manifest", intact, |f| {
            fs::write(f.join(MANIFEST_FILE), "{").unwrap();
        }),
        ("has 3 bytes", intact, |f| {
            fs::write(f.join(STATE_FILE), "cut").unwrap();
        }),
        ("the bytes of", intact, |f| {
            fs::write(f.join(STATE_FILE), "State at 4").unwrap();
        }),
    ];
    for (expected, change, harm) in cases {
        let fixture = Fixture::new();
        let report = fixture.write(4, change);
        harm(&fixture.folder(4));
        let damage = fixture
            .checkpoints()
            .verify(&report, &fixture.recipe)
            .unwrap_err()
            .to_string();
        assert!(damage.contains(expected), "{damage:?} does not say {expected:?}");
    }
    let fixture = Fixture::new();
    let report = fixture.write(4, |_| {});
    fixture.checkpoints().verify(&report, &fixture.recipe).unwrap();
}

#[test]
fn the_newest_complete_checkpoint_is_found_behind_a_damaged_one() {
    let fixture = Fixture::new();
    for step in [2, 4, 6] {
        fixture.write(step, |_| {});
    }
    fs::write(fixture.folder(6).join(STATE_FILE), "STATE AT 6").unwrap();
    fs::create_dir_all(fixture.folder(6).with_file_name("step-000000008.tmp")).unwrap();
    let facts = fixture.checkpoints().survey(&fixture.recipe).unwrap().unwrap();
    let steps: Vec<u64> = facts.found.iter().map(|found| found.report.step.0).collect();
    assert_eq!(steps, [2, 4]);
    assert_eq!(facts.damaged.len(), 1);
    assert_eq!(facts.found[1].n_samples, 100);
    fixture
        .checkpoints()
        .set_aside(&CheckpointName::new(Step(6)))
        .unwrap();
    assert!(!fixture.folder(6).exists() && fixture.folder(6).with_extension("damaged").exists());
    let again = fixture.checkpoints().survey(&fixture.recipe).unwrap().unwrap();
    assert!(again.damaged.is_empty());
}

#[test]
fn checkpoints_of_another_recipe_are_refused_by_the_differing_keys() {
    let fixture = Fixture::new();
    fixture.write(2, |_| {});
    let refusal = fixture
        .checkpoints()
        .survey(&recipe(0.5))
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(
        refusal.contains("training.lr256 (now 0.5, then 0.05)"),
        "{refusal}"
    );
}

#[test]
fn no_folder_means_no_checkpoint_and_a_deletion_may_be_repeated() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.checkpoints().survey(&fixture.recipe).unwrap().unwrap(),
        DiskFacts::default()
    );
    fixture.write(2, |_| {});
    let name = CheckpointName::new(Step(2));
    fixture.checkpoints().delete(&name).unwrap();
    fixture.checkpoints().delete(&name).unwrap();
    fixture.checkpoints().set_aside(&name).unwrap();
    assert!(!fixture.folder(2).exists());
}
