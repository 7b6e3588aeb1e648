//! The schedules against the published numbers: learning rate and both momenta of each published run, at chosen steps of
//! ImageNet (N = 1,281,167). `schedules.csv` was made from the published implementation.

#![expect(clippy::print_stdout, reason = "the worst error is to be seen")]

use m2t_common::Step;
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{OptimizerKind, presets, resolve};

const IMAGENET: u64 = 1_281_167;
const TOLERANCE: f64 = 1e-12;

#[test]
fn every_preset_keeps_the_published_schedule() {
    let mut unseen = presets::names();
    let mut worst = 0f64;
    for line in include_str!("schedules.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [
            run,
            batch,
            _epochs,
            steps_per_epoch,
            step,
            lr,
            m,
            alpha,
            optimizer,
            weight_decay,
        ] = fields[..]
        else {
            panic!("{line:?} has not ten fields");
        };
        unseen.retain(|name| name != run);
        let recipe = resolve(Source::Preset(run), &[], None).unwrap();
        let plan = recipe.plan(IMAGENET).unwrap();
        assert_eq!(plan.shards.global_batch(), batch.parse::<u64>().unwrap(), "{run}");
        assert_eq!(
            plan.shards.steps_per_epoch(),
            steps_per_epoch.parse::<u64>().unwrap(),
            "{run}"
        );
        let expected = if optimizer == "lars" {
            OptimizerKind::Lars
        } else {
            OptimizerKind::Sgd
        };
        assert_eq!(recipe.training.optimizer, expected, "{run}");
        assert_eq!(
            recipe.training.weight_decay,
            weight_decay.parse::<f64>().unwrap(),
            "{run}"
        );
        let rates = plan.schedule.at(Step(step.parse().unwrap()));
        for (name, got, expected) in [
            ("learning rate", rates.learning_rate, lr),
            ("parameter momentum", rates.parameter_momentum, m),
            ("statistics momentum", rates.statistics_momentum, alpha),
        ] {
            let expected: f64 = expected.parse().unwrap();
            let error = if expected == 0.0 {
                got.abs()
            } else {
                ((got - expected) / expected).abs()
            };
            assert!(
                error <= TOLERANCE,
                "{run} at step {step}: {name} is {got}, published {expected}"
            );
            worst = worst.max(error);
        }
    }
    assert!(unseen.is_empty(), "no published numbers for {unseen:?}");
    println!("schedules: worst relative error {worst:.1e}");
}
