//! `m2t pause`, `resume`, `stop`, `drain`: asks the coordinator, and prints its answer.

use std::io::Write;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use m2t_common::MachineName;
use m2t_proto::wire;
use tonic::{Code, Response, Status};
use wire::control_client::ControlClient;

use super::Refused;
use super::status::channel;
use crate::daemon::CoordinatorAddress;

/// What is asked.
#[derive(Subcommand, Clone, Debug)]
pub enum Order {
    /// Stop at the next step boundary, with a checkpoint; machines stay and wait for m2t resume.
    Pause(Where),
    /// Go on after m2t pause.
    Resume(Where),
    /// Stop at the next step boundary, with a checkpoint, and end; the same commands continue the run.
    Stop(Where),
    /// Let a machine go at the next step boundary, with nothing lost; the others go on without it.
    Drain(Which),
    /// Take a machine back that was set aside because its trainers kept failing.
    Readmit(Which),
}

/// Whom to ask.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct Where {
    /// Where the coordinator listens.
    #[arg(long, default_value = "127.0.0.1:7117", value_name = "HOST:PORT")]
    coordinator: CoordinatorAddress,
}

/// Which machine.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct Which {
    /// The machine's name, as m2t status shows it.
    machine: MachineName,
    /// Where the coordinator listens.
    #[arg(long, default_value = "127.0.0.1:7117", value_name = "HOST:PORT")]
    coordinator: CoordinatorAddress,
}

impl From<&CoordinatorAddress> for Where {
    fn from(coordinator: &CoordinatorAddress) -> Self {
        Self {
            coordinator: coordinator.clone(),
        }
    }
}

impl From<(MachineName, &CoordinatorAddress)> for Which {
    fn from((machine, coordinator): (MachineName, &CoordinatorAddress)) -> Self {
        Self {
            machine,
            coordinator: coordinator.clone(),
        }
    }
}

const EXIT_CODES: &str = "\
It returns at once; m2t status shows how it comes about.

Exit codes: 0 it is done, or will be at the next step boundary; 1 no coordinator answers; 2 it cannot be done.";

/// Asks, and writes the answer to `out`.
///
/// # Errors
/// [`Refused`] where the run's state does not allow it.
pub async fn ask(order: Order, out: &mut impl Write) -> anyhow::Result<()> {
    let coordinator = match &order {
        Order::Pause(to) | Order::Resume(to) | Order::Stop(to) => to.coordinator.clone(),
        Order::Drain(which) | Order::Readmit(which) => which.coordinator.clone(),
    };
    let mut client = ControlClient::new(channel(&coordinator).await?);
    let answer: Result<Response<wire::Accepted>, Status> = match order {
        Order::Pause(_) => client.pause(wire::PauseRequest {}).await,
        Order::Resume(_) => client.resume(wire::ResumeRequest {}).await,
        Order::Stop(_) => client.stop(wire::StopRequest {}).await,
        Order::Drain(which) => {
            let machine = which.machine.to_string();
            client.drain(wire::DrainRequest { machine }).await
        }
        Order::Readmit(which) => {
            let machine = which.machine.to_string();
            client.readmit(wire::ReadmitRequest { machine }).await
        }
    };
    match answer {
        Ok(accepted) => Ok(writeln!(out, "{}", accepted.into_inner().sentence)?),
        Err(refused) if refused.code() == Code::FailedPrecondition => {
            Err(Refused::new(refused.message()).into())
        }
        Err(error) => Err(anyhow!(
            "the coordinator at {coordinator} did not answer ({:?}): {}",
            error.code(),
            error.message()
        )),
    }
}
