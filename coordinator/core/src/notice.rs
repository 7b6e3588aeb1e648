//! What people are told: the log, the event file and the status show these.

use m2t_common::evaluation::Evaluation;
use m2t_common::machine_link::StartFrom;
use m2t_common::manifest::CheckpointName;
use m2t_common::order::Order;
use m2t_common::report::{CheckpointCost, ReplacedFile};
use m2t_common::{DeviceId, Generation, MachineName, Step};

use crate::reason::{DrainReason, EndCause, Failure, LostBy, Refusal, list, start_of};
use crate::recovery::Recovery;

mod known_by;

pub use known_by::Weight;

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// A new run.
    #[error("a new run begins")]
    Begun,
    /// The journal continues.
    #[error("the run continues; the next generation is {} and starts at step {step}", .generation.next())]
    Continued {
        /// The highest so far.
        generation: Generation,
        /// The newest checkpoint's step.
        step: Step,
    },
    /// The coordinator was started again while a generation may train.
    #[error("generation {generation} may train on; waiting for its machines to come back")]
    Recovering {
        /// Which.
        generation: Generation,
    },
    /// A trainer that stood by failed.
    #[error("the trainer of device {device} failed before it was in a group: {reason}")]
    StandByFailed {
        /// Which device.
        device: DeviceId,
        /// Why.
        reason: String,
    },
    /// The data set is known.
    #[error(
        "the run is bound to a data set of {n_samples} images, {steps_per_epoch} steps an epoch, {total_steps} steps in all"
    )]
    DataBound {
        /// N.
        n_samples: u64,
        /// ⌊N / B⌋.
        steps_per_epoch: u64,
        /// T.
        total_steps: u64,
    },
    /// An operator asked something, and it is done.
    #[error("an operator {}", said(.order))]
    Ordered {
        /// What.
        order: Order,
    },
    /// It is paused, also by a wish of before this start.
    #[error("paused at step {step}; m2t resume goes on")]
    Paused {
        /// Where it goes on.
        step: Step,
    },
    /// A file that cannot be decoded was met for the first time.
    #[error("{} cannot be decoded and is replaced by sample {}: {}", .file.path, .file.by.0, .file.reason)]
    Replaced {
        /// Which, by what, and why.
        file: ReplacedFile,
    },
    /// Reading a file takes long.
    #[error("device {device} waits for {path}, whose reading takes long; look at the storage or the mount")]
    SlowFile {
        /// Who waits.
        device: DeviceId,
        /// The file, below the data folder.
        path: String,
    },
    /// A checkpoint could not be written.
    #[error("the checkpoint of step {step} could not be written, training goes on: {reason}")]
    CheckpointFailed {
        /// Of which step.
        step: Step,
        /// Why, and what to do.
        reason: String,
    },
    /// What an encoder is worth.
    #[error(
        "after epoch {epoch}: {} {} {:.2} % of {} held-out images",
        .evaluation.encoder, .evaluation.method, 100.0 * .evaluation.top1(), .evaluation.n_images
    )]
    Evaluated {
        /// Whole epochs done.
        epoch: u64,
        /// The figure.
        evaluation: Evaluation,
    },
    /// Nobody knows what the encoders are worth at this step.
    #[error("the state of step {step} could not be evaluated, training goes on: {reason}")]
    EvaluationFailed {
        /// Of which step.
        step: Step,
        /// Why, and what to do.
        reason: String,
    },
    /// A machine introduced itself.
    #[error("machine {machine} attached with {n_devices} device(s)")]
    Attached {
        /// Which.
        machine: MachineName,
        /// How many devices.
        n_devices: usize,
    },
    /// A machine's daemon came back in time.
    #[error("machine {machine} is connected again")]
    Reconnected {
        /// Which.
        machine: MachineName,
    },
    /// A machine can train.
    #[error("machine {machine} is ready to train")]
    Ready {
        /// Which.
        machine: MachineName,
    },
    /// A machine's trainers keep failing.
    #[error("machine {machine} is set aside: {reason}; m2t readmit {machine} takes it back")]
    SetAside {
        /// Which.
        machine: MachineName,
        /// What failed, how often, and the last reason.
        reason: String,
    },
    /// A machine cannot train.
    #[error("machine {machine} cannot train: {reason}")]
    Unable {
        /// Which.
        machine: MachineName,
        /// In its words.
        reason: String,
    },
    /// A machine was turned away.
    #[error("machine {machine} was refused: {refusal}")]
    Refused {
        /// Which.
        machine: MachineName,
        /// Why.
        refusal: Refusal,
    },
    /// A machine's stream ended.
    #[error("the connection of machine {machine} ended; waiting for it to come back")]
    Disconnected {
        /// Which.
        machine: MachineName,
    },
    /// A machine is gone.
    #[error("machine {machine} is lost: {by}")]
    Lost {
        /// Which.
        machine: MachineName,
        /// How that was seen.
        by: LostBy,
    },
    /// A machine wants to leave.
    #[error("machine {machine} was asked to stop and leaves at the next step boundary")]
    Leaving {
        /// Which.
        machine: MachineName,
    },
    /// A machine left.
    #[error("machine {machine} left")]
    Left {
        /// Which.
        machine: MachineName,
    },
    /// A placement stands.
    #[error("formed {} on {n_devices} device(s)", start_of(*.generation, .start_from))]
    Formed {
        /// Its number.
        generation: Generation,
        /// On how many devices.
        n_devices: usize,
        /// Where it starts.
        start_from: StartFrom,
    },
    /// The first step after a regroup is committed.
    #[error("generation {generation} committed its first step; the regroup took {recovery}")]
    Recovered {
        /// Which.
        generation: Generation,
        /// The phases.
        recovery: Recovery,
    },
    /// Every device is ready.
    #[error("generation {generation} trains")]
    Training {
        /// Its number.
        generation: Generation,
    },
    /// A generation is over.
    #[error("generation {generation} ended: {cause}")]
    Ended {
        /// Its number.
        generation: Generation,
        /// Why.
        cause: EndCause,
    },
    /// A failure in a generation that is over already.
    #[error("in generation {generation} device {device} failed, too: {reason}")]
    AlsoFailed {
        /// Of which generation.
        generation: Generation,
        /// Which device.
        device: DeviceId,
        /// Why.
        reason: String,
    },
    /// The group was asked to stop.
    #[error("all devices stop at the next step boundary: {why}")]
    Draining {
        /// Why.
        why: DrainReason,
    },
    /// A checkpoint is complete.
    #[error("checkpoint {name} is complete and verified{}", cost.told().map_or(String::new(), |cost| format!("; {cost}")))]
    Checkpoint {
        /// Which.
        name: CheckpointName,
        /// What it cost.
        cost: CheckpointCost,
    },
    /// A checkpoint cannot be used.
    #[error("checkpoint {name} is damaged and was set aside: {problem}")]
    Damaged {
        /// Which.
        name: CheckpointName,
        /// What is wrong.
        problem: String,
    },
    /// A journalled checkpoint's folder is gone.
    #[error("checkpoint {name} is no longer in the output folder; the one before it is used")]
    Missing {
        /// Which.
        name: CheckpointName,
    },
    /// Some devices held another state than most.
    #[error(
        "at step {step} the state of {} is not that of the other devices, as it still was at step {agreed}: it takes theirs, and they go on; \
         if it happens again, look at its memory and processor",
        list(.devices)
    )]
    ReplicaDiffers {
        /// Where that was seen.
        step: Step,
        /// Which.
        devices: Vec<DeviceId>,
        /// Where all last agreed.
        agreed: Step,
    },
    /// The devices held different states, and none was held by most.
    #[error(
        "at step {step} the states of {} differ and none is that of most, so the run is paused; \
         m2t resume goes on from step {resume_from}, of before they last agreed, and does the steps since again",
        list(.devices)
    )]
    NoMajority {
        /// Where that was seen.
        step: Step,
        /// All devices.
        devices: Vec<DeviceId>,
        /// The newest checkpoint that is left.
        resume_from: Step,
    },
    /// A checkpoint may hold a wrong state.
    #[error(
        "checkpoint {name} was written after step {agreed}, where the devices last agreed, and was set aside"
    )]
    Suspect {
        /// Which.
        name: CheckpointName,
        /// Where all last agreed.
        agreed: Step,
    },
    /// All steps are done.
    #[error("finished at step {step}; the state's digest is {state_digest}")]
    Finished {
        /// The last step.
        step: Step,
        /// Digest of the final state.
        state_digest: String,
    },
    /// Stopped by hand.
    #[error("stopped; the same command continues from step {resume_from}")]
    Stopped {
        /// The newest checkpoint's step.
        resume_from: Step,
    },
    /// Cannot go on.
    #[error("the run failed: {0}")]
    Failed(Failure),
}

fn said(order: &Order) -> String {
    match order {
        Order::Pause => "paused the run".to_owned(),
        Order::Resume => "resumed the run".to_owned(),
        Order::Stop => "stopped the run".to_owned(),
        Order::Drain(machine) => format!("drains machine {machine}"),
        Order::Readmit(machine) => format!("took machine {machine} back"),
    }
}
