//! The view as it is seen and as keys change it, on a terminal of text.

use std::time::{Duration, Instant};

use m2t_common::evaluation::{EvaluationLine, Method, Side};
use m2t_common::manifest::CheckpointName;
use m2t_common::report::{CheckpointCost, CheckpointReport, Stage};
use m2t_common::status::{DeviceStatus, Event, MachineStatus, PhaseName, Progress, Status};
use m2t_common::{DeviceIndex, Generation, Rank, Step, Timestamp};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Style};

use super::draw::draw;
use super::keys::press;
use super::log::wrap;
use super::look::Look;
use super::view::{Dialogue, Reaction, View, Wish};

fn device(index: u32, ranks: std::ops::Range<u32>) -> DeviceStatus {
    DeviceStatus {
        index: DeviceIndex(index),
        kind: "cpu".to_owned(),
        shard: u64::from(ranks.start) * 16..u64::from(ranks.end) * 16,
        ranks: ranks.map(Rank).collect(),
        step: Step(128),
        data_wait: 0.031,
        bottleneck: None,
        slow_files: vec![],
    }
}

fn machine(name: &str, state: &str, devices: Vec<DeviceStatus>) -> MachineStatus {
    MachineStatus {
        name: name.parse().unwrap(),
        address: "10.0.0.1".to_owned(),
        state: state.to_owned(),
        silent_for: Duration::from_millis(400),
        devices,
    }
}

fn event(at: u64, kind: &str, text: &str) -> Event {
    Event {
        at: Timestamp(at),
        kind: kind.to_owned(),
        text: text.to_owned(),
    }
}

fn status() -> Status {
    Status {
        experiment: "demo".to_owned(),
        at: Timestamp(0),
        phase: PhaseName::Training,
        reason: "3 of 3 devices".to_owned(),
        generation: Generation(2),
        world: 4,
        batch_per_rank: 16,
        min_devices: 2,
        waits: vec![("heartbeat timeout".to_owned(), Duration::from_secs(3))],
        machines: vec![
            machine("a", "training", vec![device(0, 0..2), device(1, 2..3)]),
            machine("b", "training", vec![device(0, 3..4), device(1, 0..0)]),
        ],
        progress: Some(Progress {
            step: Step(128),
            total_steps: 1_240,
            epoch: 2,
            step_in_epoch: 4,
            steps_per_epoch: 62,
            loss: Some(3.214_56),
            learning_rate: 0.037_5,
            parameter_momentum: 0.991_2,
            statistics_momentum: 0.973,
            images_per_second: 212.34,
            data_wait: 0.031,
            bottleneck: Some(Stage::Decode),
            remaining: Some(Duration::from_secs(751)),
            replaced: 0,
        }),
        checkpoint: Some(CheckpointReport {
            name: CheckpointName::new(Step(124)),
            step: Step(124),
            state_digest: "0123456789abcdef0123456789abcdef".to_owned(),
            cost: CheckpointCost::default(),
        }),
        evaluations: vec![EvaluationLine {
            step: Step(124),
            epoch: 2,
            generation: Generation(1),
            encoder: Side::Teacher,
            method: Method::Knn,
            top1: 0.5625,
            top5: 0.9,
            n_correct: 225,
            n_correct5: 360,
            n_images: 400,
            n_memory: 4000,
            seconds: 1.5,
            settings: None,
        }],
        events: vec![
            event(45_290_000, "machine_ready", "machine b is ready to train"),
            event(
                45_295_000,
                "generation_ended",
                "generation 1 ended: the trainer of device b:1 failed: it was killed by signal 9",
            ),
            event(45_296_000, "generation_training", "generation 2 trains\x1b[2J"),
        ],
    }
}

/// The same some steps on.
fn at_step(step: u64, loss: f64) -> Status {
    let mut status = status();
    let progress = status.progress.as_mut().unwrap();
    (progress.step, progress.loss) = (Step(step), Some(loss));
    status
}

fn drawn(view: &mut View, (width, height): (u16, u16), now: Instant) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view, now)).unwrap();
    terminal.backend().buffer().clone()
}

/// The rows of a buffer, spaces at their ends cut.
fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let rows = buffer.content.chunks(width);
    let row = |cells: &[ratatui::buffer::Cell]| -> String {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect()
    };
    let rows: Vec<String> = rows.map(|cells| row(cells).trim_end().to_owned()).collect();
    rows.join("\n")
}

fn shown(view: &mut View, size: (u16, u16)) -> String {
    text(&drawn(view, size, Instant::now()))
}

fn type_keys(view: &mut View, codes: &[KeyCode]) -> Vec<Reaction> {
    let key = |code: &KeyCode| KeyEvent::new(*code, KeyModifiers::NONE);
    codes.iter().map(|code| press(view, key(code))).collect()
}

#[test]
fn a_training_run_fits_a_terminal_of_80_by_24() {
    let mut view = View::new(at_step(120, 3.5), Look::Plain);
    for (step, loss) in [(122, 3.3), (124, 3.4), (126, 3.1), (128, 3.214_56)] {
        view.see(at_step(step, loss));
    }
    let expected = "\
demo  ● training: 3 of 3 devices
generation 2, 4 ranks of 16 images (batch 64) on at least 2 devices
█████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 10.3 %, 12 min 31 s left
step 128 of 1240   epoch 3 of 20, step 4 of 62 in it
loss 3.2146   rate 0.037500   212.3 images/s   data wait 3.1 % (decode)
┌ loss ────────────────────────────────────────┐┌ worth, checkpoint, waits ────┐
│3.500│⠉⠑⠒⠒⠤⠤⢄⣀⣀    ⣀⣀⣀⣀⣀⠤⠤⠤⣀⣀                 ││teacher knn 56.25 %, epoch 2  │
│3.100│         ⠉⠉⠉⠉          ⠉⠉⠒⠒⠤⠤⣀⣀⣀⡠⠤⠤⠤⠤⠔⠒⠒││step-000000124                │
│     └────────────────────────────────────────││0123456789abcdef              │
│   120                                     128││heartbeat timeout 3.0 s       │
└──────────────────────────────────────────────┘└──────────────────────────────┘
┌▸2 machines, 3 of 4 devices host the 4 ranks; row 1 of 6 ─────────────────────┐
│machine         kind     ranks     step    data wait     state                █
│● a             2 dev    3 in all  128     3.1 %         training, 0.4 s ago  █
│●   0           cpu      0-1       128     3.1 %                              █
│●   1           cpu      2         128     3.1 %                              ║
└──────────────────────────────────────────────────────────────────────────────┘
┌ log ─────────────────────────────────────────────────────────────────────────┐
│12:34:50 machine b is ready to train                                          │
│12:34:55 generation 1 ended: the trainer of device b:1 failed: it was killed  │
│           by signal 9                                                        │
│12:34:56 generation 2 trains[2J                                               │
└──────────────────────────────────────────────────────────────────────────────┘
q quit  ↑↓ Tab scroll  g regroups  p pause  r resume  s stop  d drain";
    assert_eq!(shown(&mut view, (80, 24)), expected);
}

#[test]
fn a_run_that_waits_says_for_what_and_is_shown_in_every_size() {
    let waiting = Status {
        phase: PhaseName::Gathering,
        reason: "1 of 4 devices; waiting for 3".to_owned(),
        progress: None,
        checkpoint: None,
        evaluations: vec![],
        machines: vec![],
        events: vec![],
        ..status()
    };
    let mut view = View::new(waiting, Look::Colours);
    let seen = shown(&mut view, (80, 24));
    for expected in [
        "gathering: 1 of 4 devices; waiting for 3",
        "no machine yet",
        "no checkpoint yet",
    ] {
        assert!(seen.contains(expected), "{expected}\n{seen}");
    }
    view.see(status());
    for width in [1, 2, 7, 20, 40, 80, 250] {
        for height in [1, 2, 3, 8, 14, 20, 24, 40, 90] {
            for keys in [&[][..], &[KeyCode::Char('s')], &[KeyCode::Char('n')]] {
                type_keys(&mut view, keys);
                let buffer = drawn(&mut view, (width, height), Instant::now());
                assert_eq!((buffer.area.width, buffer.area.height), (width, height));
            }
        }
    }
}

#[test]
fn without_colours_there_are_none_and_with_them_there_are() {
    let colours = |look| {
        let mut view = View::new(status(), look);
        view.lose("connection refused".to_owned(), Instant::now());
        let buffer = drawn(&mut view, (80, 24), Instant::now());
        let is_coloured = |style: Style| {
            [style.fg, style.bg]
                .iter()
                .flatten()
                .any(|colour| *colour != Color::Reset)
        };
        buffer
            .content
            .iter()
            .filter(|cell| is_coloured(cell.style()))
            .count()
    };
    assert_eq!(colours(Look::Plain), 0);
    assert!(colours(Look::Colours) > 100);
}

#[test]
fn a_hundred_and_twenty_eight_ranks_are_scrolled_through() {
    let machines = (0..16).map(|m| {
        let devices = (0..8).map(|d| device(d, m * 8 + d..m * 8 + d + 1)).collect();
        machine(&format!("node-{m:02}"), "training", devices)
    });
    let large = Status {
        world: 128,
        machines: machines.collect(),
        ..status()
    };
    let mut view = View::new(large, Look::Plain);
    let top = shown(&mut view, (80, 24));
    assert!(
        top.contains("16 machines, 128 of 128 devices host the 128 ranks; row 1 of 144"),
        "{top}"
    );
    assert!(top.contains("node-00") && !top.contains("node-15"), "{top}");
    // Every row comes by, and each is seen once the selection is on it.
    for row in 0..144 {
        let (m, d) = (row / 9, row % 9);
        let seen = shown(&mut view, (80, 24));
        assert!(seen.contains(&format!("row {} of 144", row + 1)), "{seen}");
        if d > 0 {
            let rank = format!("{}", m * 8 + d - 1);
            let is_there = |line: &str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words
                    .windows(3)
                    .any(|words| words == [&(d - 1).to_string(), "cpu", &rank])
            };
            assert!(seen.lines().any(is_there), "rank {rank}\n{seen}");
        }
        type_keys(&mut view, &[KeyCode::Down]);
    }
    type_keys(&mut view, &[KeyCode::End]);
    let end = shown(&mut view, (80, 24));
    assert!(
        end.contains("row 144 of 144")
            && end
                .lines()
                .any(|line| line.split_whitespace().take(4).eq(["│●", "7", "cpu", "127"])),
        "{end}"
    );
    // What is selected is what is drained.
    type_keys(&mut view, &[KeyCode::PageUp, KeyCode::Char('d')]);
    assert_eq!(
        view.dialogue,
        Dialogue::Asking(Wish::Drain("node-14".parse().unwrap()))
    );
    type_keys(&mut view, &[KeyCode::Esc, KeyCode::Home]);
    assert!(shown(&mut view, (80, 24)).contains("row 1 of 144"));
}

#[test]
fn an_order_is_given_once_it_is_meant() {
    let mut view = View::new(status(), Look::Plain);
    for (key, wish) in [('p', Wish::Pause), ('r', Wish::Resume), ('s', Wish::Stop)] {
        for no in [
            KeyCode::Char('n'),
            KeyCode::Esc,
            KeyCode::Down,
            KeyCode::Char('q'),
        ] {
            assert_eq!(
                type_keys(&mut view, &[KeyCode::Char(key), no]),
                [Reaction::None, Reaction::None]
            );
            assert_eq!(view.dialogue, Dialogue::None);
        }
        type_keys(&mut view, &[KeyCode::Char(key)]);
        let asked = shown(&mut view, (80, 24));
        let first_words = wish.question().split(' ').take(3).collect::<Vec<_>>().join(" ");
        assert!(
            asked.contains(&first_words) && asked.contains("y yes   n no"),
            "{asked}"
        );
        assert_eq!(
            type_keys(&mut view, &[KeyCode::Char('y')]),
            [Reaction::Order(wish)]
        );
        assert!(shown(&mut view, (80, 24)).ends_with("asking the coordinator…"));
        view.hear(Err("the run is paused already".to_owned()));
        assert!(shown(&mut view, (80, 24)).ends_with("not done: the run is paused already"));
    }
    view.hear(Ok("pausing: at the next step boundary".to_owned()));
    assert!(shown(&mut view, (80, 24)).ends_with("pausing: at the next step boundary"));
    type_keys(&mut view, &[KeyCode::Esc]);
    assert!(shown(&mut view, (80, 24)).contains("q quit"));
    assert_eq!(type_keys(&mut view, &[KeyCode::Char('q')]), [Reaction::Quit]);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    type_keys(&mut view, &[KeyCode::Char('s')]);
    assert_eq!(press(&mut view, interrupt), Reaction::Quit);
}

#[test]
fn a_coordinator_that_is_gone_is_told_of_until_it_is_back() {
    let mut view = View::new(status(), Look::Plain);
    let since = Instant::now();
    view.lose("connection refused".to_owned(), since);
    view.lose("no route to it".to_owned(), since + Duration::from_secs(5));
    let later = since + Duration::from_secs(75);
    let seen = text(&drawn(&mut view, (80, 24), later));
    assert!(
        seen.contains("NO COORDINATOR for 1 min 15 s; training may go on. no route to it"),
        "{seen}"
    );
    assert!(seen.contains("● training"), "what was known stays\n{seen}");
    view.see(status());
    assert!(!shown(&mut view, (80, 24)).contains("NO COORDINATOR"));
}

#[test]
fn the_log_goes_on_where_it_was_scrolls_and_shows_regroups_alone() {
    let mut view = View::new(status(), Look::Plain);
    let mut newer = status();
    newer.events.remove(0);
    newer.events.push(event(
        45_300_000,
        "checkpoint_complete",
        "checkpoint step-000000124 is complete",
    ));
    view.see(newer.clone());
    view.see(newer);
    let log = |view: &mut View| {
        let seen = shown(view, (80, 60));
        let (_, log) = seen.split_once("log").unwrap();
        log.lines().filter(|line| line.contains(":")).count()
    };
    assert_eq!(log(&mut view), 4, "no event twice");
    type_keys(&mut view, &[KeyCode::Char('g')]);
    let seen = shown(&mut view, (80, 60));
    assert!(
        seen.contains("log: regroups") && !seen.contains("is ready to train"),
        "{seen}"
    );
    type_keys(
        &mut view,
        &[KeyCode::Char('g'), KeyCode::Tab, KeyCode::Home, KeyCode::Up],
    );
    let seen = shown(&mut view, (80, 24));
    assert!(
        seen.contains("lines more below") && seen.contains("12:34:50 machine b is ready"),
        "{seen}"
    );
    type_keys(&mut view, &[KeyCode::End]);
    assert!(shown(&mut view, (80, 24)).contains("step-000000124 is complete"));
}

#[test]
fn losses_that_a_resume_takes_back_are_taken_out_and_many_are_thinned() {
    let mut view = View::new(at_step(1, 4.0), Look::Plain);
    for step in 2..=5_000 {
        view.see(at_step(step, 3.0));
    }
    assert!(view.losses.points().len() <= 1024);
    assert!(view.losses.points().is_sorted());
    view.see(at_step(100, 2.5));
    assert_eq!(view.losses.points().last(), Some(&(100.0, 2.5)));
    view.see(at_step(101, f64::NAN));
    assert_eq!(view.losses.range().unwrap().0, 2.5);
}

#[test]
fn texts_are_parted_between_words_and_long_words_anywhere() {
    for (text, width, expected) in [
        ("one two three", 7, vec!["one two", "  three"]),
        ("", 5, vec![""]),
        ("abcdefgh", 4, vec!["abcd", "  ef", "  gh"]),
        ("a  b", 9, vec!["a  b"]),
        ("éé éé", 4, vec!["éé", "  éé"]),
        ("ab", 0, vec!["a", "  b"]),
    ] {
        assert_eq!(wrap(text, width, 2), expected, "{text:?}");
    }
}
