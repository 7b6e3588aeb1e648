//! Each verdict at its border. Nothing here looks at the machine.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use m2t_common::recipe::load;
use m2t_common::status::PhaseName;
use m2t_common::tensor_facts::{Cuda, Gpu, Nccl, TensorFacts};
use m2t_data::check::Damaged;
use m2t_data::sample::Sampled;

use super::super::facts::{
    Data, Limits, Link, Output, Presence, Probe, ProbeError, Process, Program, Programs, Room, SharedMemory,
};
use super::super::finding::Verdict;
use super::*;

const GIB: u64 = 1 << 30;

fn wanted(devices: &str) -> Wanted {
    let recipe = load("8x_v100_100e", &[], None, |_| unreachable!("a preset")).unwrap();
    Wanted {
        devices: devices.parse().unwrap(),
        recipe: recipe.recipe,
    }
}

const ESTIMATE: Estimate = Estimate {
    memory: 4 * GIB,
    checkpoint: GIB,
};

/// "ok", "warn", "bad" or "skip" of the check of that name.
fn state(findings: &[Finding], check: &str) -> &'static str {
    let finding = findings.iter().find(|finding| finding.check == check);
    match finding.unwrap_or_else(|| panic!("no check {check}")).verdict {
        Verdict::Ok => "ok",
        Verdict::Warn(_) => "warn",
        Verdict::Bad(_) => "bad",
        Verdict::Skip => "skip",
    }
}

/// A text of the finding and of what to mend.
fn text(findings: &[Finding], check: &str) -> String {
    format!("{:?}", findings.iter().find(|finding| finding.check == check))
}

fn tensor() -> TensorFacts {
    TensorFacts {
        libtorch: "2.11.0".to_owned(),
        instruction_set: "AVX2".to_owned(),
        cuda: Cuda::Absent("no NVIDIA driver; install the driver".to_owned()),
        nccl: Nccl::Absent("no NCCL; install it".to_owned()),
    }
}

fn with_gpus() -> TensorFacts {
    let gpu = |number, trouble: Option<&str>| Gpu {
        number,
        uuid: format!("GPU-8a1fb2c3-0011-2233-4455-66778899aab{number}"),
        name: "NVIDIA H100".to_owned(),
        memory: 80 * GIB,
        trouble: trouble.map(str::to_owned),
    };
    TensorFacts {
        cuda: Cuda::Usable {
            driver: "13.0".to_owned(),
            gpus: vec![
                gpu(0, None),
                gpu(1, None),
                gpu(2, Some("GPU 2 is in use; end that process")),
            ],
        },
        nccl: Nccl::Usable("2.28.9".to_owned()),
        ..tensor()
    }
}

fn programs() -> Programs {
    let said = |name: &'static str| Program {
        name,
        said: Ok(format!("{name} 0.1.0\ncommit    abc (modified)\nrustc     1.95")),
    };
    Programs {
        own: "0.1.0\ncommit    abc".to_owned(),
        beside: ["m2t-worker", "m2t-trainer", "m2t-coordinator"].map(said).into(),
        tensor: Ok(tensor()),
        cpu_flags: vec!["avx2".to_owned()],
    }
}

fn room() -> Room {
    Room {
        online: 8,
        usable: 8,
        memory: 64 * GIB,
        available: 32 * GIB,
        limit: None,
    }
}

#[test]
fn programs_are_of_one_build() {
    let of = |programs: &Programs| state(&programs::all(programs), "programs");
    assert_eq!(of(&programs()), "ok");
    for (program, change, expected) in [
        (0, Ok("m2t-worker 0.1.0\ncommit    abd"), "warn"),
        (0, Ok("m2t-worker 0.1.1\ncommit    abc"), "bad"),
        (0, Err("cannot be run"), "bad"),
        (1, Err("cannot be run"), "bad"),
        (2, Err("cannot be run"), "ok"),
        (2, Ok("m2t-coordinator 0.2.0\ncommit    abc"), "bad"),
    ] {
        let mut programs = programs();
        programs.beside[program].said = change.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(of(&programs), expected, "{programs:?}");
    }
}

#[test]
fn the_instruction_set_is_the_processors_best() {
    for (set, flags, expected) in [
        ("AVX2", &["avx2"][..], "ok"),
        ("AVX2", &["avx2", "avx512f"], "warn"),
        ("AVX512", &["avx2", "avx512f"], "ok"),
        ("DEFAULT", &[], "warn"),
        ("DEFAULT", &["avx2"], "warn"),
        ("SVE256", &[], "ok"),
    ] {
        let mut programs = programs();
        programs.cpu_flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        programs.tensor.as_mut().unwrap().instruction_set = set.to_owned();
        let found = programs::all(&programs);
        assert_eq!(state(&found, "instruction-set"), expected, "{set} {flags:?}");
        assert!(text(&found, "instruction-set").contains(set));
    }
    let mut programs = programs();
    programs.tensor = Err("libtorch.so: cannot open".to_owned());
    let found = programs::all(&programs);
    assert_eq!(state(&found, "libtorch"), "bad");
    assert_eq!(state(&found, "instruction-set"), "skip");
    assert!(text(&found, "libtorch").contains("xtask set-up"));
}

#[test]
fn gpus_matter_where_they_were_asked_for() {
    let without = tensor();
    let usable = with_gpus();
    let too_old = TensorFacts {
        cuda: Cuda::Unusable("the driver is too old; update the driver".to_owned()),
        ..with_gpus()
    };
    let bad_nccl = TensorFacts {
        nccl: Nccl::Refused("NCCL 2.28.3 may hang; install another release".to_owned()),
        ..with_gpus()
    };
    for (tensor, devices, expected) in [
        (&without, "cpu:2", ["skip", "skip", "skip"]),
        (&usable, "cpu:2", ["skip", "skip", "skip"]),
        (&bad_nccl, "cpu:2", ["skip", "skip", "skip"]),
        (&without, "gpu:2", ["bad", "skip", "bad"]),
        (&too_old, "gpu:2", ["bad", "skip", "ok"]),
        (&usable, "gpu:2", ["ok", "ok", "ok"]),
        (&usable, "gpu:3", ["ok", "bad", "ok"]),
        (&usable, "gpu:0,3", ["ok", "bad", "ok"]),
        (
            &usable,
            "gpu:GPU-8A1FB2C3-0011-2233-4455-66778899AAB1",
            ["ok", "ok", "ok"],
        ),
        (&bad_nccl, "gpu:1", ["ok", "ok", "warn"]),
        (&bad_nccl, "gpu:2", ["ok", "ok", "bad"]),
    ] {
        let found = gpus::all(&Ok(tensor.clone()), &devices.parse().unwrap());
        let states = ["driver", "gpus", "nccl"].map(|check| state(&found, check));
        assert_eq!(states, expected, "{devices}: {found:?}");
    }
    let found = gpus::all(&Ok(usable), &"gpu:3".parse().unwrap());
    assert!(
        text(&found, "gpus").contains(r#"Bad("end that process")"#),
        "{found:?}"
    );
    let found = gpus::all(&Err("no libtorch".to_owned()), &"gpu:1".parse().unwrap());
    assert_eq!(state(&found, "driver"), "skip");
}

#[test]
fn processors_and_memory_at_their_borders() {
    let of = |room: Room, devices: &str| machine::room(&Ok(room), &wanted(devices), ESTIMATE);
    for (room, devices, check, expected) in [
        (room(), "cpu:8", "cpu-limit", "ok"),
        (Room { usable: 7, ..room() }, "cpu:8", "cpu-limit", "warn"),
        (room(), "cpu:8", "threads", "ok"),
        (room(), "cpu:9", "threads", "warn"),
        (room(), "gpu:4", "threads", "ok"), // two loading threads each
        (room(), "gpu:5", "threads", "warn"),
        (room(), "cpu:8", "memory", "ok"),
        (room(), "cpu:9", "memory", "warn"),
        (
            Room {
                limit: Some((16 * GIB, 0)),
                ..room()
            },
            "cpu:4",
            "memory",
            "ok",
        ),
        (
            Room {
                limit: Some((16 * GIB, 1)),
                ..room()
            },
            "cpu:4",
            "memory",
            "warn",
        ),
        (room(), "gpu:64", "memory", "ok"),
        (room(), "cpu:1", "memory-limit", "ok"),
        (
            Room {
                limit: Some((64 * GIB, 1)),
                ..room()
            },
            "cpu:1",
            "memory-limit",
            "ok",
        ),
        (
            Room {
                limit: Some((63 * GIB, 1)),
                ..room()
            },
            "cpu:1",
            "memory-limit",
            "warn",
        ),
    ] {
        assert_eq!(
            state(&of(room, devices), check),
            expected,
            "{check} {devices} {room:?}"
        );
    }
    let unseen = machine::room(&Err("/proc/meminfo: gone".to_owned()), &wanted("cpu:1"), ESTIMATE);
    assert!(unseen.iter().all(|finding| finding.verdict == Verdict::Skip) && unseen.len() == 4);
}

#[test]
fn limits_at_their_borders() {
    // The world is 8: 256 + 16 files; two devices of 32 + 1 + 2 threads.
    let limits = |open_files, processes, locked_memory| Limits {
        open_files,
        processes,
        locked_memory,
    };
    for (limits, devices, check, expected) in [
        (limits(None, None, None), "cpu:2", "open-files", "ok"),
        (limits(Some(272), None, None), "cpu:2", "open-files", "ok"),
        (limits(Some(271), None, None), "cpu:2", "open-files", "warn"),
        (limits(Some(72), None, None), "cpu:2", "open-files", "warn"),
        (limits(Some(71), None, None), "cpu:2", "open-files", "bad"),
        (limits(None, Some(70), None), "cpu:2", "process-limit", "ok"),
        (limits(None, Some(69), None), "cpu:2", "process-limit", "bad"),
        (limits(None, None, Some(1)), "cpu:2", "locked-memory", "skip"),
        (limits(None, None, Some(GIB)), "gpu:2", "locked-memory", "warn"),
        (limits(None, None, None), "gpu:2", "locked-memory", "ok"),
    ] {
        assert_eq!(
            state(&machine::limits(limits, &wanted(devices)), check),
            expected,
            "{limits:?}"
        );
    }
}

#[test]
fn shared_memory_and_what_dead_trainers_left() {
    let shared = |free, left| SharedMemory {
        size: 64 << 20,
        free,
        left,
    };
    let left = vec![(PathBuf::from("/dev/shm/nccl-x"), 5 << 20)];
    // Four GPUs are twelve ordered pairs of 10 MiB.
    for (shared, devices, expected) in [
        (shared(0, vec![]), "cpu:4", ["ok", "ok"]),
        (shared(120 << 20, vec![]), "gpu:4", ["ok", "ok"]),
        (shared((120 << 20) - 1, vec![]), "gpu:4", ["bad", "ok"]),
        (shared(0, vec![]), "gpu:1", ["ok", "ok"]),
        (shared(0, left), "cpu:1", ["ok", "warn"]),
    ] {
        let found = machine::shared_memory(&Ok(shared), &wanted(devices));
        let states = ["shared-memory", "leftovers"].map(|check| state(&found, check));
        assert_eq!(states, expected, "{devices}: {found:?}");
    }
}

#[test]
fn a_trainer_without_a_daemon_is_a_stray() {
    let process = |pid, parent, name: &str| Process {
        pid,
        parent,
        name: name.to_owned(),
    };
    let orderly = vec![process(40, 1, "m2t-worker"), process(41, 40, "m2t-trainer")];
    assert_eq!(machine::strays(&orderly).verdict, Verdict::Ok);
    let stray = machine::strays(&[process(41, 1, "m2t-trainer"), process(42, 40, "m2t-trainer")]);
    assert_eq!(state(std::slice::from_ref(&stray), "strays"), "warn");
    assert!(format!("{stray:?}").contains("kill 41\""), "{stray:?}");
    // In a container the daemon may be process 1.
    let contained = vec![process(1, 0, "m2t-worker"), process(41, 1, "m2t-trainer")];
    assert_eq!(machine::strays(&contained).verdict, Verdict::Ok);
}

#[test]
fn the_coordinator_its_clock_and_how_far_it_is() {
    let link = |ahead_ms, round_trip| Link {
        experiment: "x".to_owned(),
        phase: PhaseName::Gathering,
        world: 8,
        round_trip: Duration::from_millis(round_trip),
        ahead_ms,
    };
    for (ahead_ms, round_trip, expected) in [
        (0, 1, ["ok", "ok", "ok"]),
        (1_000, 0, ["ok", "ok", "ok"]),
        (1_001, 0, ["ok", "warn", "ok"]),
        (-1_001, 0, ["ok", "warn", "ok"]),
        (1_010, 20, ["ok", "ok", "ok"]),
        (-1_012, 21, ["ok", "warn", "warn"]),
    ] {
        let found = link::all(Some(&Ok(link(ahead_ms, round_trip))));
        let states = ["coordinator", "clock", "round-trip"].map(|check| state(&found, check));
        assert_eq!(states, expected, "{ahead_ms} {round_trip}");
    }
    let nobody = link::all(Some(&Err("nobody answers; start one".to_owned())));
    assert_eq!(state(&nobody, "coordinator"), "bad");
    assert!(text(&nobody, "coordinator").contains("start one"));
    assert!(
        link::all(None)
            .iter()
            .all(|finding| finding.verdict == Verdict::Skip)
    );
}

fn data(n_files: u64, n_damaged: usize) -> Data {
    let damaged = Damaged {
        path: "a/1.jpg".into(),
        reason: "the file is truncated".to_owned(),
    };
    Data {
        n_samples: 2_000,
        n_classes: 3,
        fingerprint: "f00".to_owned(),
        not_kept: None,
        sampled: Sampled {
            n_files,
            bytes: 3_000_000,
            took: Duration::from_millis(1_500),
            damaged: vec![damaged; n_damaged],
        },
    }
}

#[test]
fn data_is_bad_when_nothing_of_it_decodes() {
    let recipe = wanted("cpu:1").recipe;
    for (n_damaged, expected) in [(0, "ok"), (1, "warn"), (29, "warn"), (30, "bad")] {
        let found = folders::data(Some(&Ok(data(30, n_damaged))), &recipe);
        assert_eq!(state(&found, "decoding"), expected, "{n_damaged}");
        assert!(
            text(&found, "decoding").contains("20 images/s, 2.0 MB/s"),
            "{found:?}"
        );
        assert_eq!(
            text(&found, "decoding").contains("a/1.jpg: the file is truncated"),
            n_damaged > 0
        );
    }
    // The batch is 1024.
    let few = Data {
        n_samples: 1_023,
        ..data(30, 0)
    };
    assert_eq!(state(&folders::data(Some(&Ok(few)), &recipe), "data"), "warn");
    let unkept = Data {
        not_kept: Some("read-only".to_owned()),
        ..data(30, 0)
    };
    let found = folders::data(Some(&Ok(unkept)), &recipe);
    assert!(state(&found, "data") == "warn" && text(&found, "data").contains("M2T_CACHE"));
    assert_eq!(
        state(&folders::data(Some(&Ok(data(30, 0))), &recipe), "data"),
        "ok"
    );
    assert_eq!(state(&folders::data(None, &recipe), "data"), "skip");
}

fn output(free: u64, probe: Result<Probe, ProbeError>) -> Output {
    Output {
        folder: "/out".into(),
        presence: Presence::Unmarked,
        free,
        probe,
    }
}

#[test]
fn the_output_folder_takes_two_checkpoints_and_in_time() {
    let probe = |seconds| {
        Ok(Probe {
            bytes: GIB,
            wrote_in: Duration::from_secs(seconds),
        })
    };
    let failing = |kind: ErrorKind| {
        Err(ProbeError {
            doing: "write",
            kind,
            reason: kind.to_string(),
        })
    };
    // Three are kept, so four are there at most.
    for (free, probe, expected) in [
        (4 * GIB, probe(60), ["ok", "ok"]),
        (4 * GIB - 1, probe(61), ["warn", "warn"]),
        (2 * GIB, probe(1), ["ok", "warn"]),
        (2 * GIB - 1, probe(1), ["ok", "bad"]),
        (9 * GIB, failing(ErrorKind::ReadOnlyFilesystem), ["bad", "ok"]),
        (0, failing(ErrorKind::StorageFull), ["bad", "bad"]),
    ] {
        let found = folders::output(Some(&Ok(output(free, probe))), &wanted("cpu:1"), ESTIMATE);
        let states = ["output", "output-space"].map(|check| state(&found, check));
        assert_eq!(states, expected, "{found:?}");
    }
    let full = Ok(output(0, failing(ErrorKind::StorageFull)));
    let found = folders::output(Some(&full), &wanted("cpu:1"), ESTIMATE);
    assert!(text(&found, "output").contains("make room there"), "{found:?}");
}

#[test]
fn the_coordinators_mark_is_looked_for_where_there_is_a_coordinator() {
    let with = |presence| {
        Ok(Output {
            presence,
            ..output(
                GIB,
                Err(ProbeError {
                    doing: "write",
                    kind: ErrorKind::Other,
                    reason: String::new(),
                }),
            )
        })
    };
    for (presence, joins, expected) in [
        (Presence::Marked, true, "ok"),
        (Presence::Unmarked, true, "bad"),
        (Presence::Absent, true, "bad"),
        (Presence::Unmarked, false, "skip"),
    ] {
        let found = folders::shared(Some(&with(presence)), joins);
        assert_eq!(state(&[found], "output-shared"), expected, "{presence:?}");
    }
}
