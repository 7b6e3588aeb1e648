//! Recipes as they are written, refused and compared.

mod origins;
mod refusals;

use super::written::Source;
use super::*;
use crate::ids::Step;

fn meant(toml: &str, sets: &[&str]) -> Result<Recipe, RecipeError> {
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    resolve(Source::Experiment { name: "test", toml }, &sets, None)
}

#[test]
fn every_preset_resolves_and_differs_from_the_others() {
    assert_eq!(presets::names().len(), 12);
    let names = presets::whole();
    let digests: std::collections::BTreeSet<String> = names
        .iter()
        .map(|name| resolve(Source::Preset(name), &[], None).unwrap().digest().0)
        .collect();
    assert_eq!(digests.len(), names.len());
}

#[test]
fn layers_lie_in_order() {
    let toml = "base = \"32x_v100_100e\"\nepochs = 5\nwarmup_epochs = 1\n[augment]\nhue = 0.05\n";
    let recipe = meant(toml, &["augment.hue=0.2", "optimizer=sgd", "lr256 = 0.1"]).unwrap();
    assert_eq!(recipe.training.world, 32);
    assert_eq!(recipe.training.length, Length::Epochs(5));
    assert_eq!((recipe.augment.hue, recipe.augment.contrast), (0.2, 0.4));
    assert_eq!(
        (recipe.training.optimizer, recipe.training.lr256),
        (OptimizerKind::Sgd, 0.1)
    );
}

#[test]
fn steps_take_the_place_of_epochs_and_back() {
    assert_eq!(
        meant("steps = 40", &[]).unwrap().training.length,
        Length::Steps(40)
    );
    assert_eq!(
        meant("steps = 40", &["epochs=20"]).unwrap().training.length,
        Length::Epochs(20)
    );
    assert!(meant("steps = 40\nepochs = 2", &[]).is_err());
}

#[test]
fn the_world_of_the_command_line_wins_and_the_batch_stays_global() {
    let recipe = resolve(Source::Preset("8x_v100_100e"), &[], Some(32)).unwrap();
    assert_eq!((recipe.training.world, recipe.training.batch_per_rank), (32, 32));
}

#[test]
fn the_digest_covers_mathematics_and_not_operation() {
    let plain = meant("", &[]).unwrap();
    assert_eq!(
        plain.digest(),
        meant("", &["run.checkpoint_every=7"]).unwrap().digest()
    );
    let other = meant("", &["augment.hue=0.05", "seed=3"]).unwrap();
    assert_ne!(plain.digest(), other.digest());
    let keys: Vec<String> = plain
        .differences(&other)
        .into_iter()
        .map(|(key, _, _)| key)
        .collect();
    assert_eq!(keys, ["augment.hue", "training.seed"]);
}

#[test]
fn a_recipe_survives_json_with_every_bit() {
    let recipe = meant("", &["lr256=0.1234567890123456", "run.heartbeat_timeout=250ms"]).unwrap();
    let json = serde_json::to_string(&recipe).unwrap();
    assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe);
}

#[test]
fn a_plan_follows_from_recipe_and_data() {
    let recipe = meant("base = \"8x_v100_100e\"", &[]).unwrap();
    let plan = recipe.plan(1_281_167).unwrap();
    assert_eq!(
        (plan.shards.steps_per_epoch(), plan.schedule.total_steps),
        (1251, 125_100)
    );
    assert_eq!(
        (plan.schedule.warmup_steps, plan.schedule.peak_learning_rate),
        (12_510, 0.2)
    );
    assert_eq!(plan.shards.epoch(Step(1251)), 1);
    assert_eq!(
        recipe.plan(1_000),
        Err(PlanError::NoFullBatch {
            n_samples: 1_000,
            batch: 1_024
        })
    );
    let long = meant("steps = 3", &[]).unwrap();
    assert!(matches!(
        long.plan(1_281_167),
        Err(PlanError::WarmupTooLong { .. })
    ));
}

#[test]
fn the_ledger_is_set_with_and_without_its_table() {
    for set in ["ledger=full", "run.ledger=full", "ledger = \"full\""] {
        assert_eq!(meant("", &[set]).unwrap().run.ledger, LedgerDetail::Full, "{set}");
    }
    assert_eq!(meant("", &[]).unwrap().run.ledger, LedgerDetail::Brief);
}

#[test]
fn states_are_compared_at_every_so_many_steps_where_devices_hold_the_whole_state() {
    let checked = |sets: &[&str], step| meant("", sets).unwrap().is_replica_check(Step(step));
    assert!(checked(&[], 500) && checked(&[], 1_000) && !checked(&[], 501) && !checked(&[], 0));
    assert!(checked(&["run.replica_check=3"], 6) && !checked(&["run.replica_check=0"], 6));
    assert!(!checked(&["teacher_statistics=local"], 500));
}

#[test]
fn a_manifest_from_before_some_keys_of_the_run_means_the_defaults() {
    let recipe = meant("", &[]).unwrap();
    let mut json = serde_json::to_value(&recipe).unwrap();
    for key in [
        "replaced_limit",
        "restarts",
        "restart_window",
        "replica_check",
        "ledger",
    ] {
        json["run"].as_object_mut().unwrap().remove(key).unwrap();
    }
    assert_eq!(serde_json::from_value::<Recipe>(json).unwrap(), recipe);
}

#[test]
fn where_views_are_made_belongs_to_the_mathematics_and_changes_no_older_digest() {
    let cpu = meant("", &[]).unwrap();
    let device = meant("", &["augment_on=device"]).unwrap();
    assert_ne!(cpu.digest(), device.digest());
    let text = serde_json::to_string(&cpu).unwrap();
    assert!(!text.contains("augment_on"), "{text}");
    let read: Recipe = serde_json::from_str(&text).unwrap();
    assert_eq!(read, cpu);
}
