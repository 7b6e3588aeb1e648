//! `m2t pause`, `resume`, `stop`, `drain`: asks the coordinator, and prints its answer.

use std::io::Write;

use clap::{Args, Subcommand};
use m2t_common::MachineName;
use m2t_common::access::Right;
use m2t_proto::wire;
use tonic::{Code, Response, Status};
use wire::control_client::ControlClient;

use super::Refused;
use super::Whom;
use super::status::{channel, did_not_answer};

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
    #[command(flatten)]
    whom: Whom,
}

/// Which machine.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct Which {
    /// The machine's name, as m2t status shows it.
    machine: MachineName,
    #[command(flatten)]
    whom: Whom,
}

impl From<&Whom> for Where {
    fn from(whom: &Whom) -> Self {
        Self { whom: whom.clone() }
    }
}

impl From<(MachineName, &Whom)> for Which {
    fn from((machine, whom): (MachineName, &Whom)) -> Self {
        Self {
            machine,
            whom: whom.clone(),
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
        Order::Pause(to) | Order::Resume(to) | Order::Stop(to) => to.whom.contact()?,
        Order::Drain(which) | Order::Readmit(which) => which.whom.contact()?,
    };
    let mut client = ControlClient::new(channel(&coordinator, Right::Order).await?);
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
        Err(error) => Err(did_not_answer(&coordinator, &error)),
    }
}
