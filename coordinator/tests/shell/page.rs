//! The page over real sockets: what is answered where, to whom, and what strangers can't do to it.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use m2t_common::status::{PhaseName, Status};
use m2t_common::{Generation, Step};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, Pair, Running, committed, folder, start, wait_until};

/// An answer, whole.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Sends these bytes on a connection of their own and reads until it ends.
pub(crate) async fn send(page: SocketAddr, bytes: &str) -> Answer {
    let answered = async {
        let mut stream = TcpStream::connect(page).await?;
        stream.write_all(bytes.as_bytes()).await?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await?;
        io::Result::Ok(String::from_utf8(text).unwrap())
    };
    let text = tokio::time::timeout(PATIENCE, answered).await.unwrap().unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    Answer {
        code: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

pub(crate) async fn get(page: SocketAddr, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {page}\r\nConnection: close\r\n\r\n");
    send(page, &request).await
}

async fn post(page: SocketAddr, lines: &[&str], body: &str) -> Answer {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!(
        "POST /api/orders HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n{lines}\r\n{body}",
        body.len()
    );
    send(page, &request).await
}

/// The token as the page carries it.
async fn token(page: SocketAddr) -> String {
    let index = get(page, "/").await.body;
    let (_, rest) = index.split_once("name=\"m2t-token\" content=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// The events of a stream, as (name, data).
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(page: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(page).await.unwrap();
        let request = format!("GET /api/stream HTTP/1.1\r\nHost: {page}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(stream))
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        let n_bytes = tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        assert!(n_bytes > 0, "the stream ended");
        line.trim_end().to_owned()
    }

    async fn next(&mut self) -> (String, String) {
        let mut name = String::new();
        loop {
            let line = self.line().await;
            if let Some(rest) = line.strip_prefix("event: ") {
                name = rest.to_owned();
            } else if let Some(data) = line.strip_prefix("data:") {
                return (name, data.trim_start().to_owned());
            }
        }
    }

    /// The first status that is as wanted.
    async fn status(&mut self, wanted: impl Fn(&Status) -> bool) -> Status {
        loop {
            let (name, data) = self.next().await;
            assert_eq!(name, "status");
            let status: Status = serde_json::from_str(&data).unwrap();
            if wanted(&status) {
                return status;
            }
        }
    }
}

async fn training(running: &Running) -> Pair {
    let pair = Pair::join(running).await;
    pair.steps(1..=2).await;
    wait_until(running, |status| committed(status) == Some(Step(2))).await;
    pair
}

#[tokio::test]
async fn the_page_its_files_and_its_numbers_are_served() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let pair = training(&running).await;
    let index = get(running.page, "/").await;
    assert_eq!(index.code, 200);
    assert!(
        index.body.contains("<title>") && !index.body.contains("{{"),
        "{}",
        index.body
    );
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; script-src 'self'",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
    ] {
        assert!(index.head.contains(header), "{header} is not in\n{}", index.head);
    }
    assert!(!index.head.contains("unsafe-inline"), "{}", index.head);
    let script = get(running.page, "/assets/page.js").await;
    assert!(
        script.head.contains("content-type: text/javascript"),
        "{}",
        script.head
    );
    assert_eq!(get(running.page, "/assets/../main.rs").await.code, 404);
    assert_eq!(get(running.page, "/assets/secret").await.code, 404);
    assert_eq!(get(running.page, "/api/orders").await.code, 405);

    let mut shown: Status = serde_json::from_value(get(running.page, "/api/status").await.json()).unwrap();
    let mut told = running.status().await;
    // Time passes between the two.
    shown.at = told.at;
    for status in [&mut shown, &mut told] {
        for machine in &mut status.machines {
            machine.silent_for = Duration::ZERO;
        }
    }
    assert_eq!(shown, told);

    let history = get(running.page, "/api/history").await.json();
    assert_eq!(
        (&history["stride"], &history["last"]),
        (&json!(1), &json!([1, 2]))
    );
    let later = get(running.page, "/api/history?from=1").await.json();
    assert_eq!((&later["last"], &later["loss"]), (&json!([2]), &json!([0.25])));
    assert_eq!(get(running.page, "/api/history?from=x").await.code, 400);

    pair.checkpoint(2).await;
    wait_until(&running, |status| status.checkpoint.is_some()).await;
    let chronicle = get(running.page, "/api/chronicle").await.json();
    assert_eq!(chronicle["checkpoints"][0]["step"], 2);
    assert_eq!(chronicle["generations"][0]["generation"], 1);
    assert!(chronicle["generations"][0]["trains"].is_u64(), "{chronicle}");

    let metrics = get(running.page, "/metrics").await;
    assert!(
        metrics.head.contains("content-type: text/plain; version=0.0.4"),
        "{}",
        metrics.head
    );
    for line in [
        "m2t_step 2",
        "m2t_steps_committed_total 2",
        "m2t_phase{phase=\"training\"} 1",
    ] {
        assert!(
            metrics.body.lines().any(|said| said == line),
            "{line}: {}",
            metrics.body
        );
    }
}

#[tokio::test]
async fn a_change_is_on_the_stream_within_a_second_and_the_end_is_its_last_word() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let mut events = Events::open(running.page).await;
    events.status(|status| status.phase == PhaseName::Gathering).await;
    let pair = training(&running).await;
    events.status(|status| committed(status) == Some(Step(2))).await;
    let since = Instant::now();
    pair.steps(3..=3).await;
    events.status(|status| committed(status) == Some(Step(3))).await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    drop(pair);
    running.stop.send(()).await.unwrap();
    let mut last = None;
    loop {
        let (name, data) = events.next().await;
        if name == "over" {
            break;
        }
        last = Some(serde_json::from_str::<Status>(&data).unwrap());
    }
    assert_eq!(last.unwrap().phase, PhaseName::Stopped);
    running.outcome().await;
}

#[tokio::test]
async fn orders_are_taken_from_the_page_and_from_nobody_else() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let _pair = training(&running).await;
    let page = running.page;
    let (host, own) = (format!("Host: {page}"), format!("Origin: http://{page}"));
    let right = format!("M2t-Token: {}", token(page).await);
    let typed = "Content-Type: application/json";
    let pause = r#"{"order":"pause"}"#;
    for (lines, code, word) in [
        (vec![&*host, typed], 403, "own page"),
        (vec![&host, typed, &right], 403, "own page"),
        (
            vec![&host, typed, &right, "Origin: http://evil.example"],
            403,
            "own page",
        ),
        (vec![&host, typed, &own], 403, "token"),
        (vec![&host, typed, &own, "M2t-Token: 12"], 403, "token"),
        (
            vec!["Host: evil.example", typed, &right, "Origin: http://evil.example"],
            403,
            "localhost",
        ),
        (
            vec![&host, &own, &right, "Content-Type: text/plain"],
            415,
            "application/json",
        ),
    ] {
        let answer = post(page, &lines, pause).await;
        assert_eq!(answer.code, code, "{lines:?}: {}", answer.body);
        let refused = answer.json()["refused"].as_str().unwrap().to_owned();
        assert!(refused.contains(word), "{refused}");
    }
    assert_eq!(
        running.status().await.phase,
        PhaseName::Training,
        "nothing was done"
    );

    let lines = [&*host, typed, &own, &right];
    for (order, code) in [
        (r#"{"order":"resume"}"#, 409),
        (r#"{"order":"explode"}"#, 422),
        (r#"{"order":"drain"}"#, 422),
        (r#"{"order":"drain","machine":"no such"}"#, 422),
        (r#"{"order":"drain","machine":"c"}"#, 409),
        ("{", 400),
    ] {
        let answer = post(page, &lines, order).await;
        assert_eq!(answer.code, code, "{order}: {}", answer.body);
        assert!(answer.json()["refused"].is_string(), "{order}: {}", answer.body);
    }
    let accepted = post(page, &lines, pause).await;
    assert_eq!(accepted.code, 200);
    assert!(
        accepted.json()["accepted"]
            .as_str()
            .unwrap()
            .starts_with("pausing: ")
    );
    wait_until(&running, |status| status.phase == PhaseName::Draining).await;
}

#[tokio::test]
async fn another_name_for_this_machine_is_refused() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    for path in ["/", "/api/status", "/metrics", "/api/stream"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: rebound.example:80\r\nConnection: close\r\n\r\n");
        let answer = send(running.page, &request).await;
        assert_eq!(answer.code, 403, "{path}");
        assert!(answer.body.contains("localhost") && answer.head.contains("content-security-policy"));
    }
    let port = running.page.port();
    let request = format!("GET /api/status HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(send(running.page, &request).await.code, 200);
}

#[tokio::test]
async fn what_is_too_large_or_too_slow_is_ended() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let page = running.page;
    let (host, own) = (format!("Host: {page}"), format!("Origin: http://{page}"));
    let right = format!("M2t-Token: {}", token(page).await);
    let lines = [&*host, &own, &right, "Content-Type: application/json"];
    let long = format!("{{\"order\":\"pause\",\"x\":\"{}\"}}", "y".repeat(5_000));
    assert_eq!(post(page, &lines, &long).await.code, 413);
    let long = format!(
        "GET / HTTP/1.1\r\nHost: {page}\r\nX: {}\r\n\r\n",
        "y".repeat(20_000)
    );
    assert_eq!(send(page, &long).await.code, 431);
    let many: String = (0..100).map(|i| format!("X-{i}: y\r\n")).collect();
    assert_eq!(
        send(page, &format!("GET / HTTP/1.1\r\n{many}\r\n")).await.code,
        431
    );
    assert_eq!(send(page, "nonsense\r\n\r\n").await.code, 400);

    // One that never ends its headers, one that never sends its body, one that says nothing.
    let half_head = format!("GET / HTTP/1.1\r\nHost: {page}\r\n");
    let half_body = format!(
        "POST /api/orders HTTP/1.1\r\n{}\r\nContent-Length: 9\r\n\r\n{{",
        lines.join("\r\n")
    );
    let ended = [half_head, half_body, String::new()].map(|begun| async move {
        let mut stream = TcpStream::connect(page).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
            .await
            .unwrap_or_else(|_| panic!("{begun:?} still holds its connection"))
            .unwrap();
    });
    for ended in ended.map(tokio::spawn) {
        ended.await.unwrap();
    }
}

/// This process holds both ends of each connection: more than a process may open by default.
fn may_open_files(n_files: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < n_files) {
        let current = Some(n_files);
        setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
    }
}

#[tokio::test]
async fn a_thousand_idle_connections_leave_page_and_run_answering() {
    may_open_files(2_000);
    let (_folder, output) = folder();
    let running = start(&output).await;
    let mut events = Events::open(running.page).await;
    events.status(|_| true).await;
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        // Those that gave way are closed on the other side; none is in the way of the next.
        idle.push(TcpStream::connect(running.page).await.unwrap());
    }
    assert_eq!(get(running.page, "/api/status").await.code, 200);
    let pair = training(&running).await;
    assert_eq!(pair.generation, Generation(1));
    events.status(|status| committed(status) == Some(Step(2))).await;
    let n_open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(
        n_open < 1_000 + 256 + 100,
        "{n_open} files are open in both halves of this test"
    );
    drop(idle);
}

#[tokio::test]
async fn one_watcher_too_many_is_sent_to_the_status() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let mut watchers = Vec::new();
    for _ in 0..64 {
        let mut events = Events::open(running.page).await;
        events.status(|_| true).await;
        watchers.push(events);
    }
    let refused = get(running.page, "/api/stream").await;
    assert_eq!(refused.code, 503);
    assert!(refused.body.contains("/api/status"), "{}", refused.body);
    assert_eq!(get(running.page, "/api/status").await.code, 200);
    drop(watchers);
}

/// What Prometheus' own tool says of `input`; none, with a line that says so, where it is not installed.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn promtool(arguments: &[&str], input: &str) -> Option<String> {
    let started = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = started else {
        println!("skipped: promtool is not installed (Debian: apt install prometheus)");
        return None;
    };
    tool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let said = tool.wait_with_output().unwrap();
    let text = [said.stdout, said.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert!(said.status.success(), "{arguments:?}: {text}");
    Some(text)
}

#[tokio::test]
async fn prometheus_finds_nothing_to_mend() {
    let (_folder, output) = folder();
    let running = start(&output).await;
    let pair = training(&running).await;
    pair.checkpoint(2).await;
    wait_until(&running, |status| status.checkpoint.is_some()).await;
    let metrics = get(running.page, "/metrics").await.body;
    let Some(said) = promtool(&["check", "metrics"], &metrics) else {
        return;
    };
    assert_eq!(
        said, "",
        "every metric has a help, a type and a name with its unit"
    );
    // As a user has it: with a viewer's token beside it.
    let as_used = tempfile::tempdir().unwrap();
    for file in ["prometheus.yml", "alerts.yml"] {
        let path = format!("{}/../deploy/prometheus/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(path, as_used.path().join(file)).unwrap();
    }
    std::fs::write(as_used.path().join("viewer.token"), "m2t.viewer").unwrap();
    let config = as_used.path().join("prometheus.yml");
    let said = promtool(&["check", "config", config.to_str().unwrap()], "").unwrap();
    assert!(said.contains("12 rules found"), "{said}");
    let cases = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../deploy/prometheus/alerts.test.yml"
    );
    let said = promtool(&["test", "rules", cases], "").unwrap();
    assert!(said.contains("SUCCESS"), "{said}");
}
