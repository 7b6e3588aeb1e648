//! A browser without a window, driven over the DevTools protocol: a page is opened, read and clicked on as a person would.
//!
//! The protocol goes over two pipes (`--remote-debugging-pipe`: JSON, a zero byte after each message), so no WebSocket and no driver
//! program are needed. Chromium expects them as descriptors 3 and 4; a shell makes them of its standard input and output.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::PATIENCE;

/// How often a page is looked at.
const LOOK: Duration = Duration::from_millis(20);

const NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "chrome",
    "chrome-headless-shell",
];

/// A browser with one page. Dropping it ends it.
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    /// What came while an answer was awaited.
    events: VecDeque<Value>,
    session: Option<String>,
    next_id: u64,
    _profile: TempDir,
}

/// The browser of this machine: `M2T_CHROMIUM`, or the first of the usual names in `PATH`. None, with a line that says so, where
/// there is none; with `CI=true` and `M2T_BROWSER=required` that fails.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("M2T_CHROMIUM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || {
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let named = |name: &&str| {
            folders
                .iter()
                .map(|folder| folder.join(name))
                .find(|path| path.is_file())
        };
        NAMES.iter().find_map(named)
    };
    let found = named.or_else(in_path);
    if found.is_none() {
        let missing = "no Chromium is installed (Debian: apt install chromium; or set M2T_CHROMIUM to one)";
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let is_required = variable("CI") == "true" && variable("M2T_BROWSER") == "required";
        assert!(!is_required, "{missing}");
        println!("skipped: {missing}");
    }
    found
}

impl Browser {
    /// Starts `program` with an empty page of `width` by `height` pixels.
    pub fn start(program: &std::path::Path, (width, height): (u32, u32)) -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec \"$@\" 3<&0 4>&1 >/dev/null 2>&1 </dev/null", "sh"])
            .arg(program)
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--disable-dev-shm-usage", "--disable-background-networking"])
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if rustix::process::geteuid().is_root() {
            // Chromium's own sandbox refuses root; what is opened is this project's page.
            command.arg("--no-sandbox");
        }
        let mut process = command.spawn().expect("sh runs");
        let commands = process.stdin.take().expect("standard input is piped");
        let answers = BufReader::new(process.stdout.take().expect("standard output is piped"));
        let (heard, messages) = channel();
        std::thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("the protocol is JSON");
                if heard.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            process,
            commands,
            messages,
            events: VecDeque::new(),
            session: None,
            next_id: 0,
            _profile: profile,
        };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.call("Target.attachToTarget", &target);
        self.session = Some(
            session["sessionId"]
                .as_str()
                .expect("a session has an id")
                .to_owned(),
        );
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            self.call(domain, &json!({}));
        }
    }

    /// Takes certificates of authorities that it does not know, as a person may.
    pub fn take_any_certificate(&mut self) {
        self.call("Security.enable", &json!({}));
        self.call("Security.setIgnoreCertificateErrors", &json!({ "ignore": true }));
    }

    /// Opens an address.
    pub fn open(&mut self, address: &str) {
        assert_eq!(self.refusal(address), None, "{address}");
    }

    /// Opens an address; why not, in the browser's words.
    pub fn refusal(&mut self, address: &str) -> Option<String> {
        let answer = self.call("Page.navigate", &json!({ "url": address }));
        answer["errorText"].as_str().map(str::to_owned)
    }

    /// From now on requests to addresses that match `patterns` fail in the browser.
    pub fn block(&mut self, patterns: &[&str]) {
        self.call("Network.setBlockedURLs", &json!({ "urls": patterns }));
    }

    /// What a JavaScript expression comes to, as JSON.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The text of the first element that `selector` names; empty where there is none, or it cannot be seen.
    pub fn text(&mut self, selector: &str) -> String {
        let text = format!(
            "(() => {{ const element = document.querySelector({selector:?}); return element?.checkVisibility() ? element.innerText : ''; }})()"
        );
        let text = self.evaluate(&text);
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until that text is as wanted, and returns it.
    pub fn wait_for(&mut self, selector: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.text(selector);
            if wanted(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "{selector} is {text:?} still");
            std::thread::sleep(LOOK);
        }
    }

    /// Clicks on the middle of an element, as a mouse does, once it is there and stands still.
    pub fn click(&mut self, selector: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut middle = self.middle(selector);
        loop {
            std::thread::sleep(LOOK);
            let next = self.middle(selector);
            if next == middle && !next.is_null() {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{selector} cannot be seen, or moves still: {next}"
            );
            middle = next;
        }
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": middle[0], "y": middle[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Puts a text into a field, as pasting does.
    pub fn type_into(&mut self, selector: &str, text: &str) {
        let focus = format!(
            "(() => {{ const field = document.querySelector({selector:?}); field.focus(); field.select(); }})()"
        );
        self.evaluate(&focus);
        self.call("Input.insertText", &json!({ "text": text.trim() }));
    }

    /// Where the middle of an element is, brought into view; null where it cannot be seen.
    fn middle(&mut self, selector: &str) -> Value {
        let middle = format!(
            "(() => {{ const element = document.querySelector({selector:?}); if (!element?.checkVisibility()) return null; \
             element.scrollIntoView({{ block: 'center' }}); const box = element.getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        self.evaluate(&middle)
    }

    /// What the page's scripts threw and what the page's own policy refused.
    pub fn complaints(&mut self) -> Vec<String> {
        // An answer follows whatever happened before it.
        self.evaluate("1");
        let is_complaint = |event: &&Value| {
            let source = event["params"]["entry"]["source"].as_str();
            event["method"] == "Runtime.exceptionThrown" || matches!(source, Some("security" | "javascript"))
        };
        self.events
            .iter()
            .filter(is_complaint)
            .map(Value::to_string)
            .collect()
    }

    /// Sends a command and waits for its answer.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next_id += 1;
        let id = self.next_id;
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.commands
            .write_all(format!("{message}\0").as_bytes())
            .and_then(|()| self.commands.flush())
            .unwrap_or_else(|error| panic!("the browser does not take {method}: {error}"));
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(mut answer) if answer["id"] == id => {
                    assert!(answer["error"].is_null(), "{method}: {answer}");
                    return answer["result"].take();
                }
                Ok(event) => self.events.push_back(event),
                Err(RecvTimeoutError::Timeout) => panic!("the browser does not answer {method}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the browser ended before it answered {method}")
                }
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Either it is gone already, or this makes it so; its children end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
