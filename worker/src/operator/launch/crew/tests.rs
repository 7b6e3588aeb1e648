//! What a launcher decides, from news to acts.

use clap::Parser;

use super::*;
use crate::operator::launch::{LaunchOptions, hosts};

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    options: LaunchOptions,
}

fn crew() -> Crew {
    let typed = "m2t hosts.txt -f 8x_v100_100e --data /data --output /runs/one";
    let options = Typed::try_parse_from(typed.split(' ')).map_err(|e| e.to_string());
    let hosts = hosts::read("me@a cpu:1\nb cpu:2 --data /fast").unwrap();
    Crew::new(Plan::new(options.unwrap().options, hosts).unwrap())
}

/// Acts in short: `NUMBER run ARGUMENTS`, `NUMBER stop`, `NUMBER kill`, `finish CODE`; what is said is left out.
fn short(acts: Vec<Act>) -> Vec<String> {
    let word = |act| match act {
        Act::Say(_) => None,
        Act::Finish(code) => Some(format!("finish {code}")),
        Act::Ask(number, Ask::Run(seat)) => Some(format!("{number} run {}", seat.arguments.join(" "))),
        Act::Ask(number, Ask::Stop) => Some(format!("{number} stop")),
        Act::Ask(number, Ask::Kill) => Some(format!("{number} kill")),
    };
    acts.into_iter().filter_map(word).collect()
}

fn listening() -> News {
    News::Said("listening on 0.0.0.0:7117".to_owned())
}

/// One that trains.
fn running(now: Instant) -> Crew {
    let mut crew = crew();
    for number in 0..3 {
        crew.take(now, number, News::Greeted);
    }
    assert_eq!(short(crew.take(now, 0, listening())).len(), 2);
    crew
}

#[test]
fn daemons_start_once_all_are_reached_and_the_coordinator_listens() {
    let now = Instant::now();
    let mut crew = crew();
    assert!(short(crew.take(now, 2, News::Greeted)).is_empty());
    assert!(short(crew.take(now, 0, News::Greeted)).is_empty());
    let coordinator = short(crew.take(now, 1, News::Greeted));
    assert_eq!(
        coordinator,
        ["0 run --experiment 8x_v100_100e --data /data --output /runs/one --listen 0.0.0.0:7117"]
    );
    crew.take(now, 0, News::Token("secret".to_owned()));
    // A daemon's line means nothing.
    assert!(short(crew.take(now, 1, listening())).is_empty());
    let acts = crew.take(now, 0, listening());
    let tokens = acts.iter().filter_map(|act| match act {
        Act::Ask(_, Ask::Run(seat)) => seat.token.as_deref(),
        _ => None,
    });
    assert_eq!(tokens.collect::<Vec<_>>(), ["secret", "secret"]);
    assert!(!format!("{:?}", short(acts.clone())).contains("secret"));
    assert_eq!(
        short(acts),
        [
            "1 run --coordinator a:7117 --name a --devices cpu:1",
            "2 run --coordinator a:7117 --name b --devices cpu:2 --data /fast"
        ]
    );
    // A coordinator that was started again says it again.
    assert!(short(crew.take(now, 0, listening())).is_empty());
}

#[test]
fn a_host_that_is_refused_at_first_begins_nothing() {
    let now = Instant::now();
    let mut crew = crew();
    crew.take(now, 0, News::Greeted);
    assert_eq!(
        short(crew.take(now, 2, News::Refused("no route".to_owned()))),
        ["finish 2"]
    );
}

#[test]
fn the_launch_ends_with_the_run_and_with_its_code() {
    let now = Instant::now();
    let mut crew = running(now);
    assert!(short(crew.take(now, 1, News::Ended(0))).is_empty());
    assert!(short(crew.take(now, 0, News::Ended(0))).is_empty());
    assert_eq!(short(crew.take(now, 2, News::Ended(0))), ["finish 0"]);
}

#[test]
fn ctrl_c_stops_the_coordinator_and_once_more_kills_all() {
    let now = Instant::now();
    let mut crew = running(now);
    assert_eq!(short(crew.interrupt(now)), ["0 stop"]);
    crew.take(now, 1, News::Ended(4));
    assert_eq!(short(crew.interrupt(now)), ["0 kill", "2 kill"]);
    crew.take(now, 0, News::Ended(3));
    assert_eq!(short(crew.take(now, 2, News::Ended(3))), ["finish 3"]);
    // Before anything runs it just ends.
    assert_eq!(short(self::crew().interrupt(now)), ["finish 4"]);
}

#[test]
fn daemons_that_outlive_the_coordinator_are_told_then_killed_then_named() {
    let now = Instant::now();
    let mut crew = running(now);
    crew.take(now, 1, News::Ended(0));
    crew.take(now, 0, News::Ended(0));
    let first = crew.deadline().unwrap();
    assert!(short(crew.tick(now)).is_empty());
    assert_eq!(short(crew.tick(first)), ["2 stop"]);
    let second = crew.deadline().unwrap();
    assert_eq!(short(crew.tick(second)), ["2 kill"]);
    let third = crew.deadline().unwrap();
    let acts = crew.tick(third);
    let said = format!("{acts:?}");
    assert!(said.contains("b: what becomes of m2t-worker"), "{said}");
    assert_eq!(short(acts), ["finish 0"]);
}

#[test]
fn a_refused_daemon_stops_the_run_and_its_code_is_the_launchs() {
    let now = Instant::now();
    let mut crew = running(now);
    assert_eq!(short(crew.take(now, 2, News::Ended(2))), ["0 stop"]);
    crew.take(now, 0, News::Ended(4));
    assert_eq!(short(crew.take(now, 1, News::Ended(4))), ["finish 2"]);
}

#[test]
fn a_run_without_daemons_is_stopped_and_a_broken_connection_stops_nothing() {
    let now = Instant::now();
    let mut crew = running(now);
    let cut = News::Cut("the connection ended".to_owned(), Duration::from_secs(1));
    let acts = crew.take(now, 2, cut);
    assert!(
        matches!(&acts[..], [Act::Say(line)] if line.contains("goes on")),
        "{acts:?}"
    );
    assert!(matches!(&crew.take(now, 2, News::Back)[..], [Act::Say(_)]));
    crew.take(now, 1, News::Ended(3));
    assert!(crew.deadline().is_none());
    crew.take(now, 2, News::Ended(3));
    let due = crew.deadline().unwrap();
    assert_eq!(short(crew.tick(due)), ["0 stop"]);
    assert_eq!(short(crew.take(now, 0, News::Ended(4))), ["finish 4"]);
}
