//! Looking at folders made for it, and at texts as kernels write them.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::facts::Presence;
use super::*;
use crate::contact::AccessArgs;

#[test]
fn control_groups_of_both_versions_are_read_up_to_the_root() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let limit = |groups: &str| machine::memory_limit(root.path(), groups);
    assert_eq!(limit("0::/a/b\n"), None);
    write("a/b/memory.max", "max\n");
    write("a/memory.max", "1000\n");
    write("a/memory.current", "100\n");
    assert_eq!(limit("0::/a/b\n"), Some((1000, 100)));
    write("a/b/memory.max", "950\n");
    write("a/b/memory.current", "10\n");
    assert_eq!(
        limit("0::/a/b\n"),
        Some((1000, 100)),
        "900 are left of one, 940 of the other"
    );
    write("memory/c/memory.limit_in_bytes", "500\n");
    write("memory/c/memory.usage_in_bytes", "20\n");
    assert_eq!(
        limit("9:name=systemd:/\n4:cpu,memory:/c\n0::/a/b\n"),
        Some((500, 20))
    );
    // As seen in a container, whose root is another: the group's own path isn't there.
    write("memory.max", "700\n");
    assert_eq!(limit("0::/elsewhere/x\n"), Some((700, 0)));
}

#[test]
fn the_kernels_texts_are_read() {
    let memory = "MemTotal:       16384 kB\nMemAvailable:      10 kB\n";
    assert_eq!(machine::meminfo(memory, "MemTotal"), Some(16 << 20));
    assert_eq!(machine::meminfo(memory, "MemAvailable"), Some(10 << 10));
    assert_eq!(machine::meminfo(memory, "MemFree"), None);
    for (list, n) in [
        ("0\n", Some(1)),
        ("0-3\n", Some(4)),
        ("0-1,4,6-7", Some(5)),
        ("", None),
        ("a-b", None),
    ] {
        assert_eq!(machine::n_listed(list), n, "{list:?}");
    }
    assert_eq!(
        machine::name_and_parent("17 (m2t-trainer) S 1 17 17 0 -1\n"),
        Some(("m2t-trainer", 1))
    );
    assert_eq!(
        machine::name_and_parent("17 (a) (b) R 9 17\n"),
        Some(("a) (b", 9))
    );
    assert_eq!(machine::name_and_parent("nothing"), None);
    let info = "processor\t: 0\nflags\t\t: fpu avx2 amx_bf16\nflags\t\t: other\n";
    assert_eq!(programs::flags(info), ["fpu", "avx2", "amx_bf16"]);
    assert!(programs::flags("").is_empty());
}

#[test]
fn this_machine_has_processors_and_memory() {
    let room = machine::room().unwrap();
    assert!(room.usable >= 1 && room.online >= room.usable, "{room:?}");
    assert!(room.available <= room.memory && room.memory > 0, "{room:?}");
}

#[test]
fn processes_of_m2t_are_found_with_their_parents() {
    let processes = tempfile::tempdir().unwrap();
    for (pid, stat) in [
        ("20", "20 (m2t-trainer) S 1 20"),
        ("3", "3 (m2t-worker) S 1 3"),
        ("4", "4 (bash) S 1 4"),
        ("self", "4 (m2t) S 1 4"),
    ] {
        fs::create_dir(processes.path().join(pid)).unwrap();
        fs::write(processes.path().join(pid).join("stat"), stat).unwrap();
    }
    let found = machine::processes(processes.path());
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.pid, one.parent, one.name.as_str()))
        .collect();
    assert_eq!(told, [(3, 1, "m2t-worker"), (20, 1, "m2t-trainer")]);
}

#[test]
fn old_segments_that_nobody_maps_are_found_and_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let (shared, processes) = (place.path().join("shm"), place.path().join("proc"));
    fs::create_dir(&shared).unwrap();
    fs::create_dir_all(processes.join("17")).unwrap();
    let used = shared.join("nccl-used");
    let map = format!("7f00-7f01 rw-s 00000000 00:1a 4711    {}\n", used.display());
    fs::write(processes.join("17/maps"), map).unwrap();
    for (name, age) in [
        ("nccl-used", 3600),
        ("nccl-left", 3600),
        ("torch_9_1", 3600),
        ("nccl-young", 1),
        ("other", 3600),
    ] {
        let file = fs::File::create(shared.join(name)).unwrap();
        file.set_len(100).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age))
            .unwrap();
    }
    let found = machine::shared_memory(&shared, &processes).unwrap();
    let expected = ["nccl-left", "torch_9_1"].map(|name| (shared.join(name), 100));
    assert_eq!(found.left, expected);
    assert!(found.free <= found.size && expected.iter().all(|(path, _)| path.exists()));
    assert!(machine::shared_memory(&place.path().join("nowhere"), &processes).is_err());
}

#[test]
fn clocks_are_compared_in_the_middle_of_a_call() {
    let sent = UNIX_EPOCH + Duration::from_secs(100);
    let of = |theirs| link::ahead(theirs, sent, Duration::from_millis(20));
    assert_eq!((of(100_010), of(101_010), of(99_000)), (0, 1_000, -1_010));
}

#[test]
fn a_folder_that_can_be_written_is_probed_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let found = folders::output(folder.path()).unwrap();
    assert_eq!(found.presence, Presence::Unmarked);
    assert_eq!(found.probe.unwrap().bytes, 64 << 20);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    fs::write(folder.path().join(".probe"), "x").unwrap();
    assert_eq!(folders::output(folder.path()).unwrap().presence, Presence::Marked);
    let absent = folders::output(&folder.path().join("runs/new")).unwrap();
    assert_eq!(
        (absent.presence, absent.folder.as_path()),
        (Presence::Absent, folder.path())
    );
    assert!(!folder.path().join("runs").exists());
    let file = folders::output(&folder.path().join(".probe")).unwrap();
    assert_eq!(file.probe.unwrap_err().doing, "make");
}

#[test]
fn data_is_indexed_and_sampled() {
    let folder = tempfile::tempdir().unwrap();
    let error = folders::data(&folder.path().join("none")).unwrap_err();
    assert!(error.contains("does not exist"), "{error}");
    fs::create_dir(folder.path().join("class")).unwrap();
    fs::write(folder.path().join("class/1.jpg"), "no picture").unwrap();
    let found = folders::data(folder.path()).unwrap();
    assert_eq!(
        (found.n_samples, found.n_classes, found.sampled.n_files),
        (1, 1, 1)
    );
    assert_eq!(found.sampled.damaged[0].path, Path::new("class/1.jpg"));
}

#[test]
fn nobody_listens_there() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let contact = Contact::new(address, &AccessArgs::default()).unwrap();
    let error = link::link(&contact).unwrap_err();
    assert!(
        error.contains("no coordinator answers") && error.contains("; start one"),
        "{error}"
    );
}
