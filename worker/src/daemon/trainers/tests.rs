//! How trainers are started, and what is said of their ends.

use super::*;

#[tokio::test]
async fn the_last_words_of_a_panic_are_its_message() {
    let panic = "thread 'main' panicked at src/main.rs:2:5:\nno such tensor\nstack backtrace:\n   0: core::panic\n             \
        at /rustc/library/core\n\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
    let abort = "terminate called after throwing an instance of 'c10::Error'\n  what():  no such tensor\n";
    for (output, expected) in [(panic, "no such tensor"), (abort, "  what():  no such tensor")] {
        let last = Arc::new(Mutex::new(String::new()));
        pass_on(output.as_bytes(), DeviceIndex(0), Some(Arc::clone(&last))).await;
        assert_eq!(*last.lock().unwrap(), expected);
    }
}

#[test]
fn trainers_are_started_with_nvls_off() {
    let command = command(Path::new("trainer"), Path::new("link"), None);
    let nvls = command
        .as_std()
        .get_envs()
        .find(|(name, _)| *name == "NCCL_NVLS_ENABLE");
    assert_eq!(nvls, Some(("NCCL_NVLS_ENABLE".as_ref(), Some("0".as_ref()))));
}

#[test]
fn only_the_trainer_of_a_gpu_is_told_of_one() {
    let gpu = GpuName::Number(3);
    for (gpu, expected) in [
        (Some(&gpu), vec!["run", "--link", "link", "--gpu", "3"]),
        (None, vec!["run", "--link", "link"]),
    ] {
        let command = command(Path::new("trainer"), Path::new("link"), gpu);
        assert_eq!(command.as_std().get_args().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn an_end_is_described_by_status_and_last_words() {
    for (status, last_words, expected) in [
        (
            ExitStatus::from_raw(3 << 8),
            "",
            "the trainer of device 1 ended with exit status 3",
        ),
        (
            ExitStatus::from_raw(9),
            "",
            "the trainer of device 1 was killed by signal 9",
        ),
        (
            ExitStatus::from_raw(0),
            "why",
            "the trainer of device 1 ended with exit status 0: why",
        ),
    ] {
        assert_eq!(describe(DeviceIndex(1), Ok(status), last_words), expected);
    }
    for (raw, expected) in [
        (0, Manner::Plain),
        (1 << 8, Manner::Plain),
        (15, Manner::Plain),
        (9, Manner::Killed),
        (9 << 8, Manner::Abnormal),
        (11, Manner::Abnormal),
    ] {
        assert_eq!(manner(&Ok(ExitStatus::from_raw(raw))), expected, "{raw}");
    }
}
