//! Disks that are full and checkpoints that are damaged: nothing is lost, and it says so.

#![expect(clippy::print_stdout, reason = "a skipped test says so")]

use std::path::{Path, PathBuf};
use std::process::Command;

use m2t_tests::harness::photographs;

use crate::desk::{Desk, TINY};

/// A mounted file system; dropping it unmounts it.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// A file system in memory. Where this user may not mount, the test is skipped; with CI=true it fails.
    pub(crate) fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "m2t-test"])
            .arg(at)
            .output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "cannot mount: {mounted:?}"
        );
        println!("skipped: only root may mount a small file system");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, since a process of a test that fails may still be in it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn digest(desk: &Desk, run: &str) -> String {
    let mut digest = desk.start(&format!("m2t checkpoint digest {run}"));
    digest.expect_exit(0);
    digest.output()
}

#[test]
fn a_full_disk_during_a_checkpoint_ends_nothing_and_the_last_one_waits_for_room() {
    let Some(data) = photographs() else { return };
    let desk = Desk::new();
    let Some(_mount) = Mount::tmpfs(&desk.path("outputs"), "size=64m") else {
        return;
    };
    desk.write("tiny.toml", &TINY.replace("steps = 8", "steps = 60"));
    let line = format!("m2t train -d cpu:2 -f tiny.toml --data {}", data.display());
    let mut calm = desk.start(&format!("{line} -expn calm"));
    calm.expect_exit(0);

    // All but a few pages are taken; the metrics fit, a checkpoint does not.
    let filler = desk.path("outputs/filler");
    let fill = |bytes: u64| std::fs::write(&filler, vec![1; usize::try_from(bytes).unwrap()]);
    let room = rustix::fs::statvfs(desk.path("outputs")).unwrap();
    let coordinator_takes = 4 << 20;
    fill(room.f_bavail * room.f_frsize - coordinator_takes).unwrap();
    let mut trained = desk.start(&format!("{line} -expn full"));
    trained.wait_for_text("generation 1 trains");
    let left = rustix::fs::statvfs(desk.path("outputs")).unwrap();
    let more = (left.f_bavail * left.f_frsize).saturating_sub(64 << 10);
    std::fs::write(
        desk.path("outputs/filler2"),
        vec![1; usize::try_from(more).unwrap()],
    )
    .unwrap();
    trained.wait_for_line("that the last checkpoint cannot be written", |line| {
        let words = ["step 60 could not be written", "No space left", "make room there"];
        words.iter().all(|word| line.contains(word)).then_some(())
    });
    std::fs::remove_file(filler).unwrap();
    trained.expect_exit(0);
    assert_eq!(digest(&desk, "outputs/full"), digest(&desk, "outputs/calm"));
    let lines = |run: &str| {
        let metrics = std::fs::read_to_string(desk.path(&format!("outputs/{run}/metrics.jsonl"))).unwrap();
        metrics.lines().count()
    };
    assert_eq!((lines("full"), lines("calm")), (60, 60));
}

#[test]
fn a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_continues() {
    let Some(data) = photographs() else { return };
    let desk = Desk::new();
    let line = format!("m2t train -d cpu:2 -f tiny.toml --data {}", data.display());
    let mut calm = desk.start(&format!("{line} -expn calm"));
    calm.expect_exit(0);
    desk.write(
        "tiny.toml",
        &TINY.replace("checkpoint_every = 3", "checkpoint_every = 1"),
    );
    let mut begun = desk.start(&format!("{line} -expn x"));
    begun.wait_for_text("checkpoint step-000000003 is complete");
    begun.signal(rustix::process::Signal::TERM);
    let code = begun.wait();
    assert!(code == Some(4) || code == Some(0), "{code:?}");
    if code == Some(0) {
        // A fast machine was done before the signal came; there is nothing to continue.
        return assert_eq!(digest(&desk, "outputs/x"), digest(&desk, "outputs/calm"));
    }
    let newest = std::fs::read_dir(desk.path("outputs/x/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max()
        .unwrap();
    let state = newest.join("state.safetensors");
    let mut bytes = std::fs::read(&state).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&state, bytes).unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap().to_owned();
    let mut resumed = desk.start(&format!("{line} -expn x"));
    resumed.expect_exit(0);
    let said = resumed.output();
    assert!(
        said.contains(&format!("checkpoint {name} is damaged and was set aside")),
        "{said}"
    );
    assert_eq!(digest(&desk, "outputs/x"), digest(&desk, "outputs/calm"));
}
