//! What the coordinator cost: memory at its peak, and processor time over its whole life, all its lives together.

use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;

/// How often it is looked at. What a killed coordinator used since the last look is not counted.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Ticks of /proc in a second; Linux shows 100 on every processor m2t runs on.
const TICKS: f64 = 100.0;

/// The cost.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Load {
    /// Peak of the resident memory.
    pub(super) coordinator_mib: f64,
    /// Mean share of one core.
    pub(super) coordinator_cpu: f64,
}

/// Follows the coordinator through its lives.
#[derive(Default)]
pub(super) struct Watch {
    looked: Option<Instant>,
    peak_kib: u64,
    /// Of lives that are over.
    past: (f64, Duration),
    life: Option<Life>,
}

struct Life {
    process: u32,
    began: Instant,
    seen: Instant,
    cpu_seconds: f64,
}

impl Watch {
    /// Looks at the coordinator of now, if it is time.
    pub(super) fn look(&mut self, process: Option<u32>) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let Some(process) = process else { return };
        let Some((peak_kib, cpu_seconds)) = used(process) else {
            return;
        };
        self.peak_kib = self.peak_kib.max(peak_kib);
        if self.life.as_ref().is_none_or(|life| life.process != process) {
            self.end_life();
        }
        let now = Instant::now();
        let life = self.life.get_or_insert(Life {
            process,
            began: now,
            seen: now,
            cpu_seconds: 0.0,
        });
        (life.seen, life.cpu_seconds) = (now, cpu_seconds);
    }

    /// All lives together.
    pub(super) fn load(mut self) -> Load {
        self.end_life();
        let (cpu, alive) = self.past;
        Load {
            coordinator_mib: (self.peak_kib as f64 / 102.4).round() / 10.0,
            coordinator_cpu: (cpu / alive.as_secs_f64().max(1e-3) * 1000.0).round() / 1000.0,
        }
    }

    fn end_life(&mut self) {
        if let Some(life) = self.life.take() {
            self.past.0 += life.cpu_seconds;
            self.past.1 += life.seen - life.began;
        }
    }
}

/// Peak of the memory in KiB and seconds of processor time of a process.
fn used(process: u32) -> Option<(u64, f64)> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let peak = peak.split_whitespace().next()?.parse().ok()?;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in brackets and may hold anything; user and system time are the 12th and 13th after it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((peak, (user + system) / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_is_seen_to() {
        let began = Instant::now();
        let (_, before) = used(std::process::id()).unwrap();
        let mut n = 0u64;
        while began.elapsed() < Duration::from_millis(300) {
            n = std::hint::black_box(n + 1);
        }
        let (peak, after) = used(std::process::id()).unwrap();
        assert!(peak > 500, "{peak} KiB");
        assert!(after > before, "{before} s, then {after} s");
    }

    #[test]
    fn lives_are_added_up() {
        let mut watch = Watch::default();
        watch.look(Some(std::process::id()));
        assert_eq!(watch.life.as_ref().unwrap().process, std::process::id());
        watch.end_life();
        assert!(watch.life.is_none());
        watch.past = (3.0, Duration::from_secs(30));
        assert_eq!(watch.load().coordinator_cpu, 0.1);
    }
}
