//! An index as large as ImageNet's, written by the cache's own writer: what it weighs, and that its processes share it.

#![expect(clippy::print_stdout, reason = "a test prints what it measured")]

use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;

const N: u64 = 1_281_167;
const CLASSES: u64 = 1_000;
/// Tells the test, started again by itself, where the kept index is.
const CHILD: &str = "M2T_TEST_KEPT_INDEX";
/// Bytes that a process may hold of its own.
const OF_ITS_OWN: u64 = 4 << 20;

/// Names as long as ImageNet's.
fn imagenet() -> Draft {
    let mut draft = Draft::default();
    for class in 0..CLASSES {
        let noun = 1_440_764 + class * 13_001;
        draft.push_class(&format!("n{noun:08}"));
        let n = N / CLASSES + u64::from(class < N % CLASSES);
        for file in 0..n {
            let size = 100_000 + file * class % 20_011;
            draft.push_file(format!("n{noun:08}_{file:05}.JPEG").as_bytes(), size);
        }
    }
    draft
}

/// KiB that this process holds: of its own, and of files.
fn held() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    (of("RssAnon:"), of("RssFile:"))
}

/// What a trainer does: opens it, and looks at every entry.
fn look_at(kept: &Path) {
    let before = held();
    let start = Instant::now();
    let bytes = Mapped::of(&File::open(kept).unwrap()).unwrap();
    let columns = Columns::parse(Bytes::Mapped(bytes)).unwrap();
    let opened = start.elapsed();
    let index = Index::of_folder(Path::new("nowhere"), columns, Origin::Kept);
    let start = Instant::now();
    let length: usize = index.entries().map(|entry| entry.path().as_os_str().len()).sum();
    let looked = start.elapsed();
    assert_eq!(length as u64 / N, 30);
    let after = held();
    let [own, files] = [(after.0, before.0), (after.1, before.1)].map(|(a, b)| a.saturating_sub(b));
    println!(
        "a process opened it in {opened:.1?} and looked at every path in {looked:.1?}; it holds {own} KiB more of its own and {files} KiB of files"
    );
    assert!(own << 10 < OF_ITS_OWN, "{own} KiB");
}

#[test]
fn imagenets_index_is_small_and_shared() {
    if let Some(kept) = std::env::var_os(CHILD) {
        return look_at(kept.as_ref());
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, cache) = (dir.path().join("data"), Cache::exact(&dir.path().join("kept")));
    let mut draft = imagenet();
    let start = Instant::now();
    let columns = cache.keep(&data, &mut draft).unwrap();
    let kept = cache.file_of(&data).unwrap();
    let n_bytes = fs::metadata(&kept).unwrap().len();
    println!(
        "{N} entries were written in {:.1?}: {n_bytes} bytes",
        start.elapsed()
    );
    assert_eq!((columns.n_samples(), columns.n_classes()), (N, 1_000));
    let last = columns.entry(N - 1);
    assert_eq!((last.class, last.class_name), (999, "n14428763"));

    // Eight trainers hold the file once and, each, next to nothing of their own.
    let this = "index::tests::scale::imagenets_index_is_small_and_shared";
    let children: Vec<_> = (0..8)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", this, "--nocapture"])
                .env(CHILD, &kept)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        println!(
            "{}",
            said.lines()
                .find(|line| line.contains("opened it"))
                .unwrap_or(&said)
        );
    }
    let of_machine = n_bytes + 8 * OF_ITS_OWN;
    assert!(of_machine < 100_000_000, "{of_machine}");
}

/// Sparse files, as they cost little; all in one class, whose sizes are asked for in parallel.
#[test]
fn a_large_class_is_walked_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("all")).unwrap();
    for file in 0..5_000u64 {
        let opened = File::create(dir.path().join(format!("all/{file:05}.jpg"))).unwrap();
        opened.set_len(file).unwrap();
    }
    let start = Instant::now();
    let index = Index::read(dir.path()).unwrap();
    println!("5000 files of a class were walked in {:.1?}", start.elapsed());
    assert!(index.entries().map(|entry| entry.size).eq(0..5_000));
}
