//! What becomes of the trainers, by tables.

use super::*;

/// A bench whose two trainers stand by, warm.
fn warm() -> Bench {
    let mut bench = Bench::admitted();
    bench.say(stand_by(0));
    for device in [0, 1] {
        bench.said(device, 0, News::Warm);
    }
    bench
}

fn rendezvous_known(generation: u64, boundary: Boundary) -> ToMachine {
    let rendezvous = Some(rendezvous());
    assign(
        generation,
        Work::Train(Group {
            rendezvous,
            boundary,
            ..all()
        }),
    )
}

fn finished() -> News {
    News::Finished {
        step: Step(9),
        state_digest: "d".to_owned(),
    }
}

#[test]
fn an_assignment_starts_trainers_and_a_repeated_one_nothing() {
    let mut bench = Bench::admitted();
    let effects = bench.say(train(3));
    assert_eq!(acts(&effects), ["spawn 0#1 start 3", "spawn 1#1 start 3"]);
    let Effect::Spawn(_, ToTrainer::Start(start)) = &effects[1] else {
        panic!("{effects:?}");
    };
    assert_eq!((start.device.to_string().as_str(), start.n_samples), ("a:1", 100));
    assert_eq!(start.start_from.step(), Step(5));
    assert_eq!(start.address.to_string(), "10.0.0.1");
    assert_eq!(bench.say(train(3)), []);
}

#[test]
fn each_state_meets_each_work() {
    type State = (&'static str, fn() -> Bench);
    let states: [State; 6] = [
        ("absent", Bench::admitted),
        ("preparing", || {
            let mut bench = Bench::admitted();
            bench.say(stand_by(1));
            bench
        }),
        ("warm", || {
            let mut bench = warm();
            bench.say(stand_by(1));
            bench
        }),
        ("in 1", Bench::training),
        ("holding 1", || {
            let mut bench = Bench::training();
            for device in [0, 1] {
                bench.said(device, 1, held(7));
            }
            bench
        }),
        ("over 1", || {
            let mut bench = Bench::training();
            for device in [0, 1] {
                bench.said(device, 1, failed("it said so"));
            }
            bench
        }),
    ];
    // What device 0 does upon StandBy 2, Hold 1, Train 2, Idle 2.
    let table = [
        (
            "absent",
            ["spawn 0#1 prepare", "spawn 0#1 prepare", "spawn 0#1 start 2", ""],
        ),
        ("preparing", ["", "", "", "end 0#1"]),
        ("warm", ["", "", "tell 0#1 start 2", "end 0#1"]),
        (
            "in 1",
            ["tell 0#1 hold 1", "tell 0#1 hold 1", "tell 0#1 hold 1", "end 0#1"],
        ),
        ("holding 1", ["", "", "tell 0#1 start 2", "end 0#1"]),
        ("over 1", ["end 0#1", "end 0#1", "end 0#1", "end 0#1"]),
    ];
    for ((name, state), (row, expected)) in states.into_iter().zip(table) {
        assert_eq!(name, row);
        for (message, expected) in [stand_by(2), hold(1), train(2), idle(2)]
            .into_iter()
            .zip(expected)
        {
            let mut bench = state();
            let effects = bench.say(message.clone());
            let of_device_0: Vec<String> = acts(&effects)
                .into_iter()
                .filter(|act| act.contains(" 0#"))
                .collect();
            assert_eq!(of_device_0.join(", "), expected, "{name} upon {message:?}");
            // Said again, nothing more is done.
            assert_eq!(
                acts(&bench.say(message.clone())),
                [""; 0],
                "{name} upon {message:?} again"
            );
        }
    }
}

#[test]
fn a_trainer_that_prepares_is_started_when_it_is_warm() {
    let mut bench = Bench::admitted();
    bench.say(stand_by(0));
    assert_eq!(acts(&bench.say(train(1))), [""; 0]);
    assert_eq!(acts(&bench.said(0, 0, News::Warm)), ["tell 0#1 start 1"]);
}

#[test]
fn trainers_hear_of_the_meeting_point_and_of_the_boundary_once() {
    let mut bench = Bench::training();
    let effects = bench.say(rendezvous_known(1, Boundary::GoOn));
    assert_eq!(acts(&effects), ["tell 0#1 join 1", "tell 1#1 join 1"]);
    assert_eq!(bench.say(rendezvous_known(1, Boundary::GoOn)), []);
    let effects = bench.say(rendezvous_known(1, Boundary::Hold));
    assert_eq!(
        acts(&effects),
        ["tell 0#1 boundary 1 Hold", "tell 1#1 boundary 1 Hold"]
    );
    let effects = bench.say(rendezvous_known(1, Boundary::Stop));
    assert_eq!(
        acts(&effects),
        ["tell 0#1 boundary 1 Stop", "tell 1#1 boundary 1 Stop"]
    );
    // A late one takes nothing back.
    assert_eq!(bench.say(train(1)), []);
    // A daemon that hears everything at once says everything at once.
    let mut late = Bench::admitted();
    let effects = late.say(rendezvous_known(1, Boundary::Stop));
    let expected = ["spawn 0#1 start 1", "tell 0#1 join 1", "tell 0#1 boundary 1 Stop"];
    assert_eq!(acts(&effects)[..3], expected);
}

#[test]
fn a_trainer_leaves_the_older_group_before_it_is_started_in_the_newer() {
    let mut bench = Bench::training();
    let effects = bench.say(train(2));
    assert_eq!(acts(&effects), ["tell 0#1 hold 1", "tell 1#1 hold 1"]);
    let effects = bench.said(0, 1, held(7));
    assert_eq!(effects[0], news(1, 0, held(7)));
    assert_eq!(acts(&effects), ["tell 0#1 start 2"]);
    // One that lost its state says so, and is started all the same.
    assert_eq!(acts(&bench.said(1, 1, News::Warm)), ["tell 1#1 start 2"]);
    // What was still on its way is handed on as what it is, and changes nothing.
    assert_eq!(bench.said(0, 1, stepped(7)), [news(1, 0, stepped(7))]);
    assert_eq!(bench.said(0, 1, held(7)), [news(1, 0, held(7))]);
    assert_eq!(acts(&bench.say(hold(2))), ["tell 0#1 hold 2", "tell 1#1 hold 2"]);
}

#[test]
fn one_that_holds_for_longer_than_its_generation_counts_as_warm() {
    let mut bench = Bench::training();
    bench.say(hold(1));
    for device in [0, 1] {
        bench.said(device, 1, held(7));
    }
    let effects = bench.say(assign(2, Work::Train(without_a1())));
    assert_eq!(acts(&effects), ["tell 0#1 start 2"]);
    assert_eq!(effects.last(), Some(&news(0, 1, News::Warm)));
    // The older group was left too late for the assignment.
    let mut bench = Bench::training();
    bench.say(stand_by(2));
    let expected = [news(1, 0, held(7)), news(0, 0, News::Warm)];
    assert_eq!(bench.said(0, 1, held(7)), expected);
    assert_eq!(acts(&bench.say(train(3))), ["tell 0#1 start 3"]);
}

#[test]
fn a_trainer_that_is_deaf_to_hold_is_killed_in_time_and_has_failed() {
    let mut bench = Bench::training();
    bench.say(hold(1));
    let asked = bench.now;
    bench.said(0, 1, held(7));
    // Said again, it has no longer.
    bench.now = bench.now.after(WITHIN / 2);
    bench.say(hold(1));
    while bench.now < asked.after(WITHIN) {
        let effects = bench.tick();
        let is_time = bench.now == asked.after(WITHIN);
        assert_eq!(acts(&effects), if is_time { vec!["kill 1#1"] } else { vec![] });
    }
    // Whatever it says after all.
    assert_eq!(bench.said(1, 1, held(7)), []);
    let effects = bench.exit(1, 1);
    let reason = "the trainer of device 1 did not answer within 3 s and was killed";
    assert_eq!(effects[0], news(1, 1, failed(reason)));
    assert_eq!(acts(&effects), ["spawn 1#2 prepare"]);
    assert_eq!(bench.said(1, 0, News::Warm), [news(0, 1, News::Warm)]);
}

#[test]
fn a_trainer_that_dies_while_it_should_hold_or_holds_has_failed() {
    for answers in [false, true] {
        let mut bench = Bench::training();
        bench.say(hold(1));
        if answers {
            bench.said(1, 1, held(7));
        }
        let effects = bench.exit(1, 1);
        assert_eq!(effects[0], news(1, 1, failed("it fell over")));
        assert_eq!(acts(&effects), ["spawn 1#2 prepare"]);
        // The coordinator, coming back, hears that it had failed and that another stands by.
        bench.said(1, 0, News::Warm);
        let repeated = bench.reconnect();
        let of_device_1 = repeated[repeated.len() - 2..].to_vec();
        assert_eq!(
            of_device_1,
            [news(1, 1, failed("it fell over")), news(0, 1, News::Warm)]
        );
    }
}

#[test]
fn a_group_that_breaks_by_itself_ends_nobody() {
    let mut bench = Bench::training();
    let broken = News::Held {
        step: Step(7),
        broken: Some("a peer is gone".to_owned()),
    };
    assert_eq!(bench.said(0, 1, broken.clone()), [news(1, 0, broken.clone())]);
    // It needs not be told to hold, and what it repeats is known.
    assert_eq!(acts(&bench.say(hold(1))), ["tell 1#1 hold 1"]);
    assert_eq!(bench.said(0, 1, broken), []);
    // A checkpoint that was still being written is news.
    let late = News::CheckpointFailed {
        step: Step(7),
        reason: "full".to_owned(),
    };
    assert_eq!(bench.said(0, 1, late.clone()), [news(1, 0, late)]);
}

#[test]
fn one_that_failed_in_a_generation_is_not_started_again_in_it() {
    let mut bench = Bench::training();
    assert_eq!(bench.exit(1, 0), [news(1, 0, failed("it fell over"))]);
    assert_eq!(bench.say(train(1)), []);
    assert_eq!(
        acts(&bench.say(train(2))),
        ["spawn 0#2 start 2", "tell 1#1 hold 1"]
    );
    // After a last word the exit says nothing new.
    let stopped = News::Stopped { step: Step(9) };
    for last in [stopped, finished(), failed("it said so")] {
        let mut bench = Bench::training();
        assert_eq!(bench.said(0, 1, last.clone()), [news(1, 0, last)]);
        assert_eq!(bench.exit(1, 0), []);
        assert_eq!(bench.say(train(1)), []);
    }
}

#[test]
fn one_that_stands_by_and_dies_is_started_again_each_time_a_little_later() {
    let mut bench = Bench::admitted();
    bench.say(stand_by(4));
    for (serial, delay) in (1..).zip([0, 500, 1_000, 2_000, 4_000, 8_000, 8_000]) {
        let died = bench.now;
        let mut effects = bench.exit(serial, 1);
        assert_eq!(effects[0], news(4, 1, failed("it fell over")));
        while acts(&effects).is_empty() {
            effects = bench.tick();
        }
        assert_eq!(acts(&effects), [format!("spawn 1#{} prepare", serial + 1)]);
        assert_eq!(bench.now, died.after(Duration::from_millis(delay)));
    }
    // A step mends its name.
    bench.said(1, 0, News::Warm);
    bench.say(train(5));
    bench.said(1, 5, stepped(6));
    bench.exit(8, 1);
    assert_eq!(acts(&bench.say(hold(5))), ["spawn 1#9 prepare"]);
}

#[test]
fn one_that_waits_to_be_started_again_is_started_for_a_group_at_once() {
    let mut bench = Bench::admitted();
    bench.say(stand_by(0));
    bench.exit(1, 1);
    bench.exit(2, 1);
    assert_eq!(acts(&bench.say(train(1))), ["spawn 1#3 start 1"]);
}

#[test]
fn an_older_generation_is_refused() {
    let mut bench = Bench::admitted();
    bench.say(train(5));
    let refusal = Notice::OldGeneration {
        offered: Generation(4),
        seen: Generation(5),
    };
    for work in [train(4), hold(4), stand_by(4), idle(4)] {
        let effects = bench.give_all(Input::Message(work));
        assert_eq!(effects, [Effect::Notify(refusal.clone())]);
    }
}

#[test]
fn an_idle_machine_runs_nothing_and_who_does_not_end_is_killed() {
    let mut bench = Bench::training();
    assert_eq!(bench.say(idle(2)), ends(1));
    let asked = bench.now;
    assert_eq!(bench.said(0, 1, stepped(7)), []);
    assert_eq!(bench.exit(1, 0), []);
    assert_eq!(acts(&bench.tick()), ["kill 1#1"]);
    assert_eq!(bench.now, asked.after(GRACE));
    assert_eq!(acts(&bench.say(train(3))), ["spawn 0#2 start 3"]);
    assert_eq!(acts(&bench.exit(1, 1)), ["spawn 1#2 start 3"]);
}

#[test]
fn a_trainer_that_breaks_the_protocol_is_ended_and_has_failed() {
    let reason = "nonsense".to_owned();
    let mut bench = Bench::training();
    let effects = bench.trainer(1, 0, TrainerEvent::SpokeNonsense { reason });
    assert_eq!(effects, [news(1, 0, failed("nonsense")), Effect::End(key(1, 0))]);
    assert_eq!(bench.exit(1, 0), []);
    // It cannot know of a generation that it was never started in.
    let effects = Bench::training().said(0, 2, stepped(6));
    assert_eq!(acts(&effects), ["end 0#1"]);
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
    bench.said(0, 1, News::Ready { step: Step(5) });
    assert_eq!(bench.give(Input::Disconnected), []);
    assert_eq!(bench.said(0, 1, stepped(6)), []);
    assert_eq!(bench.exit(1, 1), []);
    let effects = bench.reconnect();
    let Effect::Send(FromMachine::Hello(hello)) = &effects[0] else {
        panic!("{effects:?}");
    };
    let living: Vec<(u32, u64)> = hello
        .trainers
        .iter()
        .map(|(device, generation)| (device.0, generation.0))
        .collect();
    assert_eq!(living, [(0, 1)]);
    let expected = [
        Effect::Send(FromMachine::Ready(facts())),
        news(1, 0, News::Ready { step: Step(5) }),
        news(1, 0, stepped(6)),
        news(1, 1, failed("it fell over")),
    ];
    assert_eq!(effects[1..], expected);
    // A repeated welcome is answered in the same way.
    let effects = bench.say(ToMachine::Welcome(Box::new(welcome("/out"))));
    assert_eq!(effects, expected);
}

#[test]
fn who_stands_by_says_so_to_each_coordinator() {
    let mut bench = warm();
    let effects = bench.reconnect();
    assert!(
        matches!(&effects[0], Effect::Send(FromMachine::Hello(hello)) if hello.trainers.is_empty()),
        "{effects:?}"
    );
    let expected = [
        Effect::Send(FromMachine::Ready(facts())),
        news(0, 0, News::Warm),
        news(0, 1, News::Warm),
    ];
    assert_eq!(effects[1..], expected);
}

#[test]
fn a_daemon_that_was_started_again_begins_with_what_it_is_told() {
    // Its journal of nothing takes any generation, and its processes are new.
    for (message, expected) in [
        (train(7), "spawn 0#1 start 7"),
        (hold(7), "spawn 0#1 prepare"),
        (stand_by(7), "spawn 0#1 prepare"),
    ] {
        assert_eq!(acts(&Bench::admitted().say(message))[0], expected);
    }
}

#[test]
fn another_run_starts_from_nothing() {
    let mut bench = Bench::admitted();
    bench.say(train(9));
    bench.give(Input::Disconnected);
    bench.connect();
    let mut effects = bench.say(ToMachine::Welcome(Box::new(welcome("/other"))));
    assert_eq!(effects.pop(), Some(Effect::Survey(place("/other"))));
    assert_eq!(effects, ends(1));
    bench.exit(1, 0);
    bench.exit(1, 1);
    let answer = bench.give(Input::Surveyed(place("/other"), Ok(found())));
    assert_eq!(answer, [Effect::Send(FromMachine::Ready(facts()))]);
    assert_eq!(
        acts(&bench.say(train(1))),
        ["spawn 0#2 start 1", "spawn 1#2 start 1"]
    );
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
        bench.say(idle(1));
        let exited = TrainerEvent::Exited { how: how(), manner };
        let effects = bench.give_all(Input::Trainer(key(1, 0), exited));
        assert_eq!(told(&effects), expected, "{manner:?}");
    }
    // A kill of ours explains itself.
    let mut bench = Bench::training();
    bench.say(idle(1));
    bench.tick();
    let manner = Manner::Killed;
    let exited = TrainerEvent::Exited { how: how(), manner };
    let effects = bench.give_all(Input::Trainer(key(1, 0), exited));
    assert!(!told(&effects), "{effects:?}");
}

#[test]
fn a_machine_that_leaves_keeps_its_trainers_until_it_is_dismissed_and_starts_no_more() {
    let mut bench = Bench::training();
    let asked = bench.give(Input::StopRequested);
    assert_eq!(asked, [Effect::Send(FromMachine::Leaving)]);
    bench.say(rendezvous_known(1, Boundary::Hold));
    assert_eq!(bench.said(0, 1, held(9)), [news(1, 0, held(9))]);
    assert_eq!(acts(&bench.exit(1, 1)), [""; 0]);
    assert_eq!(acts(&bench.say(hold(1))), [""; 0]);
    let effects = bench.say(ToMachine::Dismiss(Outcome::Stopped));
    assert_eq!(acts(&effects), ["end 0#1"]);
    assert_eq!(bench.exit(1, 0), [Effect::Exit(Ending::Stopped)]);
}

#[test]
fn a_finished_daemon_ends_when_its_coordinator_stays_away() {
    let mut bench = Bench::training();
    bench.give(Input::Disconnected);
    let lost = bench.now;
    for device in [0, 1] {
        bench.said(device, 1, finished());
        bench.exit(1, device);
    }
    // A connection that leads nowhere is no coordinator.
    bench.connect();
    bench.give(Input::Disconnected);
    assert_eq!(bench.supervisor.next_deadline(), Some(lost.after(TIMEOUT * 40)));
    assert_eq!(bench.tick(), [Effect::Exit(Ending::Finished)]);
    // One that trains, or is heard, stays.
    let mut bench = Bench::training();
    bench.said(0, 1, finished());
    bench.give(Input::Disconnected);
    assert_eq!(bench.supervisor.next_deadline(), None);
}
