//! What is answered where, and the headers that every answer has.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;

use super::{Desk, answers, assets, login, orders, stream};

/// Bytes of a request's body: an order is a line.
const MOST_BODY: usize = 4 << 10;

/// Nothing comes from elsewhere, nothing runs that is not a file of this page, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// A refusal or what went wrong, in a sentence.
#[derive(Debug, Serialize)]
struct Refusal {
    refused: String,
}

/// The answer that something is refused, with the reason in a sentence.
pub(super) fn refuse(status: StatusCode, reason: impl Into<String>) -> Response {
    let refused = reason.into();
    (status, Json(Refusal { refused })).into_response()
}

/// All routes.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    let of_the_run = Router::new()
        .route("/api/status", get(answers::status))
        .route("/api/stream", get(stream::stream))
        .route("/api/history", get(answers::history))
        .route("/api/chronicle", get(answers::chronicle))
        .route("/metrics", get(answers::metrics))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&desk), let_watch));
    Router::new()
        .route("/", get(assets::index))
        .route("/assets/{name}", get(assets::asset))
        .route("/healthz", get(answers::health))
        .route("/api/me", get(login::me))
        .route("/api/login", post(login::login))
        .route("/api/logout", post(login::logout))
        .route("/api/orders", post(orders::order))
        .merge(of_the_run)
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), watch_over))
        .with_state(desk)
}

async fn nothing() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is nothing here; the page is at /")
}

/// Lets those see the run who may.
async fn let_watch(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    match desk.guard.may_watch(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denied) => refuse(denied.code(), denied.to_string()),
    }
}

/// Refuses what the guard refuses, and gives every answer its headers.
async fn watch_over(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let mut response = match desk.guard.may_ask(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denied) => refuse(denied.code(), denied.to_string()),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
