//! Orders of the page: the same as those of `m2t pause`, `resume`, `stop`, `drain` and `readmit`, with the same answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use m2t_common::MachineName;
use m2t_common::order::{Answer, Order};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::Desk;
use super::answers::over;
use super::routes::refuse;
use crate::driver::Command;

/// An order as it comes in.
#[derive(Debug, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(super) enum Asked {
    Pause,
    Resume,
    Stop,
    Drain { machine: MachineName },
    Readmit { machine: MachineName },
}

#[derive(Debug, Serialize)]
struct Accepted {
    accepted: String,
}

impl From<Asked> for Order {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Pause => Self::Pause,
            Asked::Resume => Self::Resume,
            Asked::Stop => Self::Stop,
            Asked::Drain { machine } => Self::Drain(machine),
            Asked::Readmit { machine } => Self::Readmit(machine),
        }
    }
}

/// Takes an order, from whom it may be taken.
pub(super) async fn order(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Response {
    if let Err(denied) = desk.guard.may_order(&headers) {
        return refuse(denied.code(), denied.to_string());
    }
    let order = match asked {
        Ok(Json(asked)) => asked.into(),
        Err(rejection) => return refuse(rejection.status(), rejection.body_text()),
    };
    match desk.ask(order).await {
        Some(Answer::Accepted(accepted)) => {
            let accepted = accepted.to_string();
            Json(Accepted { accepted }).into_response()
        }
        Some(Answer::Refused(refused)) => refuse(StatusCode::CONFLICT, refused.to_string()),
        None => over(),
    }
}

impl Desk {
    async fn ask(&self, order: Order) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.upgrade()?;
        queue.send(Command::Order { order, answer }).await.ok()?;
        answered.await.ok()
    }
}
