//! Who keeps, who receives, and what is left when it is cut off; with groups that are played.

use std::sync::Mutex;

use m2t_common::placement::{Homes, Placement};
use m2t_common::recipe::written::Source;
use m2t_common::recipe::{Recipe, resolve};
use m2t_common::{DeviceIndex, Generation, Rank};
use m2t_torch::collective::Solo;
use tch::Device;

use super::*;

const RANKS: [Rank; 1] = [Rank(0)];
const DONATION: Donation = Donation {
    root: 0,
    step: Step(5),
};

fn recipe() -> Recipe {
    let toml = "arch = \"resnet18\"\nchannels = 4\nstem = \"small\"\nhidden_dim = 8\nlow_dim = 4\npixels = 16\n\
                world = 1\nbatch = 4\nlr256 = 2.0\nsteps = 3\nwarmup_epochs = 0\n";
    let name = "donation";
    resolve(Source::Experiment { name, toml }, &[], None).unwrap()
}

/// A state of which every value is `value`.
fn state(value: f64, step: u64) -> State {
    let mut state = State::blank(&recipe(), &RANKS, Device::Cpu).unwrap();
    for mut vector in vectors(&state) {
        let _ = vector.fill_(value);
    }
    state.step = Step(step);
    state
}

fn values(state: &State) -> Vec<f64> {
    let ends = vectors(state).into_iter().flat_map(|vector| {
        let last = vector.numel() as i64 - 1;
        [0, last].map(|i| vector.double_value(&[i]))
    });
    ends.collect()
}

/// A group seen from one device. Others may need the state; a broadcast from elsewhere fills the tensor with sevens.
struct Played {
    index: usize,
    others_need: bool,
    broken_after: usize,
    broadcasts: Mutex<usize>,
}

fn played(index: usize, others_need: bool) -> Played {
    Played {
        index,
        others_need,
        broken_after: usize::MAX,
        broadcasts: Mutex::new(0),
    }
}

impl Collective for Played {
    fn size(&self) -> usize {
        3
    }

    fn index(&self) -> usize {
        self.index
    }

    fn tensors_on(&self) -> Option<Device> {
        None
    }

    fn all_reduce(&self, tensor: &Tensor, op: Op) -> Result<Handle, TorchError> {
        if self.others_need {
            let _ = tensor.shallow_clone().fill_(1.0);
        }
        Solo::default().all_reduce(tensor, op)
    }

    fn broadcast(&self, tensor: &Tensor, root: usize) -> Result<Handle, TorchError> {
        let mut broadcasts = self.broadcasts.lock().unwrap();
        *broadcasts += 1;
        if *broadcasts > self.broken_after {
            return Err(TorchError::Aborted);
        }
        if root != self.index {
            let _ = tensor.shallow_clone().fill_(7.0);
        }
        Solo::default().broadcast(tensor, root)
    }

    fn barrier(&self) -> Result<Handle, TorchError> {
        Solo::default().barrier()
    }

    fn working(&self) -> Result<(), TorchError> {
        Ok(())
    }

    fn abort(&self) {}
}

fn share(kept: &mut Option<State>, group: &Played) -> Result<(), TorchError> {
    DONATION.share(kept, || State::blank(&recipe(), &RANKS, Device::Cpu), group)
}

#[test]
fn nothing_is_sent_where_all_have_it() {
    let group = played(1, false);
    let mut kept = Some(state(3.0, 5));
    share(&mut kept, &group).unwrap();
    assert_eq!(*group.broadcasts.lock().unwrap(), 0);
    assert!(values(&kept.unwrap()).iter().all(|v| *v == 3.0));
}

#[test]
fn whoever_is_new_or_behind_gets_all_of_it() {
    for before in [None, Some(state(3.0, 4))] {
        let mut kept = before;
        share(&mut kept, &played(1, false)).unwrap();
        let state = kept.unwrap();
        assert_eq!(state.step, Step(5));
        assert!(values(&state).iter().all(|v| *v == 7.0), "{:?}", values(&state));
    }
}

#[test]
fn donor_and_keeper_are_left_as_they_were() {
    for index in [0, 2] {
        for broken_after in [usize::MAX, 3, 0] {
            let group = Played {
                broken_after,
                ..played(index, true)
            };
            let mut kept = Some(state(3.0, 5));
            assert_eq!(share(&mut kept, &group).is_ok(), broken_after == usize::MAX);
            assert!(*group.broadcasts.lock().unwrap() > 0);
            assert!(values(&kept.unwrap()).iter().all(|v| *v == 3.0));
        }
    }
}

#[test]
fn a_receiver_that_is_cut_off_has_no_state() {
    for broken_after in [0, 3, 6] {
        let group = Played {
            broken_after,
            ..played(1, true)
        };
        let mut kept = Some(state(3.0, 4));
        assert!(share(&mut kept, &group).is_err());
        assert!(kept.is_none());
    }
}

fn device(index: u32) -> DeviceId {
    DeviceId {
        machine: "here".parse().unwrap(),
        index: DeviceIndex(index),
    }
}

fn start() -> Start {
    Start {
        generation: Generation(2),
        device: device(0),
        placement: Placement::place(1, &[device(0)], &Homes::new()).unwrap(),
        recipe: recipe(),
        data: "data".into(),
        n_samples: 100,
        output: "output".into(),
        start_from: StartFrom::Initial,
        address: "127.0.0.1".parse().unwrap(),
    }
}

#[test]
fn a_device_with_a_flipped_bit_is_seen_by_its_digest_and_takes_the_donors_state() {
    let sound = state(7.0, 5);
    let flawed = state(7.0, 5);
    let digest = |state: &State| state.digest().unwrap();
    assert_eq!(digest(&flawed), digest(&sound));
    let whole = sound.snapshot(1, &Solo::default()).unwrap();
    assert_eq!(digest(&sound), whole.digest(), "it is the one of a checkpoint");
    let mut bits = flawed.momentum.view_dtype(Kind::Int).get(17);
    bits += 1;
    assert_ne!(digest(&flawed), digest(&sound));
    assert_eq!(flawed.step, sound.step);

    let mut start = start();
    let mut kept = Some(flawed);
    for (distrusted, mended) in [(1, false), (0, true)] {
        start.start_from = StartFrom::Donor {
            device: device(2),
            step: Step(5),
            distrusted: [device(distrusted)].into(),
        };
        drop_distrusted(&start, &mut kept);
        share(&mut kept, &played(1, false)).unwrap();
        assert_eq!(digest(kept.as_ref().unwrap()) == digest(&sound), mended);
    }
}

#[test]
fn who_cannot_give_is_told_why() {
    let mut start = start();
    let check =
        |start: &Start, donor, kept| Donation::check(start, &device(donor), Step(5), kept).unwrap_err();
    assert!(Donation::check(&start, &device(0), Step(5), Some(Step(5))).is_ok());
    for (donor, kept, said) in [
        (1, Some(Step(5)), "here:1 is not in the placement"),
        (0, Some(Step(4)), "is at step 4"),
        (0, None, "has none"),
    ] {
        let error = check(&start, donor, kept).to_string();
        assert!(error.contains(said), "{error}");
    }
    start.recipe.training.teacher_statistics = TeacherStatistics::Local;
    let error = check(&start, 0, Some(Step(5)));
    assert_eq!(error, DonateError::Local(device(0)));
}
