//! Calls over real sockets: HTTP/2 frames by hand with mutated messages in them, whole conversations mutated, requests to the page.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use m2t_common::Step;
use m2t_common::machine_link::FromMachine;
use m2t_common::random::Stream;
use m2t_proto::wire;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mutator::{Whole, how_many, mutant};
use crate::support::{Pair, Running, committed, folder, start, wait_until};
use crate::{MEMORY, TURN, wholes};

/// Well-meant questions come in between, one after so many strangers.
const BETWEEN: u64 = 50;
/// What a coordinator may hold more after all strangers than after the first of them.
const MOST: usize = 32 << 20;
/// How long a stranger listens: some calls are answered for ever.
const LISTENS: Duration = Duration::from_millis(200);

/// Panics anywhere in this process: a task of the server that panics ends alone, and nobody else would see it.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// What can be called; not the order to stop, which would be obeyed.
const PATHS: [&str; 9] = [
    "/m2t.v1.Coordinator/Attach",
    "/m2t.v1.Coordinator/Attach",
    "/m2t.v1.Coordinator/Attach",
    "/m2t.v1.Status/Get",
    "/m2t.v1.Status/Watch",
    "/m2t.v1.Control/Drain",
    "/m2t.v1.Control/Readmit",
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];
/// What can be asked of the page.
const REQUESTS: [&str; 5] = [
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET /api/status HTTP/1.1\r\nHost: localhost:7118\r\nAccept: */*\r\n\r\n",
    "GET /api/chronicle?from=3 HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"x\"\r\n\r\n",
    "POST /api/order HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"order\":\"pause\"}",
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n",
];

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A block of header fields as literals, none of them indexed.
fn headers(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A whole conversation: greeting, settings, a call, its messages.
fn conversation(path: &str, messages: &[Vec<u8>]) -> Vec<u8> {
    let (settings, begins, data) = (0x4, 0x1, 0x0);
    let (end_of_headers, end_of_stream) = (0x4, 0x1);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(settings, 0, 0, &[]));
    bytes.extend(frame(begins, end_of_headers, 1, &headers(path)));
    for (i, message) in messages.iter().enumerate() {
        let mut payload = vec![0];
        payload.extend((message.len() as u32).to_be_bytes());
        payload.extend(message);
        let is_last = i + 1 == messages.len();
        bytes.extend(frame(data, if is_last { end_of_stream } else { 0 }, 1, &payload));
    }
    bytes
}

/// What stranger `number` sends, and whether to the page.
fn sent(wholes: &[Whole], number: u64) -> (Vec<u8>, bool) {
    let mut draw = Stream::new("strangers", &[number]);
    if draw.chance(0.2) {
        let requests = REQUESTS.map(|request| (request.to_owned(), request.as_bytes().to_vec()));
        return (mutant(&requests, number).1, true);
    }
    let path = PATHS[draw.below(PATHS.len() as u64) as usize];
    let n_messages = 1 + draw.below(4);
    let mut messages: Vec<Vec<u8>> = (0..n_messages)
        .map(|i| mutant(wholes, number * 8 + i).1)
        .collect();
    // An introduction as it should be lets what follows in.
    if draw.chance(0.5) {
        messages.insert(0, wholes[0].1.clone());
    }
    let whole = conversation(path, &messages);
    if draw.chance(0.3) {
        return (mutant(&[(path.to_owned(), whole)], number).1, false);
    }
    (whole, false)
}

/// Says it all, and hears what comes back for a while; how many bytes.
async fn call(running: &Running, (bytes, to_page): (Vec<u8>, bool)) -> usize {
    let grpc = running.address.trim_start_matches("http://").to_owned();
    let address = if to_page { running.page.to_string() } else { grpc };
    let mut socket = TcpStream::connect(address).await.unwrap();
    // A coordinator may hang up in the middle of it.
    let _ = socket.write_all(&bytes).await;
    let _ = socket.shutdown().await;
    let mut heard = Vec::new();
    let _ = tokio::time::timeout(LISTENS, socket.read_to_end(&mut heard)).await;
    heard.len()
}

#[tokio::test]
#[expect(
    clippy::await_holding_lock,
    reason = "the other test waits in a thread of its own"
)]
async fn a_coordinator_serves_among_strangers() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let n = how_many(600);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        usual(info);
    }));
    let encode = |message| {
        (
            format!("{message:.40?}"),
            wire::FromMachine::from(message).encode_to_vec(),
        )
    };
    // Of another version: who introduces himself as a daemon should takes part, and may bring a run to its end.
    let foreign = |mut message: FromMachine| {
        if let FromMachine::Hello(hello) = &mut message {
            hello.version = "9.9.9".to_owned();
        }
        message
    };
    let messages = wholes::from_machine("stranger").into_iter().map(foreign);
    let wholes: Vec<Whole> = messages.map(encode).collect();
    let (_folder, output) = folder();
    let running = start(&output).await;
    let (mut n_answered, mut baseline) = (0, None);
    for number in 0..n {
        n_answered += u64::from(call(&running, sent(&wholes, number)).await > 0);
        if running.ended.is_finished() {
            panic!(
                "stranger {number} ended the coordinator: {:?}",
                running.ended.await
            );
        }
        assert_eq!(
            PANICS.load(Ordering::Relaxed),
            0,
            "stranger {number} made the coordinator panic"
        );
        if number % BETWEEN == BETWEEN - 1 {
            let _ = running.status().await;
            baseline.get_or_insert_with(|| MEMORY.current_usage());
        }
    }
    let grown = MEMORY
        .current_usage()
        .saturating_sub(baseline.unwrap_or_default());
    println!(
        "{n} strangers: {n_answered} were answered; {grown} bytes more are held than after the first {BETWEEN}"
    );
    assert!(grown <= MOST, "{grown}");
    assert!(n_answered > n / 10, "{n_answered} of {n}");
    // Whoever means well trains.
    let pair = Pair::join(&running).await;
    pair.steps(1..=3).await;
    wait_until(&running, |status| committed(status) == Some(Step(3))).await;
}
