//! The step as a transaction: broken off at each point before its commit, then done again, it leaves the digest of a
//! run in which nothing broke.

use std::sync::atomic::{AtomicI64, Ordering};

use m2t_common::recipe::written::Source;
use m2t_common::recipe::{Dtype, Reduction, resolve};
use m2t_torch::TorchError;
use m2t_torch::collective::{Handle, Op, Solo};
use tch::Device;

use super::*;

const WORLD: u32 = 3;
const N_STEPS: u64 = 3;

fn recipe(statistics: TeacherStatistics, reduction: Reduction) -> Recipe {
    let toml = "arch = \"resnet18\"\nchannels = 4\nstem = \"small\"\nhidden_dim = 8\nlow_dim = 4\npixels = 16\n\
                world = 3\nbatch = 12\nlr256 = 2.0\nsteps = 3\nwarmup_epochs = 0\n";
    let mut recipe = resolve(
        Source::Experiment {
            name: "transaction",
            toml,
        },
        &[],
        None,
    )
    .unwrap();
    recipe.training.teacher_statistics = statistics;
    recipe.training.reduction = reduction;
    recipe
}

/// A group of one whose operations fail when a count runs out.
#[derive(Debug)]
struct Breaking(AtomicI64, Solo);

impl Breaking {
    fn operation(&self) -> Result<(), TorchError> {
        match self.0.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(TorchError::Libtorch("broken on purpose".to_owned())),
            _ => Ok(()),
        }
    }
}

impl Collective for Breaking {
    fn size(&self) -> usize {
        1
    }

    fn index(&self) -> usize {
        0
    }

    fn tensors_on(&self) -> Option<Device> {
        None
    }

    fn all_reduce(&self, tensor: &Tensor, op: Op) -> Result<Handle, TorchError> {
        self.operation()?;
        self.1.all_reduce(tensor, op)
    }

    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Handle, TorchError> {
        self.operation()?;
        self.1.broadcast(tensor, root)
    }

    fn barrier(&self) -> Result<Handle, TorchError> {
        self.operation()?;
        self.1.barrier()
    }

    fn working(&self) -> Result<(), TorchError> {
        self.1.working()
    }

    fn abort(&self) {
        self.1.abort();
    }
}

/// A device that hosts all ranks, and the counter of its group.
struct Bench {
    trainer: Trainer,
    group: Arc<Breaking>,
    schedule: Schedule,
}

impl Bench {
    fn new(recipe: &Recipe) -> Self {
        m2t_torch::set_threads(1);
        let ranks: Vec<Rank> = (0..WORLD).map(Rank).collect();
        let state = State::initial(recipe, &ranks, Device::Cpu).unwrap();
        let group = Arc::new(Breaking(AtomicI64::new(-1), Solo::default()));
        let trainer = Trainer::new(recipe, &ranks, state, Arc::clone(&group) as Arc<dyn Collective>).unwrap();
        Self {
            trainer,
            group,
            schedule: recipe.plan(100).unwrap().schedule,
        }
    }

    fn batch(&self) -> Vec<(Rank, Images)> {
        let step = self.trainer.state.step.0;
        let image = |rank: u32, view: u64| {
            let mut stream = m2t_common::random::Stream::new("transaction", &[step, u64::from(rank), view]);
            let values: Vec<f32> = (0..4 * 3 * 16 * 16).map(|_| stream.normal() as f32).collect();
            Tensor::from_slice(&values).view([4, 3, 16, 16])
        };
        (0..WORLD)
            .map(|rank| (Rank(rank), Images::Views([image(rank, 0), image(rank, 1)])))
            .collect()
    }

    fn step(&mut self) -> Result<Committed, Broken> {
        self.trainer.step(&self.batch(), &self.schedule, Boundary::GoOn)
    }

    fn digest(&self) -> String {
        self.trainer
            .state
            .snapshot(WORLD, &Solo::default())
            .unwrap()
            .digest()
    }

    fn finish_run(&mut self) -> String {
        while self.trainer.state.step.0 < N_STEPS {
            self.step().unwrap();
        }
        self.digest()
    }

    /// Lets the `n`-th operation from now on fail; the number of operations left over tells whether it came to that.
    fn break_at(&self, n: i64) {
        self.group.0.store(n, Ordering::SeqCst);
    }
}

/// Runs to the end, with `attempt` broken off in the middle of the run.
fn with_an_aborted_step(recipe: &Recipe, attempt: impl Fn(&mut Bench)) -> String {
    let mut bench = Bench::new(recipe);
    bench.step().unwrap();
    let before = bench.digest();
    attempt(&mut bench);
    bench.break_at(-1);
    assert_eq!(bench.digest(), before, "an aborted step changed the state");
    bench.finish_run()
}

fn every_way() -> Vec<Recipe> {
    let ways = [
        (TeacherStatistics::Global, Reduction::Exact),
        (TeacherStatistics::Global, Reduction::Float),
        (TeacherStatistics::Local, Reduction::Exact),
    ];
    let mut ways = ways
        .map(|(statistics, reduction)| recipe(statistics, reduction))
        .to_vec();
    let mut mixed = ways[0].clone();
    mixed.training.dtype = Dtype::Bfloat16;
    ways.push(mixed);
    ways
}

#[test]
fn a_step_dropped_between_its_parts_never_was() {
    for recipe in every_way() {
        let calm = Bench::new(&recipe).finish_run();
        for n_lanes in 0..=WORLD as usize {
            let dropped_after_lanes = |bench: &mut Bench| {
                let (batch, mut pending) = (bench.batch(), bench.trainer.begin());
                for (rank, views) in &batch[..n_lanes] {
                    bench
                        .trainer
                        .lane(&mut pending, *rank, views, &bench.schedule)
                        .unwrap();
                }
            };
            assert_eq!(
                with_an_aborted_step(&recipe, dropped_after_lanes),
                calm,
                "after {n_lanes} lanes"
            );
        }
        let dropped_before_commit = |bench: &mut Bench| {
            let (batch, mut pending) = (bench.batch(), bench.trainer.begin());
            for (rank, views) in &batch {
                bench
                    .trainer
                    .lane(&mut pending, *rank, views, &bench.schedule)
                    .unwrap();
            }
            drop(bench.trainer.finish(pending, Boundary::GoOn).unwrap());
        };
        assert_eq!(
            with_an_aborted_step(&recipe, dropped_before_commit),
            calm,
            "before the commit"
        );
    }
}

#[test]
fn a_step_whose_group_breaks_at_any_operation_never_was() {
    for recipe in every_way() {
        let calm = Bench::new(&recipe).finish_run();
        let mut n_operations = 0;
        loop {
            let mut went_through = false;
            let mut bench = Bench::new(&recipe);
            bench.step().unwrap();
            let before = bench.digest();
            bench.break_at(n_operations);
            match bench.step() {
                Ok(_) => went_through = true,
                Err(error) => assert!(error.to_string().contains("broken on purpose"), "{error}"),
            }
            bench.break_at(-1);
            if went_through {
                break;
            }
            assert_eq!(bench.digest(), before, "broken at operation {n_operations}");
            assert_eq!(bench.finish_run(), calm, "broken at operation {n_operations}");
            n_operations += 1;
        }
        // Gradients and the round, each with maxima and integers, or each one float sum.
        let expected = if recipe.training.reduction == Reduction::Exact {
            4
        } else {
            2
        };
        assert_eq!(n_operations, expected);
    }
}

fn views(images: &mut Images) -> &mut Views {
    match images {
        Images::Views(views) => views,
        Images::Labelled { .. } | Images::Features { .. } => panic!("these steps are of pretraining"),
    }
}

#[test]
fn a_step_of_bad_images_is_refused_by_rank_and_never_was() {
    for recipe in every_way() {
        let calm = Bench::new(&recipe).finish_run();
        let not_finite = |bench: &mut Bench| {
            let mut batch = bench.batch();
            let _ = views(&mut batch[1].1)[0].fill_(f64::NAN);
            let error = bench
                .trainer
                .step(&batch, &bench.schedule, Boundary::GoOn)
                .unwrap_err();
            assert!(
                matches!(&error, Broken::NotFinite { ranks, .. } if ranks == &[Rank(1)]),
                "{error}"
            );
        };
        assert_eq!(with_an_aborted_step(&recipe, not_finite), calm);
        let misshapen = |bench: &mut Bench| {
            let mut batch = bench.batch();
            views(&mut batch[2].1)[1] = Tensor::zeros([4, 3, 8, 8], (Kind::Float, Device::Cpu));
            let error = bench
                .trainer
                .step(&batch, &bench.schedule, Boundary::GoOn)
                .unwrap_err();
            assert!(matches!(&error, Broken::Images { rank: Rank(2), .. }), "{error}");
        };
        assert_eq!(with_an_aborted_step(&recipe, misshapen), calm);
    }
}

#[test]
fn a_wish_for_the_boundary_reaches_the_commit_and_changes_nothing_else() {
    let recipe = recipe(TeacherStatistics::Global, Reduction::Exact);
    let mut calm = Bench::new(&recipe);
    assert_eq!(calm.step().unwrap().boundary, Boundary::GoOn);
    for wish in [Boundary::Hold, Boundary::Stop] {
        let mut bench = Bench::new(&recipe);
        let batch = bench.batch();
        let committed = bench.trainer.step(&batch, &bench.schedule, wish).unwrap();
        assert_eq!(committed.boundary, wish);
        assert_eq!(bench.digest(), calm.digest());
    }
}

#[test]
fn a_state_restored_from_its_snapshot_goes_on_to_the_same_bits() {
    for recipe in every_way() {
        let mut whole = Bench::new(&recipe);
        whole.step().unwrap();
        let snapshot = whole.trainer.state.snapshot(WORLD, &Solo::default()).unwrap();
        let mut resumed = Bench::new(&recipe);
        resumed.trainer.state.restore(&snapshot).unwrap();
        assert_eq!(resumed.digest(), whole.digest());
        assert_eq!(resumed.finish_run(), whole.finish_run());
    }
}
