//! The answers that only tell: status, history, chronicle, metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use m2t_common::Step;
use m2t_common::status::Status;
use serde::Deserialize;
use tokio::sync::oneshot;

use super::Desk;
use super::routes::refuse;
use crate::driver::Command;
use crate::exposition;

/// Which part of the history is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Buckets that tell of steps after this one.
    #[serde(default)]
    from: Step,
}

/// Whether the run is led; tells nothing of it, so that anybody may ask.
pub(super) async fn health(State(desk): State<Arc<Desk>>) -> Response {
    match desk.status().await {
        Some(_) => "ok\n".into_response(),
        None => over(),
    }
}

/// What `m2t status --json` writes.
pub(super) async fn status(State(desk): State<Arc<Desk>>) -> Response {
    match desk.status().await {
        Some(status) => Json(status).into_response(),
        None => over(),
    }
}

/// The series of the charts.
pub(super) async fn history(State(desk): State<Arc<Desk>>, Query(asked): Query<Asked>) -> Response {
    Json(desk.chronicle.history(asked.from)).into_response()
}

/// Generations, checkpoints, events, evaluations.
pub(super) async fn chronicle(State(desk): State<Arc<Desk>>) -> Response {
    let chronicle = desk.chronicle.clone();
    match tokio::task::spawn_blocking(move || chronicle.annals()).await {
        Ok(annals) => Json(annals).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// For Prometheus.
pub(super) async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    let Some(status) = desk.status().await else {
        return over();
    };
    let chronicle = desk.chronicle.clone();
    match tokio::task::spawn_blocking(move || exposition::render(&status, &chronicle)).await {
        Ok(text) => ([(header::CONTENT_TYPE, exposition::CONTENT_TYPE)], text).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// The answer of a coordinator that ends.
pub(super) fn over() -> Response {
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        "the coordinator ends; the same command starts it again",
    )
}

impl Desk {
    /// The present status; none when the driver is gone.
    async fn status(&self) -> Option<Status> {
        let (answer, status) = oneshot::channel();
        let queue = self.queue.upgrade()?;
        queue.send(Command::Status(answer)).await.ok()?;
        status.await.ok()
    }
}
