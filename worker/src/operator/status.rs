//! `m2t status`: asks the coordinator for the status, once or again and again, and writes it out.

use std::io::{IsTerminal, Write};

use anyhow::{Context, anyhow};
use m2t_common::status::Status;
use m2t_proto::wire;
use tonic::transport::Channel;
use wire::status_client::StatusClient;

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

/// Writes the status to `out` again whenever it changes, until the run ends.
pub async fn watch(
    coordinator: &CoordinatorAddress,
    format: Format,
    out: &mut (impl Write + IsTerminal),
) -> anyhow::Result<()> {
    let lost =
        |status: tonic::Status| anyhow!("the coordinator at {coordinator} went away: {}", status.message());
    let watching = connect(coordinator)
        .await?
        .watch(wire::WatchRequest {})
        .await
        .map_err(lost)?;
    let mut statuses = watching.into_inner();
    while let Some(status) = statuses.message().await.map_err(lost)? {
        match format {
            // Home, clear to the end: the table stays in place without a flicker.
            Format::Table if out.is_terminal() => write!(out, "\x1b[H\x1b[J")?,
            Format::Table => writeln!(out)?,
            Format::Json => {}
        }
        write(&convert(status)?, format, out)?;
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
    let (channel, _) = coordinator.connect().await.map_err(|error| {
        let reason = sentence(&error);
        anyhow!("no coordinator answers at {coordinator} ({reason}); start one, or name another with --coordinator")
    })?;
    Ok(StatusClient::new(channel))
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
