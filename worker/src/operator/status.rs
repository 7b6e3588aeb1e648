//! `m2t status`: asks the coordinator for the status, once or again and again, and writes it out.

use std::io::{IsTerminal, Write};

use anyhow::{Context, anyhow};
use m2t_common::access::{Right, Role};
use m2t_common::status::Status;
use m2t_proto::wire;
use tonic::Code;
use wire::status_client::StatusClient;

use super::progress::Progress;
use super::table;
use crate::contact::{Channel, Contact};
use crate::ending::sentence;

/// How the status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// One line of JSON a status.
    Json,
}

/// Writes the present status to `out`.
pub async fn show(coordinator: &Contact, format: Format, out: &mut impl Write) -> anyhow::Result<()> {
    let status = fetch(coordinator).await?;
    Ok(write(&status, format, out)?)
}

/// The statuses of a run, whenever it changes.
pub struct Statuses {
    coordinator: Contact,
    stream: tonic::Streaming<wire::RunStatus>,
}

impl Statuses {
    /// The next one; none when the run has ended.
    pub async fn next(&mut self) -> anyhow::Result<Option<Status>> {
        let message = self.stream.message().await;
        let message = message.map_err(|status| went_away(&self.coordinator, &status))?;
        message.map(convert).transpose()
    }
}

/// Opens the stream of statuses.
pub async fn stream(coordinator: &Contact) -> anyhow::Result<Statuses> {
    let watching = connect(coordinator).await?.watch(wire::WatchRequest {}).await;
    let stream = watching
        .map_err(|status| went_away(coordinator, &status))?
        .into_inner();
    Ok(Statuses {
        coordinator: coordinator.clone(),
        stream,
    })
}

fn went_away(coordinator: &Contact, status: &tonic::Status) -> anyhow::Error {
    if matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied | Code::Internal
    ) {
        return did_not_answer(coordinator, status);
    }
    anyhow!("the coordinator at {coordinator} went away: {}", status.message())
}

/// Writes the status to `out` again whenever it changes, until the run ends; in a terminal, in place and over a bar.
pub async fn watch(
    coordinator: &Contact,
    format: Format,
    out: &mut (impl Write + IsTerminal),
) -> anyhow::Result<()> {
    let mut statuses = stream(coordinator).await?;
    let progress = (format == Format::Table && out.is_terminal()).then(Progress::new);
    let mut last = None;
    while let Some(status) = statuses.next().await? {
        match (&progress, format) {
            (Some(progress), _) => progress.show(&status, &table::render(&status)),
            (None, Format::Table) => {
                writeln!(out)?;
                write(&status, format, out)?;
            }
            (None, Format::Json) => write(&status, format, out)?,
        }
        last = Some(status);
    }
    if let (Some(progress), Some(status)) = (progress, last) {
        progress.clear();
        write(&status, format, out)?;
    }
    Ok(())
}

/// The present status.
pub async fn fetch(coordinator: &Contact) -> anyhow::Result<Status> {
    let answer = connect(coordinator).await?.get(wire::GetRequest {}).await;
    let answer = answer.map_err(|status| did_not_answer(coordinator, &status))?;
    convert(answer.into_inner())
}

/// Why a call failed.
pub(super) fn did_not_answer(coordinator: &Contact, status: &tonic::Status) -> anyhow::Error {
    let (code, message) = (status.code(), status.message());
    match code {
        Code::Unauthenticated | Code::PermissionDenied => {
            anyhow!("the coordinator at {coordinator} refuses: {message}")
        }
        _ => {
            let hint = coordinator.hint();
            anyhow!("the coordinator at {coordinator} did not answer ({code:?}): {message}{hint}")
        }
    }
}

async fn connect(coordinator: &Contact) -> anyhow::Result<StatusClient<Channel>> {
    Ok(StatusClient::new(channel(coordinator, Right::Watch).await?))
}

/// A channel to the coordinator, for what asks for a right.
pub(super) async fn channel(coordinator: &Contact, right: Right) -> anyhow::Result<Channel> {
    // Whoever may steer comes first: an operator's status is asked for as an operator.
    let roles: &[Role] = match right {
        Right::Join => &[Role::Worker],
        Right::Watch => &[Role::Operator, Role::Viewer, Role::Worker],
        Right::Order => &[Role::Operator],
    };
    let contacted = coordinator.connect(roles).await.map_err(|error| {
        let reason = sentence(&error);
        if error.is_refusal() {
            anyhow!("the coordinator at {coordinator}: {reason}")
        } else {
            anyhow!("no coordinator answers at {coordinator} ({reason}); start one, or name another with --coordinator")
        }
    })?;
    Ok(contacted.channel)
}

fn convert(status: wire::RunStatus) -> anyhow::Result<Status> {
    Status::try_from(status).context("the coordinator is of another version than this m2t")
}

fn write(status: &Status, format: Format, out: &mut impl Write) -> std::io::Result<()> {
    match format {
        Format::Table => writeln!(out, "{}", table::render(status))?,
        Format::Json => writeln!(out, "{}", serde_json::to_string(status)?)?,
    }
    out.flush()
}
