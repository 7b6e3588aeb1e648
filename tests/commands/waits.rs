//! What is not refused but waited for, because it may yet come right: each says what it waits for, and ends when told to.

use std::net::TcpListener;

use m2t_tests::harness::Process;
use rustix::process::Signal;

use crate::desk::Desk;

/// Waits for the sentence, then stops it by hand.
fn says_and_stops(mut process: Process, words: &[&str]) {
    process.wait_for_line(&format!("{words:?}"), |line| {
        words.iter().all(|word| line.contains(word)).then_some(())
    });
    process.signal(Signal::TERM);
    process.expect_exit(4);
    assert!(!process.output().contains("panicked"));
}

#[test]
fn an_unreachable_coordinator_is_waited_for_by_name() {
    let desk = Desk::new();
    let daemon = desk.start("m2t-worker --coordinator 127.0.0.1:1");
    says_and_stops(daemon, &["waiting for the coordinator at 127.0.0.1:1", "refused"]);
    let daemon = desk.start("m2t-worker --coordinator no-such-host.invalid:7117");
    says_and_stops(
        daemon,
        &["waiting for the coordinator at no-such-host.invalid:7117"],
    );
}

#[test]
fn a_port_where_something_else_answers_is_named() {
    let desk = Desk::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let mut daemon = desk.start(&format!("m2t-worker --coordinator {address}"));
    daemon.expect_exit(2);
    let said = daemon.output();
    assert!(
        said.contains(&address.to_string()) && said.contains("it does not speak TLS"),
        "{said}"
    );
    let mut status = desk.start(&format!("m2t status --coordinator {address}"));
    status.expect_exit(1);
    let said = status.output();
    assert!(
        said.contains(&address.to_string()) && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn data_that_cannot_be_used_are_named_with_the_way_out() {
    let desk = Desk::new();
    std::fs::create_dir_all(desk.path("empty")).unwrap();
    desk.write("flat/1.jpg", "x");
    desk.write("no-image/class/readme.txt", "x");
    desk.write("splits/train/a/1.jpg", "x");
    desk.write("splits/val/a/1.jpg", "x");
    let (_coordinator, address) = desk.coordinator("");
    for (data, words) in [
        ("nowhere", ["nowhere does not exist", "--data"]),
        ("empty", ["empty holds no class folder", "folder of its own"]),
        ("flat", ["flat holds no class folder", "folder of its own"]),
        (
            "no-image",
            ["no-image/class holds no", "add images or remove the folder"],
        ),
        ("splits", ["train, val", "--data"]),
        ("a\u{301}ndere", ["a\u{301}ndere does not exist", "--data"]),
    ] {
        let daemon = desk.start(&format!(
            "m2t-worker --coordinator {address} --name odd --data {data}"
        ));
        says_and_stops(daemon, &words);
    }
    // The run itself waits, and says for what.
    let mut status = desk.start(&format!("m2t status --coordinator {address}"));
    status.expect_exit(0);
    let said = status.output();
    assert!(said.contains("0 of 4 devices; waiting for 4"), "{said}");
}

#[test]
fn a_run_without_data_and_an_output_folder_that_is_not_seen_are_named() {
    let desk = Desk::new();
    let coordinator = desk.start("m2t-coordinator --experiment tiny.toml --output out --listen 127.0.0.1:0");
    let address = crate::desk::listening_on(&coordinator);
    let daemon = desk.start(&format!("m2t-worker --coordinator {address}"));
    says_and_stops(daemon, &["where the data is", "--data"]);
    std::fs::write(desk.path("out/.probe"), "another's").unwrap();
    let daemon = desk.start(&format!("m2t-worker --coordinator {address} --data data"));
    says_and_stops(daemon, &["out here is not the coordinator's", "mount"]);
    std::fs::remove_file(desk.path("out/.probe")).unwrap();
    let daemon = desk.start(&format!("m2t-worker --coordinator {address} --data data"));
    says_and_stops(daemon, &["out of the coordinator is not visible here", "mount"]);
}
