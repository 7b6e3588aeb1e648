//! The page in a browser, on a run of real processes with fake trainers: what happens is seen, and what is clicked happens.
//!
//! Needs Chromium (Debian: `apt install chromium`), by `M2T_CHROMIUM` or in `PATH`. Without one the test is skipped with a line that says so;
//! with `CI=true` and `M2T_BROWSER=required` it fails.

use std::time::{Duration, Instant};

use m2t_common::Step;
use m2t_common::status::PhaseName;
use m2t_tests::harness::{Browser, Cluster, ClusterSettings, chromium};
use rustix::process::{Pid, Signal, kill_process};

const DESK: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

/// Two daemons of two devices, held before `step`.
fn held_at(step: u64) -> Cluster {
    held(step, Cluster::new(settings()))
}

fn settings() -> ClusterSettings {
    ClusterSettings {
        min_devices: Some(2),
        ..ClusterSettings::fake()
    }
}

fn held(step: u64, mut cluster: Cluster) -> Cluster {
    cluster.control.hold(step);
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    cluster.wait_for("the step to be held at", |status| {
        status
            .progress
            .as_ref()
            .is_some_and(|progress| progress.step == Step(step))
    });
    cluster
}

#[test]
fn a_lost_trainer_is_seen_within_two_seconds_and_orders_are_carried_out() {
    let Some(program) = chromium() else { return };
    let mut cluster = held_at(13);
    let mut browser = Browser::start(&program, DESK);
    browser.open(&cluster.page_of_operator());
    browser.wait_for("#phase", |text| text == "training");
    browser.wait_for("#advance", |text| text.starts_with("13 of 60 steps"));
    browser.wait_for("#connection", |text| text == "live");
    browser.wait_for("#fleet-summary", |text| {
        text == "2 machines, 4 of 4 devices host the 4 ranks"
    });
    let title = browser.evaluate("document.title");
    assert_eq!(title, "21 % training · small");

    // From the kill on: what the daemon, the coordinator and the stream take to tell of it counts.
    let lost = cluster.control.pid("b:1").unwrap();
    let since = Instant::now();
    kill_process(Pid::from_raw(lost).unwrap(), Signal::KILL).unwrap();
    let row = browser.wait_for("#regroups tbody", |text| text.contains("1 → 2"));
    let took = since.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(row.contains("trainer of device b:1 failed"), "{row}");

    browser.wait_for("#phase", |text| text == "training");
    browser.click("#order-pause");
    browser.wait_for("#answer", |text| text.starts_with("pausing: "));
    browser.wait_for("#phase", |text| text == "paused");
    assert_eq!(cluster.status().unwrap().phase, PhaseName::Paused);
    browser.click("#order-resume");
    browser.wait_for("#answer", |text| text.starts_with("resumed: "));
    browser.wait_for("#phase", |text| text == "training");

    // Stopping asks first; what is cancelled is not done.
    browser.click("#order-stop");
    browser.wait_for("#confirm-text", |text| text.starts_with("Stop the run?"));
    browser.click("#confirm-no");
    browser.click("#order-stop");
    browser.wait_for("#confirm-yes", |text| text == "Stop");
    browser.click("#confirm-yes");
    browser.wait_for("#connection", |text| text == "the run has ended");
    browser.wait_for("#phase", |text| text == "stopped");
    cluster.expect_exit(4);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_coordinator_that_is_gone_is_told_of_and_one_that_comes_back_is_found() {
    let Some(program) = chromium() else { return };
    let mut cluster = held_at(13);
    let mut browser = Browser::start(&program, PHONE);
    browser.open(&cluster.page_of_operator());
    browser.wait_for("#phase", |text| text == "training");
    cluster.coordinator().kill();
    browser.wait_for("#gone", |text| {
        text.starts_with("The coordinator has not answered since")
    });
    let title = browser.evaluate("document.title");
    assert_eq!(title, "no coordinator · small");

    cluster.start_coordinator();
    browser.wait_for("#connection", |text| text == "live");
    assert_eq!(browser.text("#gone"), "");
    browser.wait_for("#phase", |text| text == "training");
    // The session outlives the coordinator's start.
    browser.click("#order-pause");
    browser.wait_for("#answer", |text| text.starts_with("pausing: "));
    browser.wait_for("#phase", |text| text == "paused");
    // Nothing is wider than a phone.
    let wide =
        browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(wide, 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn without_a_stream_the_page_asks_again_and_again_until_it_has_one() {
    let Some(program) = chromium() else { return };
    let mut cluster = held_at(13);
    let mut browser = Browser::start(&program, DESK);
    browser.block(&["*/api/stream"]);
    browser.open(&cluster.page_of_operator());
    browser.wait_for("#connection", |text| text == "asking again and again");
    browser.wait_for("#advance", |text| text.starts_with("13 of 60 steps"));
    cluster.control.hold(14);
    browser.wait_for("#advance", |text| text.starts_with("14 of 60 steps"));
    browser.block(&[]);
    browser.wait_for("#connection", |text| text == "live");
    cluster.control.release();
    browser.wait_for("#phase", |text| text == "finished");
    browser.wait_for("#connection", |text| text == "the run has ended");
    cluster.expect_exit(0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn beyond_loopback_the_page_is_served_in_tls_and_does_the_same() {
    let Some(program) = chromium() else { return };
    let mut cluster = Cluster::new(settings());
    cluster.serve_page_at("0.0.0.0:0");
    let cluster = held(13, cluster);
    let page = cluster.page();
    let (scheme, port) = page.trim_end_matches('/').rsplit_once(':').unwrap();
    assert!(scheme.starts_with("https://"), "{page}");
    let token = std::fs::read_to_string(cluster.token_file("operator")).unwrap();
    let page = format!("https://127.0.0.1:{port}/#token={}", token.trim());
    // Its authority is the coordinator's own, which no browser knows.
    let refusal = Browser::start(&program, DESK).refusal(&page);
    assert_eq!(refusal.as_deref(), Some("net::ERR_CERT_AUTHORITY_INVALID"));
    let mut browser = Browser::start(&program, DESK);
    browser.take_any_certificate();
    browser.open(&page);
    browser.wait_for("#phase", |text| text == "training");
    browser.wait_for("#connection", |text| text == "live");
    browser.click("#order-pause");
    browser.wait_for("#phase", |text| text == "paused");
    assert_eq!(cluster.status().unwrap().phase, PhaseName::Paused);
}

#[test]
fn whoever_logs_in_as_a_viewer_sees_all_and_steers_nothing() {
    let Some(program) = chromium() else { return };
    let cluster = held_at(13);
    let token = |role: &str| std::fs::read_to_string(cluster.token_file(role)).unwrap();
    let (viewer, operator) = (token("viewer"), token("operator"));
    let mut browser = Browser::start(&program, PHONE);
    browser.open(&cluster.page());
    browser.wait_for("#login-title", |text| text == "Log in");
    assert_eq!(browser.text("#phase"), "…", "nothing is seen before");
    // A token that was cut off is refused, and not said again.
    browser.type_into("#login-token", &viewer.trim()[..60]);
    browser.click("#login-yes");
    let said = browser.wait_for("#login-answer", |text| !text.is_empty());
    assert!(
        said.contains("copy it whole") && !said.contains(&viewer[40..60]),
        "{said}"
    );
    browser.type_into("#login-token", &viewer);
    browser.click("#login-yes");
    browser.wait_for("#phase", |text| text == "training");
    browser.wait_for("#role", |text| text == "logged in as viewer");
    assert_eq!(browser.text("#order-pause"), "", "a viewer has no buttons");

    browser.click("#logout");
    browser.wait_for("#login-title", |text| text == "Log in");
    browser.type_into("#login-token", &operator);
    browser.click("#login-yes");
    browser.wait_for("#role", |text| text == "logged in as operator");
    browser.click("#order-pause");
    browser.wait_for("#answer", |text| text.starts_with("pausing: "));
    browser.wait_for("#phase", |text| text == "paused");
    // A token in the address is wiped from it.
    browser.open("about:blank");
    browser.open(&cluster.page_of_operator());
    browser.wait_for("#phase", |text| text == "paused");
    let hash = browser.evaluate("location.hash + document.cookie");
    assert_eq!(hash, "", "no script can read the session");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    cluster.control.release();
}
