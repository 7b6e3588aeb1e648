//! `m2t launch`, with a program in ssh's place that runs the far end on this machine. Real programs otherwise.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use m2t_tests::harness::{Process, photographs, wait_until_gone};
use rustix::process::{Pid, Signal, kill_process};

use crate::desk::Desk;

/// Notes its process number below its host's name, and runs what it is told in a shell, as ssh's other end would. A host is
/// down while a file says so.
const SSH: &str = r#"#!/bin/sh
desk=$(dirname "$0")
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
if [ -e "$desk/$host-is-down" ]; then
    echo "ssh: connect to host $host port 22: No route to host" >&2
    exit 255
fi
echo $$ >>"$desk/connections-of-$host"
exec sh -c "$*"
"#;

/// A desk with a list of two hosts, whose programs do not outlive it.
struct Site {
    desk: Desk,
    port: u16,
}

impl Site {
    fn new(hosts: &str) -> Self {
        let desk = Desk::new();
        desk.write("hosts.txt", hosts);
        desk.write("ssh", SSH);
        std::fs::set_permissions(desk.path("ssh"), PermissionsExt::from_mode(0o755)).unwrap();
        // Free a moment ago; a coordinator that was killed must find it again, so it cannot choose one itself.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self { desk, port }
    }

    fn launch(&self, data: &Path, more: &str) -> Process {
        self.desk.start(&format!(
            "m2t launch hosts.txt -f tiny.toml --data {} --output out --listen 127.0.0.1:{} --http off --ssh {} {more}",
            data.display(),
            self.port,
            self.desk.path("ssh").display()
        ))
    }

    /// Steps that are committed.
    fn steps(&self) -> usize {
        let metrics = std::fs::read_to_string(self.desk.path("out/metrics.jsonl"));
        metrics.map_or(0, |text| text.lines().count())
    }

    /// Waits until the run is past a step.
    fn wait_past(&self, process: &Process, step: usize) {
        let mut patience = m2t_tests::harness::PATIENCE.as_millis() / 20;
        while self.steps() <= step {
            assert!(
                patience > 0,
                "the run does not get past step {step}\n{}",
                process.tail()
            );
            patience -= 1;
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// The processes of the desk, by their temporary folder: number and command line, but for the launcher and its ssh.
    fn processes(&self, program: &str) -> Vec<(i32, String)> {
        let mark = format!("TMPDIR={}", self.desk.folder.path().display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ");
            let command = text(read("cmdline"));
            if command.contains(program) && text(read("environ")).contains(&mark) {
                found.push((pid, command));
            }
        }
        found
    }

    fn pid_of(&self, program: &str, more: &str) -> i32 {
        let mut found = self.processes(program);
        found.retain(|(_, command)| command.contains(more));
        assert_eq!(found.len(), 1, "{program} {more}: {found:?}");
        found[0].0
    }

    /// What a launch keeps on hosts. (The folder of a daemon that was killed is its successor's to remove, once its trainers are gone.)
    fn kept(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.desk.folder.path()).unwrap().flatten();
        let kept = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("m2t-launch-"));
        kept.map(|entry| entry.path()).collect()
    }

    fn nothing_is_left(&self) {
        for program in ["m2t-coordinator", "m2t-worker", "m2t-trainer", "launch-"] {
            for (pid, _) in self.processes(program) {
                wait_until_gone(pid);
            }
        }
        assert_eq!(self.kept(), Vec::<PathBuf>::new());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for program in ["launch-", "m2t-coordinator", "m2t-worker", "m2t-trainer"] {
            for (pid, _) in self.processes(program) {
                let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
            }
        }
    }
}

const TWO: &str = "# two machines\nfirst cpu:1\nme@second cpu:1 # with another user\n";

#[test]
fn a_launch_outlives_its_connections_and_itself_and_stops_at_a_checkpoint_everywhere() {
    let Some(data) = photographs() else { return };
    let site = Site::new(TWO);
    let endless = "--set steps=100000 --min-devices 1";
    let mut launched = site.launch(&data, endless);
    launched.wait_for_text("coordinator | listening on");
    launched.wait_for_line("its machines", |line| line.starts_with("second | ").then_some(()));
    site.wait_past(&launched, 3);
    let daemon = site.pid_of("m2t-worker", "--name second");

    // The connection of one host breaks, and then all of them.
    let connections = std::fs::read_to_string(site.desk.path("connections-of-me@second")).unwrap();
    let newest = connections.lines().last().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(newest).unwrap(), Signal::KILL).unwrap();
    launched.wait_for_text("m2t: second: the connection ended");
    launched.wait_for_text("m2t: second: connected again");
    launched.kill();
    let at = site.steps();
    site.wait_past(&launched, at + 3);

    // Other arguments are not this run's; the same command finds it.
    let mut other = site.launch(&data, "--set steps=7 --min-devices 1");
    other.expect_exit(2);
    let said = other.output();
    assert!(said.contains("with other arguments"), "{said}");
    let mut again = site.launch(&data, endless);
    again.wait_for_text("coordinator | listening on");
    let at = site.steps();
    site.wait_past(&again, at + 3);
    assert_eq!(site.pid_of("m2t-worker", "--name second"), daemon);

    again.signal(Signal::INT);
    again.expect_exit(4);
    site.nothing_is_left();
    let newest = std::fs::read_dir(site.desk.path("out/checkpoints")).unwrap();
    let newest = newest
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .max();
    assert_eq!(newest.unwrap(), format!("step-{:09}", site.steps()));
}

#[test]
fn what_is_killed_on_a_host_is_started_again_and_the_run_finishes() {
    let Some(data) = photographs() else { return };
    let site = Site::new(TWO);
    let mut launched = site.launch(&data, "--set steps=120 --min-devices 1");
    site.wait_past(&launched, 3);
    for (program, more) in [("m2t-worker", "--name second"), ("m2t-coordinator", "--output")] {
        let pid = site.pid_of(program, more);
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        launched.wait_for_text(&format!(
            "m2t: {program} was killed by signal 9, and is started again"
        ));
    }
    launched.expect_exit(0);
    let said = launched.output();
    assert!(
        said.contains("coordinator | ") && said.contains("finished at step 120"),
        "{said}"
    );
    site.nothing_is_left();
}

#[test]
fn a_host_that_cannot_be_used_is_named_and_nothing_begins() {
    let site = Site::new(TWO);
    let data = site.desk.path("data");
    let refused = |more: &str, words: &[&str]| {
        let mut launched = site.launch(&data, more);
        launched.expect_exit(2);
        let said = launched.output();
        for word in words {
            assert!(said.contains(word), "{more}: {word:?} is not in {said}");
        }
        assert!(
            !site.desk.path("out").exists() && site.kept().is_empty(),
            "{more}"
        );
    };
    site.desk.write("me@second-is-down", "");
    refused(
        "",
        &[
            "m2t: second: it cannot be reached by ssh (ssh: connect to host me@second port 22: No route to host)",
            "`ssh -o BatchMode=yes me@second true`",
        ],
    );
    std::fs::remove_file(site.desk.path("me@second-is-down")).unwrap();
    refused(
        "--programs /no/such/folder",
        &[
            "there is no program /no/such/folder/m2t",
            "name the folder with --programs",
        ],
    );
    // Another version says so itself, or knows no launch.
    for script in [
        "#!/bin/sh\necho '{\"is\":\"hello\",\"version\":\"0.0.1\"}'\nread line\n",
        "#!/bin/sh\necho \"error: unrecognized subcommand '$1'\" >&2\nexit 2\n",
    ] {
        site.desk.write("old/m2t", script);
        std::fs::set_permissions(site.desk.path("old/m2t"), PermissionsExt::from_mode(0o755)).unwrap();
        let more = format!("--programs {}", site.desk.path("old").display());
        refused(
            &more,
            &["is not of this version", "install one build on all hosts"],
        );
    }
    site.desk.write("hosts.txt", "first cpu:none\n");
    refused("", &["hosts.txt: line 1: invalid value 'cpu:none'"]);
    std::fs::remove_file(site.desk.path("hosts.txt")).unwrap();
    refused("", &["cannot read the hosts in hosts.txt"]);
}

#[test]
fn a_launch_ends_with_what_its_coordinator_refuses_and_before_its_first_step() {
    let site = Site::new("first cpu:1\n");
    let data = site.desk.path("data");
    let mut launched = site.launch(&data, "--set no_such_key=1");
    launched.expect_exit(2);
    assert!(launched.output().contains("coordinator | "), "it says why");
    site.nothing_is_left();

    // Stopped before there is anything to checkpoint.
    let mut launched = site.launch(&data, "--world 2");
    launched.wait_for_text("coordinator | listening on");
    launched.signal(Signal::INT);
    launched.expect_exit(4);
    site.nothing_is_left();
}

/// A real sshd of this machine's on a free port, with keys of its own; none, after a line that says so, where there is none or
/// where it may not be run.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn sshd(site: &Site) -> Option<Process> {
    let program = Path::new("/usr/sbin/sshd");
    if !program.is_file() || !rustix::process::geteuid().is_root() {
        println!("skipped: there is no sshd on this machine, or no root to run one");
        return None;
    }
    std::fs::create_dir_all("/run/sshd").unwrap();
    let folder = site.desk.folder.path().display().to_string();
    for key in ["host_key", "key"] {
        let mut made = std::process::Command::new("ssh-keygen");
        made.args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(site.desk.path(key));
        assert!(made.status().unwrap().success());
    }
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    site.desk.write(
        "sshd_config",
        &format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/key.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             SetEnv TMPDIR={folder}\n"
        ),
    );
    site.desk.write(
        "ssh_config",
        &format!(
            "Host first second\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile {folder}/key\n  \
             IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking accept-new\n"
        ),
    );
    let mut command = std::process::Command::new(program);
    command
        .args(["-D", "-e", "-f"])
        .arg(site.desk.path("sshd_config"));
    let sshd = Process::start("sshd", &mut command);
    sshd.wait_for_text("Server listening on");
    Some(sshd)
}

#[test]
fn over_a_real_ssh_a_run_outlives_the_server_and_stops_at_a_checkpoint() {
    let Some(data) = photographs() else { return };
    let site = Site::new("first cpu:1\nsecond cpu:1\n");
    let Some(mut server) = sshd(&site) else { return };
    let ssh = format!("ssh -F {}", site.desk.path("ssh_config").display());
    // A command line is parted at spaces here, and an option of ssh's has one.
    site.desk.write("ssh", &format!("#!/bin/sh\nexec {ssh} \"$@\"\n"));
    let mut launched = site.launch(&data, "--set steps=100000 --min-devices 1");
    launched.wait_for_text("coordinator | listening on");
    site.wait_past(&launched, 3);

    // All connections, and what would take new ones.
    for pid in server.children() {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
    server.kill();
    launched.wait_for_text("second: the connection ended");
    let at = site.steps();
    site.wait_past(&launched, at + 3);
    let mut command = std::process::Command::new("/usr/sbin/sshd");
    command
        .args(["-D", "-e", "-f"])
        .arg(site.desk.path("sshd_config"));
    let again = Process::start("sshd", &mut command);
    again.wait_for_text("Server listening on");
    for host in ["coordinator", "first", "second"] {
        launched.wait_for_text(&format!("m2t: {host}: connected again"));
    }
    launched.signal(Signal::INT);
    launched.expect_exit(4);
    site.nothing_is_left();
}
