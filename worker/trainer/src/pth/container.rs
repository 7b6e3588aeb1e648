//! The two forms of a file: where in it the pickle is, and where each storage's bytes are.
//!
//! The zip, since PyTorch 1.6: records `NAME/data.pkl`, `NAME/data/KEY` a storage, `NAME/byteorder`, all of them stored plainly. The
//! stream before: pickles of a magic number, of a version and of facts on the machine; the pickle of what was saved; one of the list
//! of keys; then, a key after the other, the number of elements in eight bytes and the elements. Nothing is copied out of the file
//! here, and no storage that no tensor needs is looked at.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::graph::{Graph, Object};
use super::machine;
use super::place::Storage;
use super::problem::Problem;
use super::write::ABOUT;

/// Where each storage's bytes are, by its place in [`Graph::storages`].
pub(super) type Storages = Vec<Range<usize>>;

/// What was saved, and where.
pub(super) struct Parsed {
    pub(super) graph: Graph,
    pub(super) storages: Storages,
    /// Where the record [`super::write::ABOUT`] is.
    pub(super) about: Option<Range<usize>>,
}

/// How files begin.
const ZIP: &[u8] = b"PK\x03\x04";
/// The pickle of 0x1950a86a20f9469cfc6c.
const STREAM: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The version of the stream that PyTorch wrote, up to its last.
const STREAM_VERSION: i64 = 1001;
const PICKLE: &[u8] = b"\x80";
const TAR: (usize, &[u8]) = (257, b"ustar");

/// Of which form a file is, or is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Zip,
    Stream,
    Pickle,
    Tar,
}

/// By how a file begins.
pub(super) fn recognise(bytes: &[u8]) -> Option<Form> {
    let is_tar = bytes.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1));
    [(ZIP, Form::Zip), (STREAM, Form::Stream), (PICKLE, Form::Pickle)]
        .into_iter()
        .find(|(beginning, _)| bytes.starts_with(beginning))
        .map(|(_, form)| form)
        .or(is_tar.then_some(Form::Tar))
}

/// What was saved, and where the storages of its tensors are.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Problem> {
    match recognise(bytes) {
        Some(Form::Zip) => zip(bytes),
        Some(Form::Stream) => stream(bytes),
        Some(Form::Pickle) => Err(Problem::PlainPickle),
        Some(Form::Tar) => Err(Problem::Tar),
        None => Err(Problem::NotPyTorch),
    }
}

fn zip(bytes: &[u8]) -> Result<Parsed, Problem> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| Problem::Zip(error.to_string()))?;
    let numbers: BTreeMap<String, usize> = (0..archive.len())
        .filter_map(|i| Some((archive.name_for_index(i)?.ok()?.into_owned(), i)))
        .collect();
    let is_whole = |name: &&String| name.ends_with("/data.pkl") && name.matches('/').count() == 1;
    let pickle = numbers.keys().find(is_whole);
    let pickle = pickle.ok_or_else(|| Problem::NoRecord("data.pkl".to_owned()))?;
    let name = pickle.trim_end_matches("data.pkl");
    if numbers.contains_key(&format!("{name}constants.pkl")) {
        return Err(Problem::TorchScript);
    }
    let mut record = |what: &str| {
        let number = numbers.get(&format!("{name}{what}"));
        let found = number.map(|&i| record(&mut archive, (i, what), bytes.len()));
        found.transpose()
    };
    if let Some(order) = record("byteorder")?
        && &bytes[order] != b"little"
    {
        return Err(Problem::ByteOrder);
    }
    let missing = |what: &str| Problem::NoRecord(what.to_owned());
    let pickle = record("data.pkl")?.ok_or_else(|| missing("data.pkl"))?;
    let (graph, _) = machine::run(&bytes[..pickle.end], pickle.start)?;
    let mut n_left = bytes.len();
    let mut storages = Storages::new();
    for storage in &graph.storages {
        let what = format!("data/{}", storage.key);
        let range = record(&what)?.ok_or_else(|| missing(&what))?;
        require_size(&storage.key, storage.n_bytes(), range.len())?;
        // Each is read once, to be verified: together they are no more than there is.
        n_left = n_left.checked_sub(range.len()).ok_or(Problem::Overlap)?;
        storages.push(range);
    }
    let about = record(ABOUT)?;
    Ok(Parsed {
        graph,
        storages,
        about,
    })
}

/// Where a record's bytes are, once they are found to be those it was written with.
fn record(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    (i, what): (usize, &str),
    length: usize,
) -> Result<Range<usize>, Problem> {
    let damaged = || Problem::Damaged(what.to_owned());
    let file = archive
        .by_index_raw(i)
        .map_err(|error| Problem::Zip(error.to_string()))?;
    if file.compression() != CompressionMethod::Stored
        || file.encrypted()
        || file.size() != file.compressed_size()
    {
        return Err(Problem::NotStored(what.to_owned()));
    }
    let begin = file.data_start().and_then(|begin| usize::try_from(begin).ok());
    let size = usize::try_from(file.size()).ok();
    let range = begin
        .zip(size)
        .and_then(|(begin, size)| Some(begin..begin.checked_add(size)?));
    let range = range.filter(|range| range.end <= length).ok_or_else(damaged)?;
    drop(file);
    let mut file = archive
        .by_index(i)
        .map_err(|error| Problem::Zip(error.to_string()))?;
    // The reader compares the checksum at the end.
    match io::copy(&mut file, &mut io::sink()) {
        Ok(n) if n == range.len() as u64 => Ok(range),
        _ => Err(damaged()),
    }
}

fn stream(bytes: &[u8]) -> Result<Parsed, Problem> {
    let (version, at) = machine::run(bytes, STREAM.len())?;
    if *version.object(version.root) != Object::Int(STREAM_VERSION) {
        return Err(Problem::Nonsense(
            "another version of the older form than PyTorch's last",
        ));
    }
    let (facts, at) = machine::run(bytes, at)?;
    require_little_endian(bytes, &facts)?;
    let (graph, at) = machine::run(bytes, at)?;
    let (keys, mut at) = machine::run(bytes, at)?;
    let known: BTreeMap<&str, &Storage> = graph.storages.iter().map(|s| (s.key.as_str(), s)).collect();
    let mut places = BTreeMap::new();
    for key in texts(bytes, &keys)? {
        let storage = known
            .get(key)
            .ok_or(Problem::Nonsense("a storage that no tensor is laid over"))?;
        let (counted, rest) = bytes[at..].split_first_chunk().ok_or(Problem::Cut)?;
        if u64::from_le_bytes(*counted) != storage.n_elements {
            return Err(Problem::Nonsense(
                "a storage of another length than its pickle says",
            ));
        }
        let n_bytes = storage.n_bytes().and_then(|n| usize::try_from(n).ok());
        let n_bytes = n_bytes.filter(|&n| n <= rest.len()).ok_or(Problem::Cut)?;
        let begin = at + counted.len();
        at = begin + n_bytes;
        places.insert(key, begin..at);
    }
    let place = |storage: &Storage| {
        let place = places.get(storage.key.as_str()).cloned();
        place.ok_or_else(|| Problem::NoRecord(format!("storage {}", storage.key)))
    };
    let storages = graph.storages.iter().map(place).collect::<Result<_, _>>()?;
    Ok(Parsed {
        graph,
        storages,
        about: None,
    })
}

/// {"protocol_version": 1001, "little_endian": True, …}
fn require_little_endian(bytes: &[u8], facts: &Graph) -> Result<(), Problem> {
    let Object::Dict(entries) = facts.object(facts.root) else {
        return Err(Problem::Nonsense("no facts on the machine that wrote it"));
    };
    let is_order = |key| match facts.object(key) {
        Object::Text(range) => &bytes[range.clone()] == b"little_endian",
        _ => false,
    };
    match entries.iter().find(|(key, _)| is_order(*key)) {
        Some(&(_, value)) if *facts.object(value) == Object::Bool(true) => Ok(()),
        _ => Err(Problem::ByteOrder),
    }
}

fn texts<'b>(bytes: &'b [u8], list: &Graph) -> Result<Vec<&'b str>, Problem> {
    const NO_KEYS: Problem = Problem::Nonsense("no list of storages");
    let Object::List(items) = list.object(list.root) else {
        return Err(NO_KEYS);
    };
    let text = |&id| match list.object(id) {
        Object::Text(range) => std::str::from_utf8(&bytes[range.clone()]).map_err(|_| NO_KEYS),
        _ => Err(NO_KEYS),
    };
    items.iter().map(text).collect()
}

fn require_size(key: &str, expected: Option<u64>, found: usize) -> Result<(), Problem> {
    if expected == Some(found as u64) {
        return Ok(());
    }
    Err(Problem::StorageSize {
        key: key.to_owned(),
        found: found as u64,
        expected: expected.unwrap_or(u64::MAX),
    })
}
