//! `m2t status`: asks the coordinator for the status, once or again and again, and writes it out.

use std::io::{IsTerminal, Write};

use anyhow::{Context, anyhow};
use m2t_common::status::Status;
use m2t_proto::wire;
use tonic::transport::Channel;
use wire::status_client::StatusClient;

use super::progress::Progress;
use super::table;
use crate::daemon::CoordinatorAddress;
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
pub async fn show(
    coordinator: &CoordinatorAddress,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let status = fetch(coordinator).await?;
    Ok(write(&status, format, out)?)
}

/// The statuses of a run, whenever it changes.
pub struct Statuses {
    coordinator: CoordinatorAddress,
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
pub async fn stream(coordinator: &CoordinatorAddress) -> anyhow::Result<Statuses> {
    let watching = connect(coordinator).await?.watch(wire::WatchRequest {}).await;
    let stream = watching
        .map_err(|status| went_away(coordinator, &status))?
        .into_inner();
    Ok(Statuses {
        coordinator: coordinator.clone(),
        stream,
    })
}

fn went_away(coordinator: &CoordinatorAddress, status: &tonic::Status) -> anyhow::Error {
    anyhow!("the coordinator at {coordinator} went away: {}", status.message())
}

/// Writes the status to `out` again whenever it changes, until the run ends; in a terminal, in place and over a bar.
pub async fn watch(
    coordinator: &CoordinatorAddress,
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
pub async fn fetch(coordinator: &CoordinatorAddress) -> anyhow::Result<Status> {
    let answer = connect(coordinator).await?.get(wire::GetRequest {}).await;
    let answer = answer.map_err(|status| {
        anyhow!(
            "the coordinator at {coordinator} did not answer ({:?}): {}",
            status.code(),
            status.message()
        )
    })?;
    convert(answer.into_inner())
}

async fn connect(coordinator: &CoordinatorAddress) -> anyhow::Result<StatusClient<Channel>> {
    Ok(StatusClient::new(channel(coordinator).await?))
}

/// A channel to the coordinator.
pub(super) async fn channel(coordinator: &CoordinatorAddress) -> anyhow::Result<Channel> {
    let (channel, _) = coordinator.connect().await.map_err(|error| {
        let reason = sentence(&error);
        anyhow!("no coordinator answers at {coordinator} ({reason}); start one, or name another with --coordinator")
    })?;
    Ok(channel)
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
