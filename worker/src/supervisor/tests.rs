//! The supervisor by tables: a state, an input, the effects.

use std::path::PathBuf;
use std::time::Duration;

use m2t_common::Recipe;
use m2t_common::machine_link::{DataFacts, DeviceFacts, Group, Outcome, Work};
use m2t_common::manifest::CheckpointName;
use m2t_common::recipe::resolve;
use m2t_common::recipe::written::Source;
use m2t_common::report::{News, Rendezvous, StepReport};
use m2t_common::trainer_link::ToTrainer;
use m2t_common::{DeviceId, Placement, Step};

use super::seat::GRACE;
use super::*;

const TIMEOUT: Duration = Duration::from_millis(3_600);

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
        bench.say(assign(1, false, None));
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

    fn trainer(&mut self, generation: u64, device: u32, event: TrainerEvent) -> Vec<Effect> {
        self.give(Input::Trainer(key(generation, device), event))
    }

    fn exit(&mut self, generation: u64, device: u32) -> Vec<Effect> {
        self.trainer(
            generation,
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

fn key(generation: u64, device: u32) -> TrainerKey {
    TrainerKey {
        generation: Generation(generation),
        device: DeviceIndex(device),
    }
}

fn rendezvous() -> Rendezvous {
    Rendezvous(b"10.0.0.1:999".to_vec())
}

fn group(drain: bool, rendezvous: Option<Rendezvous>) -> Group {
    let device = |machine: &str, index| DeviceId {
        machine: machine.parse().unwrap(),
        index: DeviceIndex(index),
    };
    let devices = [device("a", 0), device("a", 1), device("b", 0), device("b", 1)];
    Group {
        placement: Placement::place(4, &devices, &BTreeMap::new()).unwrap(),
        n_samples: 100,
        start_from: Some(CheckpointName::new(Step(5))),
        rendezvous,
        drain,
    }
}

fn assign(generation: u64, drain: bool, rendezvous: Option<Rendezvous>) -> ToMachine {
    let work = Work::Train(group(drain, rendezvous));
    ToMachine::Assign(Assignment {
        generation: Generation(generation),
        work,
    })
}

fn idle(generation: u64) -> ToMachine {
    ToMachine::Assign(Assignment {
        generation: Generation(generation),
        work: Work::Idle,
    })
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
        replaced: vec![],
    })
}

/// Generation and device of each spawn.
fn spawned(effects: &[Effect]) -> Vec<(u64, u32)> {
    let spawned = effects.iter().filter_map(|effect| match effect {
        Effect::Spawn(key, _) => Some((key.generation.0, key.device.0)),
        _ => None,
    });
    spawned.collect()
}

fn ends(generation: u64) -> Vec<Effect> {
    vec![Effect::End(key(generation, 0)), Effect::End(key(generation, 1))]
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
    let effects = bench.say(assign(1, false, None));
    assert!(
        effects
            .iter()
            .all(|e| !matches!(e, Effect::Spawn(_, start) if start.data.as_os_str() != "/mine")),
        "{effects:?}"
    );
}

#[test]
fn an_assignment_starts_the_trainers_and_a_repeated_one_nothing() {
    let mut bench = Bench::admitted();
    let effects = bench.say(assign(3, false, None));
    assert_eq!(spawned(&effects), [(3, 0), (3, 1)]);
    let Effect::Spawn(_, start) = &effects[1] else {
        panic!("{effects:?}");
    };
    assert_eq!((start.device.to_string().as_str(), start.n_samples), ("a:1", 100));
    assert_eq!(start.start_from, Some(CheckpointName::new(Step(5))));
    assert_eq!(start.address.to_string(), "10.0.0.1");
    assert_eq!(bench.say(assign(3, false, None)), []);
}

#[test]
fn trainers_hear_of_the_meeting_point_and_of_the_drain_once() {
    let mut bench = Bench::training();
    let join = ToTrainer::Join {
        rendezvous: rendezvous(),
    };
    let joins = [0, 1].map(|device| Effect::Tell(key(1, device), join.clone()));
    assert_eq!(bench.say(assign(1, false, Some(rendezvous()))), joins);
    assert_eq!(bench.say(assign(1, false, Some(rendezvous()))), []);
    let drains = [0, 1].map(|device| Effect::Tell(key(1, device), ToTrainer::Drain));
    assert_eq!(bench.say(assign(1, true, Some(rendezvous()))), drains);
    assert_eq!(bench.say(assign(1, true, Some(rendezvous()))), []);
    // A daemon that hears everything at once says everything at once.
    let mut late = Bench::admitted();
    let effects = late.say(assign(1, true, Some(rendezvous())));
    assert_eq!(effects.len(), 6);
    assert_eq!(
        effects[1..3],
        [
            Effect::Tell(key(1, 0), join),
            Effect::Tell(key(1, 0), ToTrainer::Drain)
        ]
    );
}

#[test]
fn a_newer_generation_waits_until_the_older_trainer_is_gone() {
    let mut bench = Bench::training();
    assert_eq!(bench.say(assign(2, false, None)), ends(1));
    assert_eq!(spawned(&bench.exit(1, 1)), [(2, 1)]);
    assert_eq!(spawned(&bench.exit(1, 0)), [(2, 0)]);
}

#[test]
fn a_trainer_that_does_not_end_is_killed() {
    let mut bench = Bench::training();
    bench.say(assign(2, false, None));
    bench.exit(1, 0);
    let asked = bench.now;
    let effects = bench.tick();
    assert_eq!(effects, [Effect::Kill(key(1, 1))]);
    assert_eq!(bench.now, asked.after(GRACE));
    assert_eq!(spawned(&bench.exit(1, 1)), [(2, 1)]);
}

#[test]
fn an_older_generation_is_refused() {
    let mut bench = Bench::admitted();
    bench.say(assign(5, false, None));
    let refusal = Notice::OldGeneration {
        offered: Generation(4),
        seen: Generation(5),
    };
    assert_eq!(
        bench.give_all(Input::Message(assign(4, false, None))),
        [Effect::Notify(refusal)]
    );
    assert_eq!(bench.say(idle(4)), []);
}

#[test]
fn an_idle_machine_and_one_without_ranks_run_nothing() {
    let mut bench = Bench::training();
    assert_eq!(bench.say(idle(2)), ends(1));
    bench.exit(1, 0);
    assert_eq!(bench.exit(1, 1), []);
    let mut group = group(false, None);
    group
        .placement
        .devices
        .retain(|placed| placed.device.machine.as_str() == "b");
    let others = Assignment {
        generation: Generation(3),
        work: Work::Train(group),
    };
    assert_eq!(bench.say(ToMachine::Assign(others)), []);
}

#[test]
fn news_are_handed_on_as_they_come() {
    let mut bench = Bench::training();
    for said in [News::Ready { step: Step(5) }, stepped(6)] {
        let effects = bench.trainer(1, 0, TrainerEvent::Said(said.clone()));
        assert_eq!(effects, [news(1, 0, said)]);
    }
    // Those of a trainer that is ending are not.
    bench.say(idle(2));
    assert_eq!(bench.trainer(1, 0, TrainerEvent::Said(stepped(7))), []);
}

#[test]
fn a_trainer_that_is_gone_without_a_last_word_has_failed() {
    let mut bench = Bench::training();
    assert_eq!(bench.exit(1, 0), [news(1, 0, failed("it fell over"))]);
    // It is not started again in this generation, whatever is repeated.
    assert_eq!(bench.say(assign(1, false, None)), []);
    // After a last word the exit says nothing new.
    for last in [
        News::Stopped { step: Step(9) },
        News::Finished {
            step: Step(9),
            state_digest: "d".to_owned(),
        },
        failed("it said so"),
    ] {
        let mut bench = Bench::training();
        bench.trainer(1, 0, TrainerEvent::Said(last));
        assert_eq!(bench.exit(1, 0), []);
    }
}

#[test]
fn a_trainer_that_speaks_nonsense_is_ended_and_reported() {
    let mut bench = Bench::training();
    let effects = bench.trainer(
        1,
        0,
        TrainerEvent::SpokeNonsense {
            reason: "nonsense".to_owned(),
        },
    );
    assert_eq!(effects, [news(1, 0, failed("nonsense")), Effect::End(key(1, 0))]);
    assert_eq!(bench.exit(1, 0), []);
}

#[test]
fn a_trainer_that_closed_its_link_must_be_gone_soon() {
    let mut bench = Bench::training();
    assert_eq!(bench.trainer(1, 0, TrainerEvent::LinkClosed), []);
    bench.now = bench.now.after(GRACE);
    assert!(bench.give(Input::Tick).contains(&Effect::Kill(key(1, 0))));
    assert_eq!(bench.exit(1, 0), [news(1, 0, failed("it fell over"))]);
}

#[test]
fn a_lost_connection_stops_nobody_and_what_was_missed_is_said_again() {
    let mut bench = Bench::training();
    bench.trainer(1, 0, TrainerEvent::Said(News::Ready { step: Step(5) }));
    assert_eq!(bench.give(Input::Disconnected), []);
    assert_eq!(bench.trainer(1, 0, TrainerEvent::Said(stepped(6))), []);
    assert_eq!(bench.exit(1, 1), []);
    assert!(matches!(
        bench.connect()[..],
        [Effect::Send(FromMachine::Hello(_))]
    ));
    let effects = bench.say(ToMachine::Welcome(Box::new(welcome("/out"))));
    let expected = [
        Effect::Send(FromMachine::Ready(facts())),
        news(1, 0, News::Ready { step: Step(5) }),
        news(1, 0, stepped(6)),
        news(1, 1, failed("it fell over")),
    ];
    assert_eq!(effects, expected);
}

#[test]
fn a_repeated_welcome_is_answered_again() {
    let mut bench = Bench::training();
    bench.trainer(1, 0, TrainerEvent::Said(News::Ready { step: Step(5) }));
    for _ in 0..2 {
        let effects = bench.say(ToMachine::Welcome(Box::new(welcome("/out"))));
        let ready = Effect::Send(FromMachine::Ready(facts()));
        assert_eq!(effects, [ready, news(1, 0, News::Ready { step: Step(5) })]);
    }
}

#[test]
fn another_run_starts_from_nothing() {
    let mut bench = Bench::admitted();
    bench.say(assign(9, false, None));
    bench.give(Input::Disconnected);
    bench.connect();
    let mut effects = bench.say(ToMachine::Welcome(Box::new(welcome("/other"))));
    assert_eq!(effects.pop(), Some(Effect::Survey(place("/other"))));
    assert_eq!(effects, ends(9));
    bench.exit(9, 0);
    bench.exit(9, 1);
    let answer = bench.give(Input::Surveyed(place("/other"), Ok(found())));
    assert_eq!(answer, [Effect::Send(FromMachine::Ready(facts()))]);
    assert_eq!(spawned(&bench.say(assign(1, false, None))), [(1, 0), (1, 1)]);
}

#[test]
fn a_trainer_that_was_gone_before_it_was_asked_to_end_is_told_of() {
    let how = || "it ran out of memory".to_owned();
    let told = |effects: &[Effect]| {
        let is_cause = |effect: &Effect| matches!(effect, Effect::Notify(Notice::TrainerFailed { reason, .. }) if *reason == how());
        effects.iter().any(is_cause)
    };
    for (manner, expected) in [
        (Manner::Plain, false),
        (Manner::Killed, true),
        (Manner::Abnormal, true),
    ] {
        let mut bench = Bench::training();
        // The coordinator heard of a peer first.
        bench.say(idle(1));
        let exited = TrainerEvent::Exited { how: how(), manner };
        let effects = bench.give_all(Input::Trainer(key(1, 0), exited));
        assert_eq!(told(&effects), expected, "{manner:?}");
    }
    // A kill of ours explains itself.
    let mut bench = Bench::training();
    bench.say(idle(1));
    bench.tick();
    bench.tick();
    let manner = Manner::Killed;
    let exited = TrainerEvent::Exited { how: how(), manner };
    let effects = bench.give_all(Input::Trainer(key(1, 0), exited));
    assert!(!told(&effects), "{effects:?}");
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
fn leaving_waits_for_the_drain_and_the_dismissal() {
    let mut bench = Bench::training();
    assert_eq!(
        bench.give(Input::StopRequested),
        [Effect::Send(FromMachine::Leaving)]
    );
    bench.say(assign(1, true, Some(rendezvous())));
    for device in [0, 1] {
        let stopped = News::Stopped { step: Step(9) };
        let effects = bench.trainer(1, device, TrainerEvent::Said(stopped.clone()));
        assert_eq!(effects, [news(1, device, stopped)]);
        assert_eq!(bench.exit(1, device), []);
    }
    let effects = bench.say(ToMachine::Dismiss(Outcome::Stopped));
    assert_eq!(effects, [Effect::Exit(Ending::Stopped)]);
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
        assert_eq!(bench.say(assign(2, false, None)), []);
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
