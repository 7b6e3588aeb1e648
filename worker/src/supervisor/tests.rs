//! The supervisor by tables: a state, an input, the effects. Here the bench, the link and the course; what becomes of the trainers
//! lies in `lives`, and what holds in any history in `histories`.

mod histories;
mod lives;

use std::path::PathBuf;
use std::time::Duration;

use m2t_common::Recipe;
use m2t_common::machine_link::{Boundary, DataFacts, DeviceFacts, Group, Outcome, StartFrom, Work};
use m2t_common::manifest::CheckpointName;
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::report::{News, Rendezvous, StepReport};
use m2t_common::trainer_link::{Said, ToTrainer};
use m2t_common::{DeviceId, Placement, Step};

use super::seat::GRACE;
use super::*;

const TIMEOUT: Duration = Duration::from_millis(3_600);
/// How long a trainer may take to hold.
const WITHIN: Duration = Duration::from_secs(3);

/// A supervisor of machine `a` with two devices, and its clock.
struct Bench {
    supervisor: Supervisor,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        let devices = [0, 1].map(|i| DeviceFacts {
            index: DeviceIndex(i),
            kind: "cpu".to_owned(),
        });
        let supervisor = Supervisor::new(Identity {
            machine: "a".parse().unwrap(),
            version: "1".to_owned(),
            instance: 7,
            devices: devices.to_vec(),
            data: None,
        });
        Self {
            supervisor,
            now: Timestamp(1_000_000),
        }
    }

    /// Connected, welcomed, surveyed.
    fn admitted() -> Self {
        let mut bench = Self::new();
        bench.connect();
        bench.say(ToMachine::Welcome(Box::new(welcome("/out"))));
        bench.give(Input::Surveyed(place("/out"), Ok(found())));
        bench
    }

    /// Admitted, both trainers of generation 1 run.
    fn training() -> Self {
        let mut bench = Self::admitted();
        bench.say(train(1));
        bench
    }

    /// What is done upon `input`, notices left out.
    fn give(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = self.give_all(input);
        effects.retain(|effect| !matches!(effect, Effect::Notify(_)));
        effects
    }

    fn give_all(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.supervisor.handle(self.now, input, &mut effects);
        effects
    }

    fn say(&mut self, message: ToMachine) -> Vec<Effect> {
        self.give(Input::Message(message))
    }

    fn connect(&mut self) -> Vec<Effect> {
        self.give(Input::Connected {
            address: [10, 0, 0, 1].into(),
        })
    }

    fn trainer(&mut self, serial: u64, device: u32, event: TrainerEvent) -> Vec<Effect> {
        self.give(Input::Trainer(key(serial, device), event))
    }

    /// The newest trainer of `device` says `news` of `generation`.
    fn said(&mut self, device: u32, generation: u64, news: News) -> Vec<Effect> {
        let generation = Generation(generation);
        let key = self.supervisor.seats[&DeviceIndex(device)].key().unwrap();
        self.give(Input::Trainer(key, TrainerEvent::Said(Said { generation, news })))
    }

    /// Connected and welcomed again, after the stream ended.
    fn reconnect(&mut self) -> Vec<Effect> {
        self.give(Input::Disconnected);
        let mut effects = self.connect();
        effects.extend(self.say(ToMachine::Welcome(Box::new(welcome("/out")))));
        effects
    }

    fn exit(&mut self, serial: u64, device: u32) -> Vec<Effect> {
        self.trainer(
            serial,
            device,
            TrainerEvent::Exited {
                how: "it fell over".to_owned(),
                manner: Manner::Plain,
            },
        )
    }

    /// Jumps to the next deadline and ticks there.
    fn tick(&mut self) -> Vec<Effect> {
        self.now = self.supervisor.next_deadline().unwrap();
        self.give(Input::Tick)
    }
}

fn recipe() -> Recipe {
    resolve(Source::Preset("8x_2080ti_100e"), &[], Some(4)).unwrap()
}

fn welcome(output: &str) -> Welcome {
    Welcome {
        recipe: recipe(),
        data: PathBuf::from("/data"),
        output: PathBuf::from(output),
        bound: None,
        probe: "p".to_owned(),
        heartbeat_timeout: TIMEOUT,
    }
}

fn place(output: &str) -> Place {
    Place {
        data: PathBuf::from("/data"),
        output: PathBuf::from(output),
        probe: "p".to_owned(),
        bound: None,
    }
}

fn facts() -> DataFacts {
    DataFacts {
        n_samples: 100,
        fingerprint: "f".to_owned(),
    }
}

fn found() -> Found {
    Found {
        facts: facts(),
        difference: None,
    }
}

fn key(serial: u64, device: u32) -> TrainerKey {
    TrainerKey {
        device: DeviceIndex(device),
        serial,
    }
}

fn rendezvous() -> Rendezvous {
    Rendezvous(b"10.0.0.1:999".to_vec())
}

fn device(machine: &str, index: u32) -> DeviceId {
    DeviceId {
        machine: machine.parse().unwrap(),
        index: DeviceIndex(index),
    }
}

fn group(devices: &[DeviceId]) -> Group {
    Group {
        placement: Placement::place(4, devices, &BTreeMap::new()).unwrap(),
        n_samples: 100,
        start_from: StartFrom::Checkpoint(CheckpointName::new(Step(5))),
        rendezvous: None,
        boundary: Boundary::GoOn,
    }
}

/// All devices of `a` and `b`.
fn all() -> Group {
    group(&[device("a", 0), device("a", 1), device("b", 0), device("b", 1)])
}

/// Device 1 of `a` is left out.
fn without_a1() -> Group {
    group(&[device("a", 0), device("b", 0), device("b", 1)])
}

fn assign(generation: u64, work: Work) -> ToMachine {
    ToMachine::Assign(Assignment {
        generation: Generation(generation),
        work,
    })
}

fn train(generation: u64) -> ToMachine {
    assign(generation, Work::Train(all()))
}

fn hold(generation: u64) -> ToMachine {
    assign(generation, Work::Hold { within: WITHIN })
}

fn stand_by(generation: u64) -> ToMachine {
    assign(generation, Work::StandBy)
}

fn idle(generation: u64) -> ToMachine {
    assign(generation, Work::Idle)
}

fn news(generation: u64, device: u32, news: News) -> Effect {
    let (generation, device) = (Generation(generation), DeviceIndex(device));
    Effect::Send(FromMachine::Device {
        generation,
        device,
        news,
    })
}

fn failed(reason: &str) -> News {
    News::Failed {
        reason: reason.to_owned(),
    }
}

fn stepped(step: u64) -> News {
    News::Stepped(StepReport {
        step: Step(step),
        loss: 4.0,
        loss_by_rank: vec![4.0],
        gradient_norm: 1.0,
        duration: Duration::from_millis(10),
        data_wait: Duration::ZERO,
        bottleneck: None,
        replaced: vec![],
        state_digest: None,
        samples: vec![],
    })
}

fn held(step: u64) -> News {
    News::Held {
        step: Step(step),
        broken: None,
    }
}

fn ends(serial: u64) -> Vec<Effect> {
    vec![Effect::End(key(serial, 0)), Effect::End(key(serial, 1))]
}

/// The effects in short, without what is sent: `spawn 0#1 start 3`, `tell 1#1 hold 2`.
fn acts(effects: &[Effect]) -> Vec<String> {
    let line = |line: &ToTrainer| match line {
        ToTrainer::Prepare(_) => "prepare".to_owned(),
        ToTrainer::Start(start) => format!("start {}", start.generation),
        ToTrainer::Join { generation, .. } => format!("join {generation}"),
        ToTrainer::Boundary { generation, boundary } => format!("boundary {generation} {boundary:?}"),
        ToTrainer::Hold { generation } => format!("hold {generation}"),
    };
    let act = |effect: &Effect| match effect {
        Effect::Spawn(key, first) => Some(format!("spawn {}#{} {}", key.device, key.serial, line(first))),
        Effect::Tell(key, said) => Some(format!("tell {}#{} {}", key.device, key.serial, line(said))),
        Effect::End(key) => Some(format!("end {}#{}", key.device, key.serial)),
        Effect::Kill(key) => Some(format!("kill {}#{}", key.device, key.serial)),
        Effect::Send(_) | Effect::Survey(_) | Effect::Notify(_) | Effect::Exit(_) => None,
    };
    effects.iter().filter_map(act).collect()
}

#[test]
fn a_daemon_introduces_itself_looks_around_and_is_ready() {
    let mut bench = Bench::new();
    assert_eq!(bench.supervisor.next_deadline(), None);
    let hello = bench.connect();
    assert!(
        matches!(&hello[..], [Effect::Send(FromMachine::Hello(hello))]
            if hello.instance == 7 && hello.devices.len() == 2 && hello.address.to_string() == "10.0.0.1"),
        "{hello:?}"
    );
    let survey = bench.say(ToMachine::Welcome(Box::new(welcome("/out"))));
    assert_eq!(survey, [Effect::Survey(place("/out"))]);
    let answer = bench.give(Input::Surveyed(place("/out"), Ok(found())));
    assert_eq!(answer, [Effect::Send(FromMachine::Ready(facts()))]);
}

#[test]
fn a_run_bound_meanwhile_to_these_data_needs_no_second_look() {
    let mut bench = Bench::admitted();
    let mut bound = welcome("/out");
    bound.bound = Some(facts());
    let answer = bench.say(ToMachine::Welcome(Box::new(bound)));
    assert_eq!(answer, [Effect::Send(FromMachine::Ready(facts()))]);
}

#[test]
fn a_run_bound_to_other_data_has_them_compared_and_is_told_the_difference() {
    let mut bench = Bench::admitted();
    let bound = DataFacts {
        n_samples: 101,
        fingerprint: "g".to_owned(),
    };
    let mut other = welcome("/out");
    other.bound = Some(bound.clone());
    let compare = Place {
        bound: Some(bound),
        ..place("/out")
    };
    let effects = bench.say(ToMachine::Welcome(Box::new(other)));
    assert_eq!(effects, [Effect::Survey(compare.clone())]);
    let difference = "n01/x.jpg is missing here".to_owned();
    let found = Found {
        facts: facts(),
        difference: Some(difference.clone()),
    };
    let answer = bench.give(Input::Surveyed(compare, Ok(found)));
    let facts = facts();
    assert_eq!(
        answer,
        [Effect::Send(FromMachine::OtherData { facts, difference })]
    );
}

#[test]
fn what_the_survey_finds_amiss_is_said() {
    let mut bench = Bench::new();
    bench.connect();
    bench.say(ToMachine::Welcome(Box::new(welcome("/out"))));
    let reason = "no folder /data".to_owned();
    let answer = bench.give(Input::Surveyed(place("/out"), Err(reason.clone())));
    assert_eq!(answer, [Effect::Send(FromMachine::Unable { reason })]);
    // Asked again, it looks again: the folder may be there now.
    bench.give(Input::Disconnected);
    bench.connect();
    assert_eq!(
        bench.say(ToMachine::Welcome(Box::new(welcome("/out")))),
        [Effect::Survey(place("/out"))]
    );
}

#[test]
fn its_own_data_folder_wins() {
    let mut bench = Bench::new();
    bench.supervisor.identity.data = Some(PathBuf::from("/mine"));
    bench.connect();
    let survey = bench.say(ToMachine::Welcome(Box::new(welcome("/out"))));
    let mine = Place {
        data: PathBuf::from("/mine"),
        ..place("/out")
    };
    assert_eq!(survey, [Effect::Survey(mine.clone())]);
    bench.give(Input::Surveyed(mine, Ok(found())));
    let effects = bench.say(train(1));
    let Effect::Spawn(_, ToTrainer::Start(start)) = &effects[0] else {
        panic!("{effects:?}");
    };
    assert_eq!(start.data.as_os_str(), "/mine");
}

#[test]
fn signs_of_life_fill_the_silence() {
    let mut bench = Bench::admitted();
    let start = bench.now;
    assert_eq!(bench.tick(), [Effect::Send(FromMachine::Heartbeat)]);
    assert_eq!(bench.now, start.after(TIMEOUT / 3));
    // An early tick does nothing.
    assert_eq!(bench.give(Input::Tick), []);
    bench.give(Input::Disconnected);
    assert_eq!(bench.supervisor.next_deadline(), None);
}

#[test]
fn leaving_is_bounded_and_said_again_after_a_reconnection() {
    let mut bench = Bench::training();
    bench.give(Input::StopRequested);
    let asked = bench.now;
    bench.give(Input::Disconnected);
    bench.connect();
    let effects = bench.say(ToMachine::Welcome(Box::new(welcome("/out"))));
    assert_eq!(effects.last(), Some(&Effect::Send(FromMachine::Leaving)));
    bench.now = asked.after(TIMEOUT * 40 + TIMEOUT);
    let effects = bench.give(Input::Tick);
    assert_eq!(effects[..2], ends(1));
    bench.exit(1, 0);
    assert_eq!(bench.exit(1, 1), [Effect::Exit(Ending::Stopped)]);
}

#[test]
fn a_daemon_that_nobody_hears_leaves_by_itself() {
    let mut bench = Bench::new();
    assert_eq!(bench.give(Input::StopRequested), [Effect::Exit(Ending::Stopped)]);
    let mut bench = Bench::admitted();
    bench.give(Input::StopRequested);
    let asked = bench.now;
    bench.give(Input::Disconnected);
    assert_eq!(bench.tick(), [Effect::Exit(Ending::Stopped)]);
    assert_eq!(bench.now, asked.after(TIMEOUT));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut bench = Bench::training();
    bench.give(Input::StopRequested);
    let kills = [0, 1].map(|device| Effect::Kill(key(1, device)));
    let effects = bench.give(Input::StopRequested);
    assert_eq!(
        effects,
        [kills.to_vec(), vec![Effect::Exit(Ending::Stopped)]].concat()
    );
}

#[test]
fn a_dismissed_or_refused_daemon_ends_its_trainers_first() {
    let refusal = "the name a is taken".to_owned();
    for (message, ending) in [
        (ToMachine::Dismiss(Outcome::Finished), Ending::Finished),
        (ToMachine::Dismiss(Outcome::Stopped), Ending::Stopped),
        (ToMachine::Dismiss(Outcome::Failed), Ending::Lost),
        (
            ToMachine::Refuse {
                reason: refusal.clone(),
            },
            Ending::Refused { reason: refusal },
        ),
    ] {
        let mut bench = Bench::training();
        assert_eq!(bench.say(message), ends(1));
        // Nothing starts a trainer any more.
        assert_eq!(bench.say(train(2)), []);
        assert_eq!(bench.exit(1, 0), []);
        assert_eq!(bench.exit(1, 1), [Effect::Exit(ending)]);
    }
}

#[test]
fn events_of_the_past_do_nothing() {
    let mut bench = Bench::training();
    assert_eq!(bench.exit(0, 0), []);
    assert_eq!(bench.trainer(1, 9, TrainerEvent::LinkClosed), []);
    assert_eq!(bench.give(Input::Surveyed(place("/elsewhere"), Ok(found()))), []);
    let mut stranger = Bench::new();
    stranger.connect();
    assert_eq!(
        stranger.give_all(Input::Message(idle(1))),
        [Effect::Notify(Notice::NotWelcomed)]
    );
}
