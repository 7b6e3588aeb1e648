//! `m2t launch` over a real sshd on machines with addresses of their own, real programs on them; one is cut off and comes back.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use m2t_tests::harness::{Binaries, Machine, Network, PATIENCE, Process};
use rustix::process::Signal;
use tempfile::TempDir;

const EXPERIMENT: &str = "arch = \"resnet18\"\nchannels = 4\nstem = \"small\"\nhidden_dim = 32\nlow_dim = 16\npixels = 16\nbatch = 16\n\
    steps = 100000\nwarmup_epochs = 0\n[run]\ncheckpoint_every = 50\nheartbeat_timeout = \"1s\"\n";

/// Keys, settings and a data set, for hosts that share them as they share the disk.
struct Site {
    folder: TempDir,
}

impl Site {
    /// Nothing, after a line that says why, where there is no sshd.
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    fn new(network: &Network) -> Option<Self> {
        if !Path::new("/usr/sbin/sshd").is_file() {
            println!("skipped: there is no sshd on this machine (Debian: apt install openssh-server)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let site = Self { folder };
        for key in ["host", "own"] {
            let mut command = Command::new("ssh-keygen");
            command
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(site.path(key));
            assert!(command.status().unwrap().success());
        }
        let here = site.folder.path().display();
        let hosts: Vec<String> = (0..2).map(|i| network.machine(i).address().to_string()).collect();
        let host_key = std::fs::read_to_string(site.path("host.pub")).unwrap();
        site.write("known_hosts", &format!("{} {host_key}", hosts.join(",")));
        site.write(
            "ssh_config",
            &format!("IdentityFile {here}/own\nUserKnownHostsFile {here}/known_hosts\nIdentitiesOnly yes\n"),
        );
        site.write("hosts.txt", &format!("{} cpu:1\n{} cpu:1\n", hosts[0], hosts[1]));
        site.write("small.toml", EXPERIMENT);
        let made = Command::new(Binaries::get().path("m2t"))
            .args(["data", "synth"])
            .arg(site.path("pictures"))
            .args([
                "--classes",
                "4",
                "--train-per-class",
                "40",
                "--val-per-class",
                "4",
                "--pixels",
                "16",
            ])
            .output();
        assert!(made.unwrap().status.success());
        Some(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// An sshd on a machine, for this user's key alone.
    fn serve(&self, machine: &Machine) -> Process {
        // Where sshd's less privileged half lives; it is not there before the first sshd of a machine.
        let _ = std::fs::create_dir("/run/sshd");
        let here = self.folder.path().display();
        let config = format!(
            "ListenAddress {}\nHostKey {here}/host\nAuthorizedKeysFile {here}/own.pub\nStrictModes no\nUsePAM no\nPidFile none\n\
             SetEnv TMPDIR={here} M2T_TOKENS={here}/tokens M2T_CACHE=\n",
            machine.address()
        );
        let name = format!("sshd-{}", machine.name());
        self.write(&name, &config);
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(self.path(&name));
        let sshd = Process::start(&name, &mut machine.wrap(&command));
        sshd.wait_for_text("Server listening");
        sshd
    }

    fn launch(&self, from: &Machine) -> Process {
        let mut command = Command::new(Binaries::get().path("m2t"));
        command
            .args([
                "launch",
                "hosts.txt",
                "--world",
                "2",
                "--min-devices",
                "1",
                "--http",
                "off",
            ])
            .arg("-f")
            .arg(self.path("small.toml"))
            .arg("--data")
            .arg(self.path("pictures/train"))
            .arg("--output")
            .arg(self.path("out"))
            .arg("--ssh")
            .arg(format!("ssh -F {}", self.path("ssh_config").display()))
            .env_remove("RUST_LOG")
            .current_dir(self.folder.path());
        Process::start("launch", &mut from.wrap(&command))
    }

    /// Steps that are committed.
    fn steps(&self) -> usize {
        let metrics = std::fs::read_to_string(self.path("out/metrics.jsonl"));
        metrics.map_or(0, |text| text.lines().count())
    }

    fn wait_past(&self, launched: &Process, step: usize) {
        let began = Instant::now();
        while self.steps() <= step {
            assert!(
                began.elapsed() < PATIENCE,
                "not past step {step}\n{}",
                launched.tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_launch_over_ssh_trains_on_machines_of_their_own_and_takes_a_lost_one_back() {
    let Some(network) = Network::new(2) else { return };
    let Some(site) = Site::new(&network) else { return };
    let keys = std::fs::metadata(site.path("own")).unwrap().permissions().mode();
    assert_eq!(keys & 0o077, 0, "ssh refuses keys that others can read");
    let _sshd = [0, 1].map(|i| site.serve(network.machine(i)));
    let mut launched = site.launch(network.coordinator());
    launched.wait_for_text("coordinator | listening on");
    site.wait_past(&launched, 10);
    let [first, second] = [0, 1].map(|i| network.machine(i).address().to_string());
    for host in [&first, &second] {
        let prefix = format!("{host} | ");
        launched.wait_for_line("both machines", |line| line.starts_with(&prefix).then_some(()));
    }

    network.cut(1);
    launched.wait_for_text(&format!("machine {second} is lost"));
    let at = site.steps();
    site.wait_past(&launched, at + 10);
    network.heal(1);
    launched.wait_for_text("generation 3 trains");
    let at = site.steps();
    site.wait_past(&launched, at + 10);

    launched.signal(Signal::INT);
    launched.expect_exit(4);
    let mut audit = Command::new(Binaries::get().path("m2t"));
    let audit = audit.arg("audit").arg(site.path("out")).output().unwrap();
    assert!(
        audit.status.success(),
        "{}",
        String::from_utf8_lossy(&audit.stdout)
    );
}
