//! A Prometheus with the configuration of `deploy/prometheus` and a viewer's token sees a run; without the token it does not.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use m2t_common::Step;
use m2t_tests::harness::{Cluster, ClusterSettings, PATIENCE, Process};

use crate::read;
use crate::tools::tool;

/// A Prometheus in a folder of its own.
struct Prometheus {
    address: String,
    _process: Process,
}

impl Prometheus {
    /// Scrapes the page of `cluster` each second, with this token.
    fn of(cluster: &Cluster, program: &Path, folder: &Path, token: &str) -> Self {
        let page = cluster.page();
        let page = page.trim_start_matches("http://").trim_end_matches('/');
        let config = read("prometheus/prometheus.yml");
        let shipped = ["127.0.0.1:7118", "scrape_interval: 5s"];
        assert!(shipped.iter().all(|text| config.contains(text)), "{config}");
        let config = config
            .replace(shipped[0], page)
            .replace(shipped[1], "scrape_interval: 1s");
        for (name, text) in [
            ("prometheus.yml", config.as_str()),
            ("alerts.yml", &read("prometheus/alerts.yml")),
            ("viewer.token", token),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        // It says of port 0 only that; so a port that is free at this moment.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let mut command = Command::new(program);
        command
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder);
        Self {
            address,
            _process: Process::start("prometheus", &mut command),
        }
    }

    /// What it answers to `expression`, once `wanted` says so.
    fn wait_for(&self, promtool: &Path, expression: &str, wanted: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let asked = Command::new(promtool)
                .args([
                    "query",
                    "instant",
                    &format!("http://{}", self.address),
                    expression,
                ])
                .output()
                .unwrap();
            let answer = String::from_utf8_lossy(&asked.stdout).into_owned();
            if asked.status.success() && wanted(&answer) {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "{expression}: {answer}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn a_prometheus_with_a_viewers_token_sees_a_run() {
    let (Some(prometheus), Some(promtool)) = (tool("prometheus"), tool("promtool")) else {
        return;
    };
    let mut cluster = Cluster::new(ClusterSettings::fake());
    cluster.control.hold(13);
    cluster.start_coordinator();
    cluster.start_daemon("a", "cpu:2");
    cluster.start_daemon("b", "cpu:2");
    cluster.wait_for("step 13", |status| {
        status
            .progress
            .as_ref()
            .is_some_and(|progress| progress.step == Step(13))
    });
    let folder = tempfile::tempdir().unwrap();
    let token = std::fs::read_to_string(cluster.token_file("viewer")).unwrap();
    let with_token = Prometheus::of(&cluster, &prometheus, folder.path(), &token);
    let steps = with_token.wait_for(&promtool, "m2t_steps_committed_total", |answer| {
        answer.contains("=> 13 ")
    });
    assert!(steps.contains("job=\"m2t\""), "{steps}");
    with_token.wait_for(&promtool, "m2t_phase{phase=\"training\"}", |answer| {
        answer.contains("=> 1 ")
    });
    with_token.wait_for(&promtool, "up", |answer| answer.contains("=> 1 "));

    let folder = tempfile::tempdir().unwrap();
    let cut = &token.trim()[..60];
    let without = Prometheus::of(&cluster, &prometheus, folder.path(), cut);
    without.wait_for(&promtool, "up", |answer| answer.contains("=> 0 "));
    cluster.control.release();
    cluster.expect_exit(0);
}
