//! Takes connections in and serves them, each within limits of size and time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::connections::{Connection, Connections};
use crate::doorway::{Lock, open, take_in};

/// How long a request may take to come in, and a connection may say nothing.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer may take to begin, with the request's body in it.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A connection ends after so long; one that watches is opened again by the browser.
const LONGEST: Duration = Duration::from_secs(3600);
/// Bytes of a request's line and headers.
const MOST_HEADERS: usize = 16 << 10;
/// Lines of headers.
const MOST_HEADER_LINES: usize = 64;

/// Serves `router` on `listener` for ever.
pub(super) async fn serve(listener: TcpListener, lock: Option<Lock>, router: Router) {
    let attend = |stream, from, connection| attend((stream, from), connection, lock.clone(), router.clone());
    take_in(listener, Connections::few(), "The page", attend).await;
}

/// Serves one connection until it ends, gives way or has lasted long enough.
async fn attend(
    (stream, from): (TcpStream, SocketAddr),
    connection: Connection,
    lock: Option<Lock>,
    router: Router,
) {
    let Some((wire, _)) = open(stream, from, lock.as_ref(), &connection).await else {
        return;
    };
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| answer(&router, &connection, request));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(MOST_HEADERS)
        .max_headers(MOST_HEADER_LINES)
        .serve_connection(TokioIo::new(wire), service);
    tokio::select! {
        // Whoever broke off has seen why.
        _ = serving => {}
        () = connection.gives_way() => {}
        () = tokio::time::sleep(LONGEST) => {}
    }
}

fn answer(
    router: &TowerToHyperService<Router>,
    connection: &Connection,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    let under_way = connection.request();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(connection.clone());
    let answering = router.call(request);
    async move {
        let answered = tokio::time::timeout(ANSWER_WITHIN, answering).await;
        drop(under_way);
        match answered {
            Ok(answered) => answered,
            Err(_) => Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
        }
    }
}
