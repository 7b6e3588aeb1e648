//! A coordinator and its daemons, each of which may be there, be dead, or be leaving. None outlives this value.
//!
//! It does what it is told, and starts nothing again by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result, bail};
use m2t_common::status::Status;
use rustix::process::Signal;

use super::Chaos;
use super::setting::{Place, control};
use crate::fleet::machines::Machines;
use crate::fleet::member::{Member, listening_address, placed};

/// The coordinator's name, and its log's.
const COORDINATOR: &str = "coordinator";

/// The running processes.
pub(super) struct Fleet<'a> {
    chaos: &'a Chaos<'a>,
    folder: PathBuf,
    address: String,
    coordinator: Option<Member>,
    /// One for each place.
    seats: Vec<Seat>,
    places: &'a [Place],
    // Dropped last: what runs in them must have ended.
    machines: Option<Machines>,
}

/// What is at a machine.
enum Seat {
    Empty,
    Runs(Member),
    /// Killed. What its death left behind is the product's affair until it is started again.
    Dead {
        _remains: Member,
    },
    /// It was told to leave.
    Leaves(Member),
}

/// What came of an order.
pub(super) enum Answer {
    /// It is carried out.
    Accepted,
    /// Not now, and why.
    Refused(String),
}

impl<'a> Fleet<'a> {
    /// Starts a coordinator in a folder, and no daemon yet.
    pub(super) fn start(
        chaos: &'a Chaos<'a>,
        folder: PathBuf,
        n_steps: u64,
        places: &'a [Place],
        machines: Option<Machines>,
    ) -> Result<Self> {
        let cannot = || format!("cannot write {}", folder.display());
        fs::create_dir_all(&folder).with_context(cannot)?;
        fs::write(folder.join("chaos.toml"), chaos.setting.experiment(n_steps)).with_context(cannot)?;
        let mut fleet = Self {
            chaos,
            address: machines
                .as_ref()
                .map_or_else(|| "127.0.0.1:0".to_owned(), |_| Machines::listen()),
            coordinator: None,
            seats: places.iter().map(|_| Seat::Empty).collect(),
            places,
            folder,
            machines,
        };
        fleet.start_coordinator()?;
        fleet.address = listening_address(chaos.interrupt, &fleet.coordinator_log())?;
        Ok(fleet)
    }

    /// The output folder.
    pub(super) fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// The coordinator's log.
    pub(super) fn coordinator_log(&self) -> PathBuf {
        self.folder.join(format!("{COORDINATOR}.log"))
    }

    /// The status, if the coordinator answers.
    pub(super) fn status(&self) -> Option<Status> {
        let mut command = self.chaos.program("m2t");
        command.args(["status", "--json", "--coordinator", &self.address]);
        let mut command = placed(COORDINATOR, command, self.machines.as_ref());
        serde_json::from_slice(&command.output().ok()?.stdout).ok()
    }

    /// Starts the coordinator where it was before.
    pub(super) fn start_coordinator(&mut self) -> Result<()> {
        let world = self.chaos.setting.world.to_string();
        let mut command = self.chaos.program("m2t-coordinator");
        command.args(["--world", &world, "--min-devices", "1", "--listen", &self.address]);
        command
            .arg("--experiment")
            .arg(self.folder.join("chaos.toml"))
            .arg("--data")
            .arg(self.chaos.work.join("data/train"))
            .arg("--output")
            .arg(self.output());
        self.coordinator = Some(Member::start(
            COORDINATOR,
            &self.folder,
            command,
            self.machines.as_ref(),
        )?);
        Ok(())
    }

    /// SIGKILL to the coordinator.
    pub(super) fn kill_coordinator(&mut self) {
        self.coordinator = None;
    }

    /// The coordinator's process number, while it is there.
    pub(super) fn coordinator_id(&self) -> Option<u32> {
        self.coordinator.as_ref().map(Member::id)
    }

    /// How the coordinator ended by itself, if it did.
    pub(super) fn coordinator_ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.coordinator {
            Some(coordinator) => coordinator.ended(),
            None => Ok(None),
        }
    }

    /// Starts the daemon of a machine, in the place of whatever was there.
    pub(super) fn start_daemon(&mut self, i: usize) -> Result<()> {
        self.seats[i] = Seat::Empty;
        let place = &self.places[i];
        let mut command = self.chaos.program("m2t-worker");
        command.args(["--coordinator", &self.address, "--name", &place.name]);
        command.args(["--devices", &format!("cpu:{}", place.n_devices)]);
        if self.chaos.setting.fake {
            command
                .arg("--trainer")
                .arg(self.chaos.workspace.program("m2t-fake-trainer"))
                .env("M2T_FAKE_CONTROL", control(&self.chaos.work));
        }
        let daemon = Member::start(&place.name, &self.folder, command, self.machines.as_ref())?;
        self.seats[i] = Seat::Runs(daemon);
        Ok(())
    }

    /// A machine's daemon that nobody told to end.
    pub(super) fn daemon(&self, i: usize) -> Option<&Member> {
        match &self.seats[i] {
            Seat::Runs(daemon) => Some(daemon),
            Seat::Empty | Seat::Dead { .. } | Seat::Leaves(_) => None,
        }
    }

    /// SIGKILL to a daemon alone; that its trainers go with it is the product's work.
    pub(super) fn kill_daemon(&mut self, i: usize) -> Result<()> {
        let seat = std::mem::replace(&mut self.seats[i], Seat::Empty);
        self.seats[i] = match seat {
            Seat::Runs(daemon) => {
                daemon.signal(Signal::KILL)?;
                Seat::Dead { _remains: daemon }
            }
            other => other,
        };
        Ok(())
    }

    /// From now on a daemon's end is as it should be.
    pub(super) fn expect_leave(&mut self, i: usize) {
        let seat = std::mem::replace(&mut self.seats[i], Seat::Empty);
        self.seats[i] = match seat {
            Seat::Runs(daemon) => Seat::Leaves(daemon),
            other => other,
        };
    }

    /// Whether a daemon that was told to leave is still there.
    pub(super) fn is_leaving(&self, i: usize) -> bool {
        matches!(self.seats[i], Seat::Leaves(_))
    }

    /// Takes note of daemons that ended; an error if one did that had no reason to.
    pub(super) fn look_at_daemons(&mut self) -> Result<()> {
        for (seat, place) in self.seats.iter_mut().zip(self.places) {
            let (Seat::Runs(daemon) | Seat::Leaves(daemon)) = seat else {
                continue;
            };
            let Some(status) = daemon.ended()? else { continue };
            // Code 0: the run is over, which the coordinator tells everyone before it ends.
            if matches!(seat, Seat::Runs(_)) && !status.success() {
                bail!(
                    "the daemon of machine {} ended by itself ({status}); its log is {}",
                    place.name,
                    self.folder.join(format!("{}.log", place.name)).display()
                );
            }
            *seat = Seat::Empty;
        }
        Ok(())
    }

    /// Cuts a machine off.
    pub(super) fn cut(&self, i: usize) -> Result<()> {
        self.cables().cut(&self.places[i].name)
    }

    /// Connects it again.
    pub(super) fn heal(&self, i: usize) -> Result<()> {
        self.cables().heal(&self.places[i].name)
    }

    /// Runs `m2t ORDER`.
    pub(super) fn order(&self, order: &[&str]) -> Result<Answer> {
        let mut command = self.chaos.program("m2t");
        command.args(order).args(["--coordinator", &self.address]);
        let output = placed(COORDINATOR, command, self.machines.as_ref())
            .output()
            .context("cannot run m2t")?;
        if output.status.success() {
            return Ok(Answer::Accepted);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok(Answer::Refused(said))
    }

    fn cables(&self) -> &Machines {
        self.machines
            .as_ref()
            .expect("cuts are drawn only where there are namespaces")
    }
}

/// Where a run's logs and output are.
pub(super) fn folder(chaos: &Chaos<'_>, name: &str) -> PathBuf {
    Path::join(&chaos.work, name)
}
