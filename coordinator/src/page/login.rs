//! Logging in and out on the page, and who one is there.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use m2t_common::access::{Bearer, Denied, Right, Role, Token};
use serde::{Deserialize, Serialize};

use super::routes::refuse;
use super::{Desk, session};

/// A token, as somebody pasted it.
#[derive(Deserialize)]
pub(super) struct Login {
    token: String,
}

/// Who one is.
#[derive(Debug, Serialize)]
struct Me {
    /// None where there are no roles.
    role: Option<Role>,
    /// Whether orders are taken.
    orders: bool,
}

/// Who asks: 401 for whoever is to log in.
pub(super) async fn me(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    match desk.guard.role(&headers, Right::Watch) {
        Ok(role) => Json(desk.me(role)).into_response(),
        Err(denied) => refuse(denied.code(), denied.to_string()),
    }
}

/// Takes a token and begins a session of its role.
pub(super) async fn login(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    said: Result<Json<Login>, JsonRejection>,
) -> Response {
    let Some(security) = desk.guard.security() else {
        return refuse(StatusCode::NOT_FOUND, "nobody needs to log in here");
    };
    if let Err(denied) = desk.guard.is_own(&headers) {
        return refuse(denied.code(), denied.to_string());
    }
    // A body that cannot be read may be most of a token: nothing of it is said again.
    let Ok(Json(Login { token })) = said else {
        return refuse(StatusCode::BAD_REQUEST, "the login is not JSON with a token");
    };
    let token: Token = match token.parse() {
        Ok(token) => token,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("this is no token: {error}")),
    };
    let role = match security.check_bearer(&Bearer(token)) {
        Ok(role) => role,
        Err(denied) => {
            desk.refusals.tell("a login on the page", &denied);
            return refuse(StatusCode::UNAUTHORIZED, in_words(&denied));
        }
    };
    let begun = session::begin(role, security, desk.guard.scheme());
    match begun.map(|line| HeaderValue::from_str(&line)) {
        Ok(Ok(cookie)) => ([(header::SET_COOKIE, cookie)], Json(desk.me(Some(role)))).into_response(),
        Ok(Err(_)) | Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "no session could be made"),
    }
}

/// Ends the session.
pub(super) async fn logout(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    let Some(security) = desk.guard.security() else {
        return StatusCode::NO_CONTENT.into_response();
    };
    if let Err(denied) = desk.guard.is_own(&headers) {
        return refuse(denied.code(), denied.to_string());
    }
    match HeaderValue::from_str(&session::end(security, desk.guard.scheme())) {
        Ok(cookie) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A pasted token has no connection that it could be of.
fn in_words(denied: &Denied) -> String {
    match denied {
        Denied::Unknown => "the token is not one of this coordinator's".to_owned(),
        other => other.to_string(),
    }
}

impl Desk {
    fn me(&self, role: Option<Role>) -> Me {
        let orders = match role {
            Some(role) => role.may(Right::Order),
            None => self.guard.token().is_some(),
        };
        Me { role, orders }
    }
}
