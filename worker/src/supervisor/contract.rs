//! The supervisor's contract with its driver: what enters, what leaves.

use std::net::IpAddr;
use std::path::PathBuf;

use m2t_common::machine_link::{DataFacts, DeviceFacts, FromMachine, ToMachine};
use m2t_common::trainer_link::{Said, ToTrainer};
use m2t_common::{DeviceIndex, MachineName};

use super::Notice;
use crate::ending::Ending;

/// What a daemon knows of its machine from the start.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The machine's name.
    pub machine: MachineName,
    /// The daemon's version.
    pub version: String,
    /// A number this process drew at its start.
    pub instance: u64,
    /// The devices.
    pub devices: Vec<DeviceFacts>,
    /// The data folder here, where it differs from the coordinator's.
    pub data: Option<PathBuf>,
}

/// One trainer process: no two live ones share a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrainerKey {
    /// The device it drives.
    pub device: DeviceIndex,
    /// Rises by one with each process of the device.
    pub serial: u64,
}

/// The folders a machine must see before it can train.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The data folder on this machine.
    pub data: PathBuf,
    /// The output folder.
    pub output: PathBuf,
    /// What `.probe` in the output folder must hold.
    pub probe: String,
    /// The data set the run is bound to, once it is.
    pub bound: Option<DataFacts>,
}

/// What a survey found at a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// N and fingerprint.
    pub facts: DataFacts,
    /// Where these data differ from those the run is bound to, in a clause.
    pub difference: Option<String>,
}

/// What enters.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A stream to the coordinator stands.
    Connected {
        /// The local address it goes out from: the one at which other machines reach this one.
        address: IpAddr,
    },
    /// The stream ended.
    Disconnected,
    /// The coordinator said something.
    Message(ToMachine),
    /// The answer to an [`Effect::Survey`]: what the data folder holds, or why the machine cannot train, in a sentence.
    Surveyed(Place, Result<Found, String>),
    /// Something about a trainer. [`TrainerEvent::Exited`] is the last of each process.
    Trainer(TrainerKey, TrainerEvent),
    /// SIGTERM or SIGINT.
    StopRequested,
    /// Time passed.
    Tick,
}

/// What happened to a trainer.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainerEvent {
    /// It said a line.
    Said(Said),
    /// It said something that is no line of the protocol.
    SpokeNonsense {
        /// In a sentence.
        reason: String,
    },
    /// It closed its link.
    LinkClosed,
    /// The process is gone, or never was.
    Exited {
        /// In a sentence: the exit status and the last line it wrote to its standard error.
        how: String,
        /// What that says of who ended it.
        manner: Manner,
    },
}

/// How a process ended, as far as it tells whether somebody asked it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As one that was asked to end, or that told its reason: exit status 0 or 1, or SIGTERM.
    Plain,
    /// By SIGKILL: its daemon's, the kernel's for want of memory, or a stranger's.
    Killed,
    /// By itself: another exit status or signal, or it never ran.
    Abnormal,
}

/// What leaves, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Say this to the coordinator on the present stream.
    Send(FromMachine),
    /// Look at the folders, then hand in [`Input::Surveyed`].
    Survey(Place),
    /// Start a trainer and say this to it, which is [`ToTrainer::Prepare`] or [`ToTrainer::Start`].
    Spawn(TrainerKey, ToTrainer),
    /// Say this to a trainer.
    Tell(TrainerKey, ToTrainer),
    /// Ask a trainer to end: close its link, SIGTERM.
    End(TrainerKey),
    /// SIGKILL.
    Kill(TrainerKey),
    /// Write this to the log.
    Notify(Notice),
    /// End the daemon. The last effect there is.
    Exit(Ending),
}
