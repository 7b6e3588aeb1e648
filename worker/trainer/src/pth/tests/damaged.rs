//! Files cut at each byte and changed at random: read or refused, never a panic, and nothing larger than a few times the file.

use m2t_common::random::Stream;

use super::super::opcode as op;
use super::*;

/// Walks through all that a file claims to have.
fn look(bytes: Vec<u8>) {
    let limit = 64 * bytes.len() + (1 << 16);
    let Ok(archive) = Archive::parse(bytes) else {
        return;
    };
    assert!(archive.graph.objects.len() <= limit);
    let Some(entries) = archive.root().entries() else {
        return;
    };
    for (_, value) in entries {
        let n = value.tensor().map_or(0, |tensor| tensor.bytes.len());
        assert!(n <= archive.bytes.len(), "a tensor of {n} bytes");
        for (_, inner) in value.entries().into_iter().flatten() {
            let n = inner.tensor().map_or(0, |tensor| tensor.bytes.len());
            assert!(n <= archive.bytes.len(), "a tensor of {n} bytes");
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for whole in [written(), Made::default().stream()] {
        for n in 0..whole.len() {
            assert!(
                Archive::parse(whole[..n].to_vec()).is_err(),
                "{n} of {} bytes",
                whole.len()
            );
        }
        look(whole);
    }
}

#[test]
fn no_change_of_bytes_makes_it_panic_or_take_much_memory() {
    for whole in [written(), Made::default().stream()] {
        let mut stream = Stream::new("damage", &[]);
        let mut draw = |n: usize| stream.uniform(0.0, n as f64) as usize;
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=draw(4) {
                let at = draw(bytes.len());
                match draw(4) {
                    0 => bytes[at] = draw(256) as u8,
                    1 => bytes[at] ^= 1 << draw(8),
                    2 => bytes.insert(at, draw(256) as u8),
                    _ => drop(bytes.remove(at)),
                }
            }
            look(bytes);
        }
    }
}

#[test]
fn bombs_are_refused_at_their_limits() {
    // Marks in marks, calls of a dict of a list that was remembered, things put on the stack for two bytes each.
    let marks = [b"\x80\x02".to_vec(), vec![op::MARK; 5000], vec![op::STOP]].concat();
    let pairs = b"K\x01K\x02\x86".repeat(10_000);
    let copies = b"ccollections\nOrderedDict\nh\x00\x85R".repeat(100);
    let copied = [
        b"\x80\x02](".to_vec(),
        pairs,
        vec![op::APPENDS, op::BIN_PUT, 0],
        copies,
        vec![op::STOP],
    ]
    .concat();
    let recalled = [
        b"\x80\x02Nq\x00".to_vec(),
        b"h\x00".repeat(1 << 20),
        vec![op::STOP],
    ]
    .concat();
    for (pickle, what) in [
        (marks, "nested objects"),
        (copied, "copied entries"),
        (recalled, "objects on its stack"),
    ] {
        let refused = problem(zip(&[("a/data.pkl", &pickle)]));
        assert!(
            matches!(refused, Problem::TooMuch { what: found, .. } if found == what),
            "{refused}"
        );
    }
}
